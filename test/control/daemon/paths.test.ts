/** What is measured of paths, when, and what the lanes are told. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { A_SECOND, AT_ONCE } from '../../../src/control/daemon/paths.js';
import { SMALL } from '../../../src/control/host/path-search.js';
import { begin, MINUTE, peer, SECOND, upTo } from './fakes/paths.js';

test('a peer that joins: its way is asked for, its path measured, the lanes told', async () => {
  const { clock, follow, lanes, sent, report, lines } = begin();
  assert.equal(report(2), undefined);
  follow([peer(2)]);
  await clock.pass(2 * SECOND);
  assert.deepEqual(
    sent.map(({ size }) => size),
    [1500],
  );
  assert.equal(lanes.get(2), '1500');
  const { measuredSecondsAgo, ...rest } = report(2)!;
  assert.deepEqual(rest, { mtu: 1500, from: 'device', checking: false, problem: '' });
  assert.ok(measuredSecondsAgo! <= 2);
  assert.deepEqual(lines, []);
});

test('a path that takes less: told to the lanes and the log, and measured each minute until it grows', async () => {
  const { clock, follow, lanes, world, lines, report } = begin();
  world.path = upTo(1400);
  follow([peer(2)]);
  await clock.pass(2 * SECOND);
  assert.equal(lanes.get(2), '1400');
  assert.equal(report(2)?.from, 'measured');
  assert.deepEqual(lines, ['info: path to 192.168.0.2: MTU 1400 (measured), was 1500']);
  world.path = upTo(1500);
  await clock.pass(80 * SECOND);
  assert.equal(lanes.get(2), '1500');
  assert.equal(lines.length, 2);
});

test('a path that shrinks is noticed within thirteen minutes, and by a hint in seconds', async () => {
  const { clock, follow, lanes, world, hint } = begin();
  follow([peer(2)]);
  await clock.pass(2 * SECOND);
  world.path = upTo(1400);
  await clock.pass(13 * MINUTE);
  assert.equal(lanes.get(2), '1400');
  world.path = upTo(1300);
  hint(2);
  await clock.pass(7 * SECOND);
  assert.equal(lanes.get(2), '1300');
});

test('a flood of forged hints: a packet in five seconds, and the path MTU stays', async () => {
  const { clock, follow, lanes, hint, sent } = begin();
  follow([peer(2), peer(3)]);
  await clock.pass(2 * SECOND);
  const before = sent.length;
  for (let i = 0; i < 600; i += 1) {
    hint(2);
    hint(9);
    await clock.pass(100);
  }
  assert.ok(sent.length - before <= 13, `${sent.length - before} packets`);
  assert.deepEqual([lanes.get(2), lanes.get(3)], ['1500', '1500']);
});

test('a peer that answers no echo has the MTU of its device, and status says why', async () => {
  const { clock, follow, lanes, world, report } = begin();
  world.path = () => ({ kind: 'silent' });
  follow([peer(2)]);
  await clock.pass(2 * SECOND);
  assert.equal(report(2)?.checking, true);
  await clock.pass(5 * SECOND);
  assert.equal(lanes.get(2), '1500');
  const { measuredSecondsAgo, problem, checking } = report(2)!;
  assert.deepEqual([measuredSecondsAgo, problem, checking], [null, 'it does not answer', false]);
});

test('once a peer answered, less than a second is waited for what does not come', async () => {
  const { clock, follow, lanes, world } = begin();
  world.path = (size) => ({ kind: size > 1400 ? 'silent' : 'answered' });
  follow([peer(2)]);
  await clock.pass(12 * SECOND);
  assert.equal(lanes.get(2), '1400');
});

test('5,000 peers: so many at once and a second, each with one packet in ten minutes', async () => {
  const { clock, follow, sent, most, asked } = begin();
  const peers = Array.from({ length: 5000 }, (_, i) => peer(i + 2));
  follow(peers);
  await clock.pass(60 * SECOND);
  assert.equal(new Set(sent.map(({ to }) => to)).size, 5000);
  assert.equal(sent.length, 5000);
  assert.ok(most() <= AT_ONCE);
  for (let at = 0; at < 60 * SECOND; at += SECOND) {
    const begun = sent.filter((one) => one.at >= at && one.at < at + SECOND).length;
    assert.ok(begun <= A_SECOND, `${begun} in the second at ${at}`);
  }
  assert.equal(asked.length, 3);
  const before = sent.length;
  await clock.pass(10 * MINUTE);
  assert.ok(sent.length - before <= 6500, `${sent.length - before}`);
});

test('without raw sockets: told, routes and devices count, tried again now and then', async () => {
  const { clock, follow, paths, lanes, opened, sent } = begin({ lack: 'no CAP_NET_RAW' });
  follow([peer(2)]);
  await clock.pass(60 * MINUTE);
  assert.equal(paths.lack, 'no CAP_NET_RAW');
  assert.deepEqual([lanes.get(2), sent.length], ['1500', 0]);
  assert.ok(opened() >= 5 && opened() <= 8, String(opened()));
});

test('a socket that failed is opened anew after a while', async () => {
  const { clock, follow, paths, world, opened } = begin();
  follow([peer(2)]);
  await clock.pass(2 * SECOND);
  world.closed = 'Network is down';
  await clock.pass(2 * SECOND);
  assert.equal(paths.lack, 'Network is down');
  world.closed = '';
  await clock.pass(11 * MINUTE);
  assert.deepEqual([paths.lack, opened()], ['', 2]);
});

test('a place that was given away anew is told the path MTU again', async () => {
  const { clock, follow, lanes, world } = begin();
  world.path = upTo(1400);
  follow([peer(2)]);
  await clock.pass(2 * SECOND);
  lanes.clear();
  follow([peer(2)], { changed: [peer(2)] });
  assert.equal(lanes.get(2), '1400');
});

test('what was measured of a peer that left meanwhile is forgotten', async () => {
  const { clock, follow, world, report } = begin();
  world.path = (size) => ({ kind: size > SMALL ? 'silent' : 'answered' });
  follow([peer(2)]);
  await clock.pass(1_500);
  follow([]);
  await clock.pass(10 * SECOND);
  assert.equal(report(2), undefined);
});

test('told to measure anew, all paths are, at once', async () => {
  const { clock, follow, sent, paths } = begin();
  follow([peer(2), peer(3)]);
  await clock.pass(2 * SECOND);
  paths.remeasure();
  await clock.pass(2 * SECOND);
  assert.equal(sent.length, 4);
});

test('stopped, it sends nothing more', async () => {
  const { clock, follow, sent, paths } = begin();
  follow([peer(2)]);
  await clock.pass(2 * SECOND);
  paths.stop();
  paths.remeasure();
  await clock.pass(20 * MINUTE);
  assert.equal(sent.length, 1);
});
