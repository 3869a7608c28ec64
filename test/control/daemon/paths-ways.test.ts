/** The ways to peers: when `ip` is asked for them, and those that lead nowhere. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { formatAddress } from '../../../src/dataplane/wire/ipv4.js';
import { begin, peer, SECOND } from './fakes/paths.js';

test('when nothing changed ways are asked for each minute; when something did, at once', async () => {
  const { clock, follow, asked, paths, world, lanes } = begin();
  follow([peer(2)]);
  const look = async (seconds: number) => {
    for (let i = 0; i < seconds; i += 3) {
      await paths.reconcile();
      await clock.pass(3 * SECOND);
    }
  };
  await look(3);
  const before = asked.length;
  await look(56);
  assert.equal(asked.length, before);
  await look(6);
  assert.ok(asked.length > before);
  world.mtu = 1300;
  paths.changed();
  await paths.reconcile();
  assert.equal(lanes.get(2), '1300');
});

test('the ways of the first peers are not asked for a second time by the look behind them', async () => {
  const { clock, follow, asked, paths } = begin();
  follow([peer(2), peer(3)]);
  await clock.pass(SECOND);
  const before = asked.length;
  await paths.reconcile();
  assert.equal(asked.length, before);
  paths.changed();
  follow([peer(2), peer(3), peer(4)]);
  await clock.pass(SECOND);
  const joined = asked.length;
  await paths.reconcile();
  assert.ok(asked.length > joined, 'that of one peer is no look at all of them');
});

test('ways that take long to ask for are asked for rarely, however much changes', async () => {
  const { clock, follow, asked, paths, world } = begin();
  follow(Array.from({ length: 5_000 }, (_, i) => peer(i + 2)));
  await clock.pass(SECOND);
  world.askMs = 100;
  const before = asked.filter((lines) => lines.length === 5_000).length;
  for (let i = 0; i < 200; i += 1) {
    paths.changed();
    const looked = paths.reconcile();
    await clock.pass(3 * SECOND);
    await looked;
  }
  const asks = asked.filter((lines) => lines.length === 5_000).length - before;
  assert.ok(asks >= 15 && asks <= 35, String(asks));
});

test('a way that leads nowhere: a fault with the peer and the reason, gone when it is over', async () => {
  const { clock, follow, paths, world, lanes, lines, sent, report } = begin();
  world.refused.set('192.168.0.2', 'RTNETLINK answers: Network is unreachable');
  follow([peer(2), peer(3)]);
  await clock.pass(2 * SECOND);
  const [fault] = paths.faults;
  assert.match(
    fault!.text,
    /^nothing can be sent to the peer 192\.168\.0\.2: no route leads there/,
  );
  assert.equal(paths.faults.length, 1);
  assert.equal(report(2), undefined);
  const [to2, to3] = [peer(2).publicIp, peer(3).publicIp];
  assert.deepEqual([paths.noWay(to2), paths.noWay(to3)], ['no route leads there', '']);
  assert.deepEqual([paths.device(to2), paths.device(to3)], [undefined, 'eth0']);
  assert.deepEqual([lanes.get(2), lanes.get(3)], ['0', '1500']);
  assert.ok(sent.every(({ to }) => formatAddress(to) === '192.168.0.3'));
  world.refused.clear();
  paths.changed();
  await paths.reconcile();
  await clock.pass(2 * SECOND);
  assert.deepEqual(paths.faults, []);
  assert.equal(lanes.get(2), '1500');
  assert.deepEqual(lines, [], 'the teller says it');
});

test('faults of many peers with one reason are one line; of a peer that left, none', async () => {
  const { clock, follow, paths, world } = begin();
  const peers = Array.from({ length: 6 }, (_, i) => peer(i + 2));
  for (const { publicIp } of peers) world.refused.set(formatAddress(publicIp), 'No route to host');
  follow(peers);
  await clock.pass(SECOND);
  assert.equal(paths.faults.length, 1);
  assert.match(
    paths.faults[0]!.text,
    /to 6 peers, 192\.168\.0\.2 among them: an unreachable route/,
  );
  follow([]);
  await clock.pass(SECOND);
  assert.deepEqual(paths.faults, []);
});

test('while the underlay address is gone no peer is at fault', async () => {
  const { follow, clock, paths, world } = begin();
  world.refused.set('192.168.0.2', 'RTNETLINK answers: Network is unreachable');
  world.here = undefined;
  follow([peer(2)]);
  await clock.pass(SECOND);
  await paths.reconcile();
  assert.deepEqual(paths.faults, []);
});

test('what is refused to an address that is not here any more is no fault, and asked for anew', async () => {
  const { clock, follow, paths, world, asked } = begin();
  world.refused.set('192.168.0.2', 'RTNETLINK answers: Network is unreachable');
  const to2 = peer(2).publicIp;
  const told = () => [paths.faults.length, paths.noWay(to2)];
  follow([peer(2)]);
  await clock.pass(SECOND);
  assert.deepEqual(told(), [1, 'no route leads there']);
  const { here } = world;
  world.here = undefined;
  assert.deepEqual(told(), [0, '']);
  world.here = here;
  assert.deepEqual(told(), [1, 'no route leads there']);
  world.here = { address: '192.168.0.99' };
  assert.deepEqual(told(), [0, '']);
  // That of one other peer is no answer for the rest.
  follow([peer(2), peer(3)]);
  await clock.pass(SECOND);
  assert.ok(asked.flat().includes('route get 192.168.0.3 from 192.168.0.99'));
  assert.deepEqual(told(), [0, '']);
  await paths.reconcile();
  assert.deepEqual(told(), [1, 'no route leads there']);
});

test('in another VRF another socket measures, and its routes count', async () => {
  const { clock, follow, world, opened, asked, paths } = begin();
  follow([peer(2)]);
  await clock.pass(2 * SECOND);
  world.here = { address: '192.168.0.1', vrf: 'blue' };
  paths.changed();
  await paths.reconcile();
  await clock.pass(2 * SECOND);
  assert.equal(opened(), 2);
  assert.ok(asked.flat().includes('route get 192.168.0.2 from 192.168.0.1 vrf blue'));
});

test('a change whose look failed is looked at again by the next, and not a minute later', async () => {
  const { clock, follow, paths, world, report } = begin();
  follow([peer(2)]);
  await clock.pass(5 * SECOND);
  world.mtu = 1400;
  world.cannot = 'ip does not answer';
  paths.changed();
  await assert.rejects(paths.reconcile(), { message: 'ip does not answer' });
  await clock.pass(3 * SECOND);
  await assert.rejects(paths.reconcile(), 'not silence, as if all were well');
  world.cannot = '';
  await clock.pass(3 * SECOND);
  await paths.reconcile();
  assert.equal(report(2)?.mtu, 1400);
});
