/**
 * Runs the compiled tests, each file with Node's own runner.
 *
 * Usage: node scripts/test.mjs [part of a file's name …]
 *
 * Ends with what was skipped and why, and as the last line `N passed, N failed`.
 *
 * Several files run at a time: most of their time is waiting, and the network tests have hosts in
 * namespaces of their own. `WEFT_TEST_JOBS=1` has one run after the other.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { closing } from './test-count.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
process.chdir(root);

/**
 * Seconds for a test without one inside that begins or ends, for a file to end after its last test,
 * and for a whole file. Alone, the slowest test takes two minutes, and the slowest file too; several at
 * a time on a busy machine take a few times as long. A boot ends itself after seven.
 */
const LIMITS = 'test=480&after=60&file=900';

const JOBS = Number(process.env.WEFT_TEST_JOBS || os.availableParallelism() + 2);

/**
 * Of the whole suite so many files run once more when they failed: what waits for a real kernel or etcd
 * beside three others can be late where nothing is wrong. One who runs a part sees each failure.
 */
const AGAIN = process.argv.length > 2 ? 0 : 3;

/** The longest, which begin first, so that none of them is left over at the end. */
const LONGEST = [
  'network/peer-health.test',
  'network/broken-host',
  'network/broken-peers',
  'store/etcd-far',
  'network/troubleshooting',
  'boot/old-kernel',
  'network/reconcile.',
  'network/cluster',
  'network/clashes',
  'network/paths-router',
  'network/leases',
  'network/findings-links',
  'network/peer-health-direct',
  'store/etcd-cluster',
  'network/reconcile-underlay',
  'network/broken-store',
];

/** Those that do not run beside others, each with the reason. */
const ALONE = [
  ['network/one-peer', 'counts every packet beside floods, of which a busy machine loses some'],
];

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

const isAlone = (name) => ALONE.some(([part]) => name.includes(part));
/** Then those of whole hosts, which wait, before those that keep a processor busy for a moment. */
function rank(name) {
  const place = LONGEST.findIndex((part) => name.includes(part));
  if (place !== -1) return place;
  return LONGEST.length + (name.includes('test/network/') ? 0 : 1);
}
const together = files.filter((name) => !isAlone(name)).sort((a, b) => rank(a) - rank(b));

const total = { passed: 0, failed: 0, skipped: [], ended: [], again: [] };
let code = 0;
run(together, JOBS);
run(files.filter(isAlone), 1);
console.log(closing(total).join('\n'));
process.exit(code || (total.failed > 0 ? 1 : 0));

/** Runs so many at a time, and adds what was counted. */
function run(some, jobs) {
  if (some.length === 0) return;
  const countFile = 'dist/.test-count.json';
  fs.rmSync(countFile, { force: true });
  const limit = new URL(`test-limit.mjs?${LIMITS}`, import.meta.url).href;
  const runner = ['scripts/test-run.mjs', countFile, String(jobs), String(AGAIN)];
  const argv = ['--enable-source-maps', `--import=${limit}`, ...runner, ...some];
  const done = spawnSync(process.execPath, argv, { stdio: ['ignore', 'inherit', 'inherit'] });
  code ||= done.status ?? 1;
  try {
    const { passed, failed, skipped, ended, again } = JSON.parse(
      fs.readFileSync(countFile, 'utf8'),
    );
    total.passed += passed;
    total.failed += failed;
    total.skipped.push(...skipped);
    total.ended.push(...ended);
    total.again.push(...again);
  } catch {
    const how = done.signal === null ? `exit code ${done.status}` : done.signal;
    total.ended.push(`the test runner ended before its end (${how}); what it counted is not known`);
    code ||= 1;
  }
}
