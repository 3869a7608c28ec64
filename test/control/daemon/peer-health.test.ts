/** Peers in a world as told, and what is said of each, when, and at what cost. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { A_SECOND } from '../../../src/control/daemon/peer-health.js';
import { seeded } from '../fakes.js';
import {
  begin,
  FILTERED,
  GONE,
  HERE,
  MUTE,
  type Nature,
  NOT_HERE,
  REFUSED,
  SECOND,
  SILENT,
} from './fakes/peer-world.js';

test('a peer that answers is well within three seconds, and stays so', async () => {
  const { until, during, health } = begin();
  assert.equal(health().state, 'unknown');
  assert.ok((await until({}, 'well')) <= 3);
  assert.equal(health().roundTripMs, 1);
  assert.match(health().words, /^192\.168\.57\.1 answers through the tunnel, in 1\.0 ms$/);
  assert.deepEqual([...(await during({}, 120))], ['well']);
  assert.ok(health().forSeconds >= 119, `${health().forSeconds}`);
});

type Sent = ReturnType<typeof begin>['sent'];
const isSmall = ({ size }: Sent[number]): boolean => size === 84;
/** In a second. */
function most(sent: Sent): number {
  const perSecond = new Map<number, number>();
  for (const { at } of sent) {
    const second = Math.floor(at / SECOND);
    perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
  }
  return Math.max(...perSecond.values());
}

const TRAFFIC: readonly (readonly [string, Nature])[] = [
  ['without traffic', {}],
  ['with traffic to it', { sends: 3 }],
];
for (const [name, traffic] of TRAFFIC) {
  for (const [what, fault, state, words] of [
    ['is filtered', FILTERED, 'silent', /^UDP 8472 is filtered between here and 192\.168\.57\.1: /],
    ['is stopped', REFUSED, 'refused', /^nothing listens on UDP 8472 at 192\.168\.57\.1/],
    ['is gone', GONE, 'unreachable', /^no host has the address 192\.168\.57\.1: /],
    [
      'is beyond a firewall of ours',
      { ...FILTERED, meets: 'denied' },
      'unreachable',
      /own firewall/,
    ],
    ['and its host do not answer', MUTE, 'silent', /answers neither pings nor echoes/],
    ['is rejected', { ...FILTERED, meets: 'errors' }, 'refused', /^a firewall rejects UDP 8472/],
  ] as const) {
    test(`a peer that ${what}, ${name}: told in ten seconds, and in ten that it is over`, async () => {
      const { until, during, health } = begin();
      const well = { ...traffic, hears: traffic.sends ?? 0 };
      await until(well, 'well');
      await during(well, 7);
      const told = await until({ ...traffic, ...fault }, state);
      assert.ok(told <= 10, `told after ${told} s`);
      await during({ ...traffic, ...fault }, 4);
      assert.match(health().words, words);
      assert.deepEqual([...(await during({ ...traffic, ...fault }, 60))], [state]);
      const over = await until(well, 'well');
      assert.ok(over <= 10, `over after ${over} s`);
      assert.deepEqual([...(await during(well, 60))], ['well']);
    });
  }
}

test('a peer that was broken from the start: told where an answer is missed, or somebody says so', async () => {
  assert.ok((await begin().until({ ...FILTERED, sends: 1 }, 'silent')) <= 10);
  assert.ok((await begin().until(REFUSED, 'refused')) <= 10);
  assert.ok((await begin().until(GONE, 'unreachable')) <= 10);
  assert.ok((await begin().until({ noWay: 'no route leads there' }, 'unreachable')) <= 3);
});

test('a peer that drops all pings and has no traffic is unknown for ever, and what is known is said', async () => {
  for (const nature of [MUTE, FILTERED]) {
    const { during, health } = begin();
    assert.deepEqual([...(await during(nature, 120))], ['unknown']);
    assert.match(health().words, /; but no packet has left for it to which an answer is missed$/);
    assert.equal(health().todo, '');
  }
});

test('a peer that drops all pings and sends packets is well; when it is quiet again, no fault', async () => {
  const { until, during, health } = begin();
  await until({ ...MUTE, hears: 1, sends: 1 }, 'well');
  assert.match(health().words, /^packets come from 192\.168\.57\.1 through the tunnel/);
  assert.deepEqual([...(await during({ ...MUTE, hears: 1, sends: 1 }, 60))], ['well']);
  const quiet = await during(MUTE, 120);
  assert.deepEqual([...quiet], ['well', 'unknown']);
});

test('a peer that begins to drop pings amid its traffic stays well, also once it is quiet', async () => {
  const { until, during, health } = begin();
  await until({ hears: 9, sends: 9 }, 'well');
  await during({ hears: 9, sends: 9 }, 10);
  assert.match(health().words, /answers through the tunnel/);
  assert.deepEqual([...(await during({ ...FILTERED, hears: 9, sends: 9 }, 120))], ['well']);
  const quiet = await during(FILTERED, 120);
  assert.ok(!quiet.has('silent'), [...quiet].join());
});

