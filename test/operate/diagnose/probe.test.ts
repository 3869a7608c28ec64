/** What is asked of a peer, how often, and what comes of it. */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { EchoResult } from '../../../src/control/host/echo.js';
import type { Way } from '../../../src/control/host/ways.js';
import { describeProbed, reportProbed } from '../../../src/operate/diagnose/describe.js';
import { AT_ONCE, probe, type Target } from '../../../src/operate/diagnose/probe.js';
import type { PeerSeen } from '../../../src/operate/status/traffic.js';
import { FakeClock } from '../../control/fakes.js';
import { UNSEEN } from '../status/full.js';

const HERE = '192.168.56.11';
const SETTING = { count: 5, port: 8472, mtu: 1450, here: HERE, underlay: 'ens33' };
const WAY: Way = { device: 'ens33', mtu: 1500, from: 'device' };
const ANSWERED: EchoResult = { kind: 'answered' };
const SILENT: EchoResult = { kind: 'silent' };

function target(number: number, more: Partial<Target> = {}): Target {
  return {
    ...{ publicIp: `192.168.57.${number}`, subnet: `10.10.${number}.0/24`, direct: false },
    ...more,
  };
}

function begin() {
  const clock = new FakeClock();
  const world = {
    tunnel: (_size: number, _nth: number): EchoResult => ANSWERED,
    underlay: (_size: number, _nth: number): EchoResult => ANSWERED,
    way: WAY as Way | string,
    /** What the lanes have seen, each time they are asked. */
    seen: [] as (PeerSeen | undefined)[],
  };
  const sent: { by: 'tunnel' | 'underlay'; to: number; size: number; at: number }[] = [];
  const lots: number[] = [];
  let waiting = 0;
  let most = 0;
  const sender = (by: 'tunnel' | 'underlay') => ({
    send: (to: number, size: number, ms: number): Promise<EchoResult> => {
      const nth = sent.filter((one) => one.by === by && one.to === to).length;
      sent.push({ by, to, size, at: clock.now() });
      const result = world[by](size, nth);
      waiting += 1;
      most = Math.max(most, waiting);
      return new Promise((resolve) => {
        clock.after(result.kind === 'silent' ? ms : 2, () => {
          waiting -= 1;
          resolve(result);
        });
      });
    },
  });
  const run = async (targets: readonly Target[], tunnel = true, setting = SETTING) => {
    const all = probe(targets, setting, {
      ...{ clock, underlay: sender('underlay') },
      tunnel: tunnel ? sender('tunnel') : undefined,
      ways: async (addresses) => new Map(addresses.map((one) => [one, world.way])),
      seen: async () => {
        const seen = world.seen.shift();
        return seen && new Map(targets.map(({ publicIp }) => [publicIp, seen]));
      },
      progress: (asked) => lots.push(asked),
    });
    await clock.pass(120_000);
    return all;
  };
  return { clock, world, sent, lots, run, most: () => most };
}

test('a peer that is well: pings and small echoes, then large ones, and the path MTU', async () => {
  const { run, sent } = begin();
  const [one] = await run([target(7)]);
  const of = (by: string, size: number) =>
    sent.filter((echo) => echo.by === by && echo.size === size).map(({ to }) => to);
  // One more than are counted goes before, for what ICMP said earlier.
  assert.deepEqual(of('tunnel', 84), Array(6).fill(0x0a0a0700));
  assert.deepEqual(of('tunnel', 1450), Array(3).fill(0x0a0a0700));
  assert.deepEqual(of('underlay', 84), Array(5).fill(0xc0a83907));
  assert.deepEqual(of('underlay', 1500), [0xc0a83907]);
  assert.equal(sent.length, 15);
  assert.deepEqual(one!.observed.tunnel, {
    ...{ sent: 5, answered: 5, roundTripMs: 2, unreachable: null, toldTooBig: false, cannot: '' },
  });
  assert.deepEqual([one!.verdict.code, one!.pathMtu], ['well', 1500]);
});

test('echoes of one kind leave a fifth of a second apart', async () => {
  const { run, sent } = begin();
  await run([target(7)], false);
  const times = sent.filter(({ size }) => size === 84).map(({ at }) => at);
  assert.deepEqual(times, [0, 200, 400, 600, 800]);
});

