import assert from 'node:assert/strict';
import test from 'node:test';
import { A_SECOND, AT_ONCE, type Here, Paths } from '../../../src/control/daemon/paths.js';
import type { EchoResult } from '../../../src/control/host/echo.js';
import { HostError } from '../../../src/control/host/errors.js';
import { SMALL } from '../../../src/control/host/path-search.js';
import type { Peer } from '../../../src/control/overlay/peers.js';
import { formatAddress } from '../../../src/dataplane/wire/ipv4.js';
import { FakeClock, Lines, seeded } from '../fakes.js';

const SECOND = 1_000;
const MINUTE = 60_000;
const ROUND_TRIP = 1;

function peer(number: number): Peer {
  const publicIp = (0xc0a8_0000 + number) | 0;
  const subnet = { address: 0x0a0a_0000 + number * 256, length: 24 };
  return { key: String(number), subnet, publicIp, vtepMac: Uint8Array.of(2, 0, 0, 0, 0, 1) };
}

/** Peers on paths as told, an `ip` and an echo that answer so, and what the lanes are told. */
function begin(options: { lack?: string } = {}) {
  const clock = new FakeClock();
  const log = new Lines();
  const world = {
    /** Of the device. */
    mtu: 1500,
    here: { address: '192.168.0.1' } as Here | undefined,
    /** What `ip route get` refuses, by address. */
    refused: new Map<string, string>(),
    /** What the path answers a size; at once for what it cannot. */
    path: (_size: number, _to: number): EchoResult => ({ kind: 'answered' }),
    closed: '',
    /** How long `ip` takes, and why it cannot be asked. */
    askMs: 0,
    cannot: '',
  };
  const asked: string[][] = [];
  const sent: { to: number; size: number; at: number }[] = [];
  let waiting = 0;
  let most = 0;
  let opened = 0;
  let hint = (_address: number): void => {};
  const ip = {
    restart: () => {},
    queryAll: async (lines: readonly string[]) => {
      asked.push([...lines]);
      if (world.cannot !== '') throw new HostError('EIP', world.cannot);
      if (world.askMs > 0) await new Promise<void>((done) => void clock.after(world.askMs, done));
      return new Map(
        lines.map((line): [string, unknown[] | string] => {
          const [what, , address = ''] = line.split(' ');
          if (what === 'addr') return [line, [{ ifname: 'eth0', mtu: world.mtu }]];
          return [line, world.refused.get(address) ?? [{ dst: address, dev: 'eth0' }]];
        }),
      );
    },
  };
  const echo = {
    get closed() {
      return world.closed;
    },
    close: () => {},
    send: (to: number, size: number, ms: number) =>
      new Promise<EchoResult>((resolve) => {
        sent.push({ to, size, at: clock.now() });
        waiting += 1;
        most = Math.max(most, waiting);
        const result = world.path(size, to);
        clock.after(result.kind === 'silent' ? ms : ROUND_TRIP, () => {
          waiting -= 1;
          resolve(result);
        });
      }),
  };
  const lanes = new Map<number, string>();
  const paths = new Paths({
    ...{ clock, random: seeded(3), log, ip, tunnel: 'flannel.1', here: () => world.here },
    publisher: {
      places: (address) => [address & 0xffff],
      rows: {
        setPathMtu: (place, mtu, cut) =>
          void lanes.set(place, cut === true ? `${mtu} cut` : `${mtu}`),
      },
    },
    openEcho: async (heard) => {
      opened += 1;
      hint = heard;
      if (options.lack !== undefined) throw new Error(options.lack);
      return echo;
    },
  });
  const second = (): void => {
    clock.after(SECOND, second);
    paths.tick();
  };
  second();
  const follow = (peers: readonly Peer[], changes: { changed?: readonly Peer[] } = {}) =>
    paths.follow({ peers, added: peers, removed: [], changed: [], ...changes });
  return {
    ...{ clock, lines: log.lines, world, asked, sent, lanes, paths, follow },
    most: () => most,
    opened: () => opened,
    hint: (number: number) => hint(peer(number).publicIp >>> 0),
    report: (number: number) => paths.report(peer(number).publicIp),
  };
}

const upTo =
  (mtu: number) =>
  (size: number): EchoResult =>
    size > mtu ? { kind: 'too big', mtu, from: '192.168.0.254' } : { kind: 'answered' };

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
  assert.deepEqual(lines, [
    `warn: ${fault!.text}; do: ${fault!.cure}`,
    `info: over: ${fault!.text}`,
  ]);
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

test('without raw sockets: said once, routes and devices count, tried again now and then', async () => {
  const { clock, follow, paths, lanes, lines, opened, sent } = begin({ lack: 'no CAP_NET_RAW' });
  follow([peer(2)]);
  await clock.pass(60 * MINUTE);
  assert.deepEqual(lines, [
    'warn: path MTUs are those of routes and devices, and are not measured: no CAP_NET_RAW',
  ]);
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
