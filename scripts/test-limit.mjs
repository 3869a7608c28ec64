/**
 * Loaded into each test file (`node --import test-limit.mjs?seconds=600`): a file that is still
 * there after so long is ended, so that what a failed test left running fails its file instead
 * of keeping the whole run for ever. Node's own --test-timeout is per file until Node 22 and
 * per test from Node 24.
 */
import fs from 'node:fs';
import process from 'node:process';
import { isMainThread } from 'node:worker_threads';

if (isMainThread && process.env.NODE_TEST_CONTEXT !== undefined) {
  const seconds = Number(new URL(import.meta.url).searchParams.get('seconds'));
  const timer = setTimeout(() => {
    fs.writeSync(2, `${process.argv[1]} still runs after ${seconds} s; ending it\n`);
    // A lane in the addon would keep process.exit() waiting.
    process.kill(process.pid, 'SIGKILL');
  }, seconds * 1000);
  timer.unref();
}