test('where small echoes do not pass, no large ones are sent; what the lanes saw is told', async () => {
  const { run, sent, world } = begin();
  world.tunnel = () => SILENT;
  world.seen = [
    { ...UNSEEN, portUnreachable: 4, receivedPackets: 9 },
    { ...UNSEEN, portUnreachable: 6, receivedPackets: 9 },
  ];
  const [one] = await run([target(7)]);
  assert.ok(!sent.some(({ by, size }) => by === 'tunnel' && size > 84));
  assert.deepEqual(one!.observed.lanes, {
    ...{ heard: 0, refused: 2, errors: 0, denied: 0, unreachable: 0 },
  });
  assert.equal(one!.verdict.code, 'refused');
});

test('lost ones are counted, what was not sent is not, and who says that it does not get there is kept', async () => {
  const { run, world } = begin();
  world.tunnel = (size, nth) => (size === 84 && nth % 2 === 0 ? SILENT : ANSWERED);
  world.underlay = (_, nth) =>
    nth === 0
      ? { kind: 'cannot', why: 'No buffer space available' }
      : { kind: 'unreachable', code: 1, from: HERE };
  const [one] = await run([target(7)]);
  const { tunnel, underlay } = one!.observed;
  assert.deepEqual([tunnel!.sent, tunnel!.answered], [5, 3]);
  assert.equal(one!.verdict.code, 'lossy');
  assert.deepEqual(
    [underlay!.sent, underlay!.answered, underlay!.unreachable],
    [4, 0, { code: 1, from: HERE }],
  );
  assert.equal(one!.pathMtu, null);
});

test('large ones that do not pass, and those of which one is told', async () => {
  for (const [result, code] of [
    [SILENT, 'small-mtu'],
    [{ kind: 'too big', mtu: 1350, from: HERE }, 'well'],
  ] as const) {
    const { run, world } = begin();
    world.tunnel = (size) => (size > 84 ? result : ANSWERED);
    const [one] = await run([target(7)]);
    assert.equal(one!.verdict.code, code);
  }
});

test('a peer without a route is not asked; a direct one, and a bare address, not through the tunnel', async () => {
  const { run, world, sent } = begin();
  const bare = target(8, { subnet: undefined });
  const some = await run([target(7, { direct: true }), bare]);
  assert.ok(sent.every(({ by }) => by === 'underlay'));
  assert.deepEqual(
    some.map(({ verdict }) => verdict.code),
    ['well', 'underlay-only'],
  );
  sent.length = 0;
  world.way = 'no route leads there';
  const [none] = await run([target(7)]);
  assert.equal(none!.verdict.code, 'no-route');
  assert.ok(!sent.some(({ by }) => by === 'underlay'));
});

test('a route by another device is told when nothing comes back', async () => {
  const { run, world } = begin();
  world.way = { ...WAY, device: 'tun0' };
  const [well] = await run([target(7)]);
  assert.equal(well!.verdict.code, 'well');
  world.tunnel = () => SILENT;
  const [one] = await run([target(7)]);
  assert.equal(one!.verdict.code, 'other-device');
});

test('of many peers some are asked at a time, all in their order', async () => {
  const { run, most, lots } = begin();
  const targets = Array.from({ length: 40 }, (_, i) => target(i + 1));
  const all = await run(targets, true, { ...SETTING, count: 1 });
  assert.deepEqual(
    all.map(({ publicIp }) => publicIp),
    targets.map(({ publicIp }) => publicIp),
  );
  assert.ok(most() <= 2 * AT_ONCE, `${most()} at once`);
  assert.deepEqual(lots, [16, 16, 8]);
});

test('the table, and below it what is not well', async () => {
  const { run, world } = begin();
  const [well] = await run([target(7)]);
  world.tunnel = () => SILENT;
  const [bad] = await run([target(8)]);
  const [direct] = await run([target(9, { direct: true })]);
  assert.equal(
    describeProbed([well!, bad!, direct!]),
    `\
subnet        public IP     underlay    tunnel      full size   path MTU
10.10.7.0/24  192.168.57.7  5/5 2.0 ms  5/5 2.0 ms  3/3 2.0 ms  1500      well
10.10.8.0/24  192.168.57.8  5/5 2.0 ms  0/5         -           1500      filtered
10.10.9.0/24  192.168.57.9  5/5 2.0 ms  direct      -           1500      well

UDP 8472 is filtered between here and 192.168.57.8: underlay pings pass, tunnel echoes do not.
  on 192.168.57.8, to see whether ours arrive: tcpdump -ni any udp port 8472
`,
  );
  const [one] = reportProbed([bad!]);
  assert.deepEqual(
    [one!.publicIp, one!.code, one!.well, one!.tunnel?.sent, one!.underlay?.answered],
    ['192.168.57.8', 'filtered', false, 5, 5],
  );
});