test('packets that are no answers do not hide that ours do not arrive', async () => {
  const { until, during } = begin();
  await until({}, 'well');
  // Its own echoes to us, one a second.
  assert.ok((await until({ ...FILTERED, hears: 1, sends: 1 }, 'silent')) <= 10);
  assert.deepEqual([...(await during({ ...FILTERED, hears: 1, sends: 1 }, 30))], ['silent']);
});

test('packets that ask for no answer are no fault of a peer that answers', async () => {
  const { until, during } = begin();
  await until({ sends: 5 }, 'well');
  assert.deepEqual([...(await during({ sends: 5 }, 60))], ['well']);
});

test('packets that leave for a peer that never answered are missed, however often it was asked before', async () => {
  const { until, during } = begin();
  assert.deepEqual([...(await during(FILTERED, 120))], ['unknown']);
  assert.ok((await until({ ...FILTERED, sends: 1 }, 'silent')) <= 10);
});

test('one packet without an answer to a peer that drops pings is no fault', async () => {
  const { during } = begin();
  await during(MUTE, 30);
  await during({ ...MUTE, sends: 1 }, 1);
  assert.deepEqual([...(await during(MUTE, 60))], ['unknown']);
});

test('a lost echo in a while is no fault; many are loss, until it is over', async () => {
  const random = seeded(5);
  const lossy = (share: number): Nature => ({ echo: () => random() >= share });
  const { until, during } = begin();
  await until({}, 'well');
  assert.ok((await until(lossy(0.4), 'lossy', 60)) < 60);
  const said = await during(lossy(0.4), 60);
  assert.ok(said.has('lossy'), [...said].join());
  const over = await until({}, 'well');
  assert.ok(over <= 8, `over after ${over} s`);
  await during({}, 10);
  let first = true;
  const once = (): boolean => {
    const lost = first;
    first = false;
    return !lost;
  };
  assert.deepEqual([...(await during({ echo: once }, 60))], ['well']);
});

test('two echoes lost in a row are one outage: neither loss nor silence', async () => {
  const { until, during } = begin();
  await until({}, 'well');
  await during({}, 10);
  let lost = 0;
  const twice = (): boolean => {
    lost += 1;
    return lost > 2;
  };
  assert.deepEqual([...(await during({ echo: twice }, 30))], ['well']);
});

test('a peer that is broken for long is asked no more often than one that is well', async () => {
  const { until, during, sent, clock } = begin();
  await until(FILTERED, 'unknown');
  await during(FILTERED, 60);
  const from = clock.now();
  await during(FILTERED, 60);
  const asked = sent.filter(({ kind, at }) => kind === 'tunnel' && at > from).length;
  assert.ok(asked <= 31, `${asked} in a minute`);
});

test('large echoes are as long as the tunnel takes, small ones 84 bytes, one of each each two seconds', async () => {
  const { during, sent } = begin();
  await during({}, 90);
  assert.deepEqual([...new Set(sent.map(({ size }) => size))].sort(), [1450, 84]);
  const large = sent.filter(({ size }) => size > 84).length;
  assert.ok(large >= 43 && large <= 46, `${large} large ones in 90 s`);
});

test('a peer that is reached directly is asked on the underlay alone', async () => {
  const { until, during, sent, health } = begin();
  assert.ok((await until({ direct: true }, 'well')) <= 5);
  const gone = await until({ direct: true, ping: NOT_HERE }, 'unreachable');
  assert.ok(gone <= 10, `${gone}`);
  assert.ok((await until({ direct: true }, 'well')) <= 10);
  // What a ping found before it answered again is past.
  const after = await during({ direct: true, ping: SILENT }, 10);
  assert.deepEqual([...after], ['well', 'silent']);
  assert.match(health().words, /^192\.168\.57\.1 answers no echo: it is down, or ICMP is filtered/);
  assert.ok(!sent.some(({ kind, at }) => kind === 'tunnel' && at > 2 * SECOND));
  const mute = begin();
  assert.deepEqual([...(await mute.during({ direct: true, ping: SILENT }, 60))], ['unknown']);
  assert.deepEqual([...(await during({ direct: true }, 10))].at(-1), 'well');
});

test('a quiet network: each peer is asked each two seconds, and of many peers ten a second in all', async () => {
  const few = begin(5);
  await few.clock.pass(300 * SECOND);
  const each = few.sent.filter(isSmall).length / 5;
  assert.ok(each > 145 && each < 151, `${each} for each in 300 s`);
  const many = begin(1000);
  await many.clock.pass(220 * SECOND);
  assert.ok(most(many.sent.filter(isSmall)) <= A_SECOND['in turn']);
  assert.ok(most(many.sent) <= 2 * A_SECOND['in turn']);
  for (let i = 1; i <= 1000; i += 1) assert.equal(many.is(i), 'well', String(i));
});

