/**
 * Loaded into each test file (`node --import test-limit.mjs?seconds=600`): a file that is still
 * there after so long is ended, so that what a failed test left running fails its file instead
 * of keeping the whole run for ever. Node's own --test-timeout is per file until Node 22 and
 * per test from Node 24.
 *
 * The time is kept in a thread of its own: a file whose loop never comes back to its events would
 * not be ended by a timer among them.
 */
import process from 'node:process';
import { isMainThread, Worker } from 'node:worker_threads';

const WATCH = `
  const { workerData } = require('node:worker_threads');
  setTimeout(() => {
    const { file, seconds } = workerData;
    require('node:fs').writeSync(2, file + ' still runs after ' + seconds + ' s; ending it\\n');
    // A lane in the addon would keep process.exit() waiting.
    process.kill(process.pid, 'SIGKILL');
  }, workerData.seconds * 1000);
`;

if (isMainThread && process.env.NODE_TEST_CONTEXT !== undefined) {
  const seconds = Number(new URL(import.meta.url).searchParams.get('seconds'));
  const workerData = { file: process.argv[1], seconds };
  // Without the flags of the file, or this would be loaded into it, too.
  new Worker(WATCH, { eval: true, workerData, execArgv: [] }).unref();
}
