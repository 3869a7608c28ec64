/**
 * Loaded into each test file (`node --import test-limit.mjs?test=180&after=30&file=600`): ends a file of
 * which no test has begun or ended for `test` seconds while one runs, that is still there `after` seconds
 * after its last test, or `file` seconds after its start, and says which test it stood in. So what hangs
 * fails, and soon, instead of keeping the whole run. Node's own --test-timeout is per file until Node 22
 * and per test from Node 24, and a loop that never comes back to its events is not ended by it.
 *
 * The time is kept in a thread of its own, for such a loop; and by the process that the runner started,
 * for the lab that the file may run itself again in: there it is process 1, which nothing inside can
 * kill. What goes on is told in a file that both know: a line for each event, `in NAME` or `between` or
 * `ended`.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { after, afterEach, beforeEach } from 'node:test';
import { isMainThread, Worker } from 'node:worker_threads';

/** Names the file of events, for the file's next process. */
const EVENTS = 'WEFT_TEST_EVENTS';

const WATCH = `
  const fs = require('node:fs');
  const { workerData } = require('node:worker_threads');
  const { file, events, limits } = workerData;
  const start = performance.now();
  let size = 0;
  let since = start;
  const watch = () => {
    const now = performance.now();
    let text = '';
    try { text = fs.readFileSync(events, 'utf8'); } catch {}
    if (text.length !== size) { size = text.length; since = now; }
    const last = text.trimEnd().split('\\n').at(-1);
    const stands = last.startsWith('in ') ? ' in the test "' + last.slice(3) + '"' : '';
    let why;
    if (now - start > limits.file * 1000) why = ' still runs after ' + limits.file + ' s' + (stands && ',' + stands);
    else if (stands !== '' && now - since > limits.test * 1000) why = ' stands for ' + limits.test + ' s' + stands;
    else if (last === 'ended' && now - since > limits.after * 1000) why = ' still runs ' + limits.after + ' s after its last test';
    if (why === undefined) return;
    fs.rmSync(events, { force: true });
    fs.writeSync(2, file + why + '; ending it\\n');
    // A lane in the addon would keep process.exit() waiting.
    process.kill(process.pid, 'SIGKILL');
  };
  setInterval(watch, Math.min(1000, 250 * Math.min(...Object.values(limits))));
`;

if (isMainThread && process.env.NODE_TEST_CONTEXT !== undefined) {
  if (process.env[EVENTS] === undefined) {
    const events = path.join(os.tmpdir(), `weft-test-events-${process.pid}`);
    process.env[EVENTS] = events;
    fs.writeFileSync(events, '');
    process.once('exit', () => fs.rmSync(events, { force: true }));
    const asked = new URL(import.meta.url).searchParams;
    const limits = Object.fromEntries([...asked].map(([name, seconds]) => [name, Number(seconds)]));
    const workerData = { file: process.argv[1], events, limits };
    // Without the flags of the file, or this would be loaded into it, too.
    new Worker(WATCH, { eval: true, workerData, execArgv: [] }).unref();
  }
  const fd = fs.openSync(process.env[EVENTS], 'a');
  const tell = (line) => fs.writeSync(fd, `${line.replaceAll('\n', ' ')}\n`);
  // The tests that run, each in the one before it.
  const names = [];
  beforeEach((t) => {
    names.push(t.fullName ?? t.name);
    tell(`in ${names.at(-1)}`);
  });
  afterEach(() => {
    names.pop();
    tell(names.length === 0 ? 'between' : `in ${names.at(-1)}`);
  });
  after(() => tell('ended'));
}
