/** The count of a hot lane's garbage collections: it tells threads apart, and it can see. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { buildLacks } from '../../bench/build-c.js';
import { mainStack, readTrace } from '../../bench/lane-trace.js';
import { labLacks } from '../../src/lab/enter.js';

const QUIET_LANE = fileURLToPath(new URL('../../bench/quiet-lane.js', import.meta.url));
const lacks = buildLacks() ?? labLacks({ programs: ['iperf3', 'ethtool', 'stdbuf'], tun: true });

const MAPS = `00400000-052a1000 r-xp 00000000 fe:00 1 /usr/local/bin/node
7f34b4000000-7f34b4021000 rw-p 00000000 00:00 0
7ffd1f3e1000-7ffd1f402000 rw-p 00000000 00:00 0                          [stack]
`;
const MAIN = '[7:0x42929c40]       70 ms: Scavenge 4.6 (4.7) -> 4.2 (5.7) MB, 2.79 / 0.00 ms';
const LANE = '[7:0x7f34b4000f00]       33 ms: Scavenge 3.4 (3.5) -> 3.0 (4.5) MB, 1.85 / 0.00 ms';
const FULL = '[7:0x7f34b4000f00]      526 ms: Mark-Compact 59.1 (92.0) -> 43.6 (77.2) MB, 81.32';
const bailout = (stack: string): string =>
  `[bailout (kind: deopt-eager, reason: wrong map): begin. deoptimizing 0x2a <JSFunction loop (sfi = 0xbb)>, opt id 1, caller SP ${stack}, pc 0x7f]`;

test('tells collections apart by isolate, deoptimisations by stack', () => {
  const stack = mainStack(MAPS);
  assert.deepEqual(stack, [0x7ffd1f3e1000n, 0x7ffd1f402000n]);
  const start = `${MAIN}\nready\n${LANE}\n`;
  const lines = [
    FULL,
    MAIN,
    bailout('0x7ffd1f3e1000'),
    bailout('0x7ffd1f402000'),
    bailout('0x7f34c6ff71f8'),
    '[marking dependent code 0x105 <Code TURBOFAN> for deoptimization, reason: code dependencies]',
  ];
  const { lane, main } = readTrace(start + lines.join('\n'), start.length, stack);
  assert.deepEqual(main, { collections: [MAIN], deoptimisations: [lines[2]] });
  assert.deepEqual(lane, { collections: [FULL], deoptimisations: [lines[3], lines[4]] });
});

/** Over few packets: the real count over 10 million is the bench's. */
function count(...more: string[]): { collections: number; code: number | null } {
  const packets = ['--packets=300000', '--warm-up=1000000'];
  const done = spawnSync(process.execPath, [QUIET_LANE, ...packets, ...more], {
    encoding: 'utf8',
    timeout: 120_000,
  });
  const told = /^lane: (\d+) collections, \d+ deoptimisations in [\d,]+ packets$/m.exec(
    done.stdout,
  );
  assert.ok(told !== null, done.stdout + done.stderr);
  return { collections: Number(told[1]), code: done.status };
}

test('a hot lane collects no garbage', { skip: lacks ?? false, timeout: 150_000 }, () => {
  assert.equal(count().collections, 0);
});

test('a planted allocation shows', { skip: lacks ?? false, timeout: 150_000 }, () => {
  const { collections, code } = count('--planted');
  assert.ok(collections > 3, `${collections} collections`);
  assert.equal(code, 1);
});
