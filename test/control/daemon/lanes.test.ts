import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultLanes, MOST_LANES } from '../../../src/control/daemon/lanes.js';

test('by default a lane for every four processors, one to four of them', () => {
  const lanes = Array.from({ length: 65 }, (_, processors) => defaultLanes(processors).lanes);
  assert.deepEqual(lanes.slice(0, 20).join(''), '11111111222233334444');
  assert.ok(lanes.slice(16).every((count) => count === 4));
  assert.ok(Math.max(...lanes) <= MOST_LANES);
});

test('the default says where it comes from, and what changes it', () => {
  const reason = (processors: number) => defaultLanes(processors).reason;
  assert.equal(reason(2), '2 processors, more lanes from 8 on; -lanes sets it');
  assert.equal(reason(8), 'one for every 4 of 8 processors; -lanes sets it');
  assert.equal(reason(64), '64 processors, no more lanes unless asked for; -lanes sets it');
});
