/**
 * Runs the compiled tests with Node's own runner.
 *
 * Usage: node scripts/test.mjs [part of a file's name …]
 *
 * Ends with what was skipped and why, and as the last line `N passed, N failed`.
 *
 * Names the files itself, since `node --test` takes neither a folder nor a glob on every
 * Node from 20 to 26. The tests run one file after the other: they share two cores, and
 * the network tests start whole hosts.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { closing } from './test-count.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
process.chdir(root);

/**
 * Seconds for a test without one inside that begins or ends, for a file to end after its last test,
 * and for a whole file. The slowest test takes a minute, boots apart,
 * which end themselves after three; the slowest file takes two.
 */
const LIMITS = 'test=240&after=30&file=600';

const wanted = process.argv.slice(2);
if (!fs.existsSync('dist/test')) {
  console.error('nothing is compiled yet; run npm test, or first: npm run setup -- test');
  process.exit(1);
}
const files = fs
  .readdirSync('dist/test', { recursive: true })
  .map((name) => path.join('dist/test', String(name)))
  .filter((name) => name.endsWith('.test.js'))
  .filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)))
  .sort();
if (files.length === 0) {
  console.error('no test file matches; nothing was run');
  process.exit(1);
}
const countFile = 'dist/.test-count.json';
fs.rmSync(countFile, { force: true });
const reporters = [
  ['spec', 'stdout'],
  [new URL('test-count.mjs', import.meta.url).href, countFile],
].flatMap(([reporter, to]) => [`--test-reporter=${reporter}`, `--test-reporter-destination=${to}`]);
const limit = new URL(`test-limit.mjs?${LIMITS}`, import.meta.url).href;
const flags = ['--enable-source-maps', `--import=${limit}`, '--test', '--test-concurrency=1'];
const done = spawnSync(process.execPath, [...flags, ...reporters, ...files], {
  stdio: ['ignore', 'inherit', 'inherit'],
});
let code = done.status ?? 1;
try {
  const counts = JSON.parse(fs.readFileSync(countFile, 'utf8'));
  console.log(closing(counts).join('\n'));
  if (counts.failed > 0 && code === 0) code = 1;
} catch {
  const how = done.signal === null ? `exit code ${done.status}` : done.signal;
  console.log(`the test runner ended before its end (${how}); what it counted is not known`);
  code ||= 1;
}
process.exit(code);
