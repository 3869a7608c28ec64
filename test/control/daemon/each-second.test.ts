import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachSecond } from '../../../src/control/daemon/each-second.js';
import { FakeClock, Lines } from '../fakes.js';

function begin(more: { merges?: boolean; segmentationRefused?: number } = {}) {
  const clock = new FakeClock();
  const log = new Lines();
  const lanes = { merges: true, segmentationRefused: 0, ...more };
  const ticks: number[] = [];
  const tick = (seconds: number) => void ticks.push(seconds);
  const stop = eachSecond({ clock, log, look: () => lanes, tick });
  return { clock, lines: log.lines, lanes, ticks, stop };
}

test('the lanes are told the seconds, from 1 up, and nothing is said while all is well', async () => {
  const { clock, lines, ticks, stop } = begin();
  await clock.pass(3_500);
  assert.deepEqual(ticks, [1, 2, 3, 4]);
  await clock.pass(3_600_000);
  assert.deepEqual(lines, []);
  stop();
  assert.deepEqual(clock.waits, []);
});

test('a refused UDP_SEGMENT is said within a second, once', async () => {
  const { clock, lines, lanes } = begin();
  await clock.pass(5_500);
  lanes.segmentationRefused = 3;
  await clock.pass(1_000);
  assert.match(lines.join(), /^warn: .*UDP_SEGMENT.*that peer/);
  lanes.segmentationRefused = 9;
  await clock.pass(3_600_000);
  assert.equal(lines.length, 1);
});

test('refused TUN writes are said once', async () => {
  const { clock, lines, lanes } = begin();
  lanes.merges = false;
  await clock.pass(1_000);
  assert.match(lines.join(), /^warn: .*TUN \(EINVAL\).*alone from now on$/);
  await clock.pass(60_000);
  assert.equal(lines.length, 1);
});

test('what was off from the start is not said to have been refused', async () => {
  const { clock, lines } = begin({ merges: false });
  await clock.pass(10_000);
  assert.deepEqual(lines, []);
});
