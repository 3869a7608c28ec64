import assert from 'node:assert/strict';
import test from 'node:test';
import {
  dueAt,
  forgetTried,
  fullOf,
  isCutByRoute,
  type Path,
  pathMtuOf,
  takeHint,
  takeMeasured,
  takeWay,
  UNKNOWN,
} from '../../../src/control/daemon/path.js';

const MINUTE = 60_000;
const BY_DEVICE = { device: 'eth0', mtu: 1500, from: 'device' } as const;
const BY_ROUTE = { device: 'eth0', mtu: 1400, from: 'route' } as const;
const known = takeWay(UNKNOWN, BY_DEVICE);
const middle = () => 0.5;

const found = (mtu: number) => ({ found: mtu, why: '', soon: false });
const nothing = (soon = false) => ({ found: undefined, why: 'it does not answer', soon });
const measured = (path: Path, mtu: number, now = 0) =>
  takeMeasured(path, fullOf(path), found(mtu), now, middle);

test('the least of route, device and what was measured', () => {
  assert.equal(pathMtuOf(UNKNOWN), undefined);
  assert.equal(pathMtuOf(takeWay(UNKNOWN, 'no route leads there')), undefined);
  assert.deepEqual(pathMtuOf(known), { mtu: 1500, from: 'device' });
  assert.deepEqual(pathMtuOf(takeWay(known, BY_ROUTE)), { mtu: 1400, from: 'route' });
  assert.deepEqual(pathMtuOf(measured(known, 1500)), { mtu: 1500, from: 'device' });
  const smaller = measured(known, 1420);
  assert.deepEqual(pathMtuOf(smaller), { mtu: 1420, from: 'measured' });
  assert.deepEqual(pathMtuOf(takeWay(smaller, BY_ROUTE)), { mtu: 1400, from: 'route' });
  assert.deepEqual(pathMtuOf(takeWay(smaller, BY_DEVICE)), { mtu: 1420, from: 'measured' });
});

test('a measurement that found all of a smaller MTU bounds no larger one', () => {
  const small = takeWay(known, { ...BY_DEVICE, mtu: 1400 });
  const large = takeWay(measured(small, 1400), BY_DEVICE);
  assert.deepEqual(pathMtuOf(large), { mtu: 1500, from: 'device' });
  assert.ok(dueAt(large) < 0);
});

test('no packet is longer than IPv4 lets it be, on a loopback of 65536', () => {
  assert.equal(fullOf(takeWay(UNKNOWN, { device: 'lo', mtu: 65_536, from: 'device' })), 65_535);
});

test('the kernel cuts by the route only where that has an MTU of its own', () => {
  assert.equal(isCutByRoute(UNKNOWN), false);
  assert.equal(isCutByRoute(measured(known, 1400)), false);
  assert.equal(isCutByRoute(takeWay(known, BY_ROUTE)), true);
});

test('measured at once when a way is known, and when route or device let another size through', () => {
  assert.equal(dueAt(UNKNOWN), Number.POSITIVE_INFINITY);
  assert.equal(dueAt(takeWay(UNKNOWN, 'no route')), Number.POSITIVE_INFINITY);
  assert.ok(dueAt(known) < 0);
  const done = measured(known, 1500);
  assert.equal(dueAt(done), 10 * MINUTE);
  assert.ok(dueAt(takeWay(done, BY_ROUTE)) < 0);
  assert.equal(dueAt(takeWay(done, { ...BY_DEVICE, device: 'eth1' })), 10 * MINUTE);
  assert.ok(dueAt(forgetTried(done)) < 0);
});

test('each minute while it is smaller than the route, and after a failure of this host', () => {
  assert.equal(dueAt(measured(known, 1400)), MINUTE);
  assert.equal(dueAt(measured(measured(known, 1400), 1500, MINUTE)), 11 * MINUTE);
  assert.equal(dueAt(takeMeasured(known, 1500, nothing(true), 0, middle)), MINUTE);
  assert.equal(dueAt(takeMeasured(known, 1500, nothing(), 0, middle)), 10 * MINUTE);
});

test('measurements are spread by a half of their pause', () => {
  const at = (random: () => number) => dueAt(takeMeasured(known, 1500, found(1500), 0, random));
  assert.deepEqual([at(() => 0), at(() => 0.999)].map(Math.round), [450_000, 749_700]);
});

test('a hint has it measured five seconds after the last time, however many there are', () => {
  const done = measured(known, 1500, 1_000);
  assert.equal(dueAt(takeHint(done, 2_000)), 6_000);
  assert.equal(dueAt(takeHint(takeHint(done, 2_000), 5_999)), 6_000);
  assert.equal(dueAt(takeHint(done, 500)), 1_000 + 10 * MINUTE);
  assert.equal(dueAt(measured(takeHint(done, 2_000), 1500, 7_000)), 7_000 + 10 * MINUTE);
});

test('a peer that answers no more keeps what was measured for half an hour', () => {
  const small = measured(known, 1400);
  const silent = takeMeasured(small, 1500, nothing(), 29 * MINUTE, middle);
  assert.deepEqual(pathMtuOf(silent), { mtu: 1400, from: 'measured' });
  assert.equal(silent.why, 'it does not answer');
  const long = takeMeasured(silent, 1500, nothing(), 31 * MINUTE, middle);
  assert.deepEqual(pathMtuOf(long), { mtu: 1500, from: 'device' });
});