test('thousands of peers that break at once cost a bounded number, and all come to be told', async () => {
  const { clock, natures, sent, is } = begin(1200);
  for (let i = 1; i <= 1200; i += 1) natures.set(i, { ...GONE, sends: 1 });
  await clock.pass(300 * SECOND);
  assert.ok(most(sent.filter(isSmall)) <= A_SECOND['in turn'] + A_SECOND.urgent);
  for (let i = 1; i <= 1200; i += 1) assert.notEqual(is(i), 'well', String(i));
  const told = Array.from({ length: 1200 }, (_, i) => is(i + 1)).filter((s) => s !== 'unknown');
  assert.ok(told.length > 1000, `${told.length}`);
});

test('one that breaks among hundreds that are well and have traffic is told in ten seconds', async () => {
  const { clock, natures, until } = begin(300);
  for (let i = 1; i <= 300; i += 1) natures.set(i, { sends: 50, hears: 50 });
  await clock.pass(100 * SECOND);
  const told = await until({ ...FILTERED, sends: 50 }, 'silent');
  assert.ok(told <= 10, `${told}`);
});

test('without the right to send echoes the lanes alone tell, and the reason is said', async () => {
  const lack = 'raw sockets are not allowed here';
  const { until, during, healths, sent, health } = begin(1, lack);
  assert.ok((await until({ hears: 1, sends: 1 }, 'well')) <= 3);
  assert.equal(healths.lack, lack);
  await during({}, 70);
  assert.deepEqual(
    [health().state, health().words],
    ['unknown', `no echo could be sent to 192.168.57.1: ${lack}`],
  );
  assert.deepEqual(sent, []);
});

test('the sockets are opened again after an error, in another VRF, and closed at the end', async () => {
  const { clock, during, opened, closed, world, healths, sent } = begin();
  await during({}, 5);
  assert.equal(opened(), 1);
  world.here = { address: HERE, vrf: 'blue' };
  await during({}, 3);
  assert.deepEqual([opened(), closed()], [2, 2]);
  world.closed = 'Network is down';
  await during({}, 2);
  assert.equal(healths.lack, 'Network is down');
  world.closed = '';
  await clock.pass(601 * SECOND);
  assert.equal(healths.lack, '');
  healths.stop();
  const before = sent.length;
  await clock.pass(10 * SECOND);
  assert.equal(sent.length, before);
  assert.equal(closed(), 6);
});

test('while this host has no address on the underlay nobody is asked', async () => {
  const { during, world, sent } = begin();
  await during({}, 5);
  world.here = undefined;
  const before = sent.length;
  await during({}, 20);
  assert.equal(sent.length, before);
});

test('a peer that leaves is forgotten; one that comes again begins anew', async () => {
  const { clock, until, healths, peers, is } = begin(2);
  await until(FILTERED, 'unknown');
  await clock.pass(5 * SECOND);
  healths.follow({ peers: peers.slice(1) });
  assert.deepEqual([...healths.all.keys()], ['192.168.57.2']);
  assert.equal(is(1), 'unknown');
  healths.follow({ peers });
  assert.ok((await until({}, 'well')) <= 3);
});

test('whatever becomes of a peer, in the end what is said follows from what is', async () => {
  const states: readonly (readonly [Nature, string])[] = [
    [{}, 'well'],
    [{ sends: 4, hears: 4 }, 'well'],
    [FILTERED, 'silent'],
    [{ ...FILTERED, sends: 2 }, 'silent'],
    [REFUSED, 'refused'],
    [{ ...REFUSED, sends: 2 }, 'refused'],
    [GONE, 'unreachable'],
    [{ ...GONE, sends: 1 }, 'unreachable'],
    [{ echo: false, meets: 'denied' }, 'unreachable'],
    [{ noWay: 'no route leads there' }, 'unreachable'],
  ];
  for (let seed = 1; seed <= 20; seed += 1) {
    const random = seeded(seed);
    const { until, during } = begin();
    await until({}, 'well');
    const way: string[] = [];
    for (let step = 0; step < 12; step += 1) {
      const [nature, state] = states[Math.floor(random() * states.length)]!;
      way.push(JSON.stringify(nature));
      // What was told by ICMP before counts for ten seconds, and a ping for fifteen.
      await during(nature, 20 + Math.floor(random() * 20));
      const said = [...(await during(nature, 3))];
      assert.deepEqual(said, [state], `seed ${seed}: ${way.join(' ')}`);
    }
  }
});
