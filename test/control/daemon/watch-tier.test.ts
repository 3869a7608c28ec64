import assert from 'node:assert/strict';
import { test } from 'node:test';
import { watchTier } from '../../../src/control/daemon/watch-tier.js';
import { FakeClock, Lines } from '../fakes.js';

function watched(more: { vnet?: boolean; uso?: boolean; segments?: boolean; merges?: boolean }) {
  const clock = new FakeClock();
  const log = new Lines();
  const lane = { segments: more.segments ?? true, merges: more.merges ?? true };
  const { vnet = true, uso = true } = more;
  const stop = watchTier({ clock, log, vnet, uso, look: () => lane });
  return { clock, lines: log.lines, lane, stop };
}

test('nothing is said while the tier stays', async () => {
  const { clock, lines, stop } = watched({});
  await clock.pass(3_600_000);
  assert.deepEqual(lines, []);
  stop();
  assert.deepEqual(clock.waits, []);
});

test('a refused UDP_SEGMENT is said within a second, once, with the tier in force', async () => {
  const { clock, lines, lane } = watched({});
  await clock.pass(5_500);
  lane.segments = false;
  await clock.pass(1_000);
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /^warn: .*UDP_SEGMENT.*underlay \(EIO\).*tier sendmmsg$/);
  await clock.pass(3_600_000);
  assert.equal(lines.length, 1);
});

test('refused TUN writes are said once, and the tier that stays', async () => {
  const { clock, lines, lane } = watched({ uso: false });
  lane.merges = false;
  await clock.pass(1_000);
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /^warn: .*TUN \(EINVAL\).*alone from now on, tier segment-tso$/);
  lane.segments = false;
  await clock.pass(1_000);
  assert.equal(lines.length, 2);
  assert.match(lines[1]!, /tier sendmmsg$/);
  // There is nothing left to lose, so nothing left to look for.
  assert.deepEqual(clock.waits, []);
});

test('what was off from the start is not said to have been refused', async () => {
  const { clock, lines, lane } = watched({ segments: false, merges: false });
  await clock.pass(10_000);
  assert.deepEqual(lines, []);
  const second = watched({ segments: false });
  second.lane.merges = false;
  await second.clock.pass(1_000);
  assert.match(second.lines.join(), /TUN \(EINVAL\).*tier sendmmsg/);
  assert.equal(lane.segments, false);
});

test('a lane that comes and goes is reported the first time only', async () => {
  const { clock, lines, lane } = watched({});
  for (const segments of [false, true, false, true, false]) {
    lane.segments = segments;
    await clock.pass(2_000);
  }
  assert.equal(lines.length, 1);
});
