/**
 * Runs test files, so many at a time, and prints what each came to when it has ended; what Node's own
 * `--test` does not do, which begins with the file whose name comes first, and prints in that order.
 *
 * Usage: node [flags of each file] scripts/test-run.mjs FILE-OF-COUNTS JOBS AGAIN FILE …
 *
 * Where no more than AGAIN files failed, each of them runs once more by itself: what fails then has
 * failed, and what passes is named, as a test that fails beside others has something to tell.
 *
 * The counts are those of test-count.mjs. Ends with 1 when a test failed.
 */
import fs from 'node:fs';
import process from 'node:process';
import { PassThrough, Readable } from 'node:stream';
import { run } from 'node:test';
import { spec as Spec } from 'node:test/reporters';
import count from './test-count.mjs';

/** What a run of one file says of its whole. */
const SUM = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/;

const [countFile, jobs, again, ...files] = process.argv.slice(2);
const events = new PassThrough({ objectMode: true });
const counted = new PassThrough({ objectMode: true });
const waiting = [...files];
const failed = [];

const fails = ({ type }) => type === 'test:fail';

/** Runs a file and prints it; its events. */
async function runFile(file) {
  const those = [];
  for await (const event of run({ files: [file], concurrency: 1 })) {
    const { type, data } = event;
    if (type === 'test:diagnostic' && data.nesting === 0 && SUM.test(data.message)) continue;
    if (type === 'test:summary' || (type === 'test:plan' && data.nesting === 0)) continue;
    those.push(event);
  }
  for (const event of those) events.write(event);
  return those;
}

function countThose(those) {
  if (those.some(fails)) process.exitCode = 1;
  for (const event of those) counted.write(event);
}

async function work() {
  for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
    const those = await runFile(file);
    if (those.some(fails)) failed.push({ file, those });
    else countThose(those);
  }
}

const printed = Readable.from(events).compose(new Spec());
printed.pipe(process.stdout);
const counting = (async () => {
  for await (const text of count(counted)) fs.writeFileSync(countFile, text);
})();
await Promise.all(Array.from({ length: Number(jobs) }, work));
for (const { file, those } of failed) {
  if (failed.length > Number(again)) {
    countThose(those);
    continue;
  }
  const alone = await runFile(file);
  countThose(alone);
  if (alone.some(fails)) continue;
  for (const { data } of those.filter(fails)) counted.write({ type: 'weft:again', data });
}
events.end();
counted.end();
await counting;
