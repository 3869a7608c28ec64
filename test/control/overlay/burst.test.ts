/** Changes that come faster than they can be put in force. */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { formatLeaseValue } from '../../../src/control/overlay/lease-value.js';
import { type Membership, Peers } from '../../../src/control/overlay/peers.js';
import { parseSubnet, type Subnet } from '../../../src/control/overlay/subnet.js';
import type { Change } from '../../../src/control/store/store.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';
import { FakeClock, Lines } from '../fakes.js';

const keyOf = (n: number): string => `10.5.${n}.0-24`;

function put(n: number, host = n): Change {
  const value = formatLeaseValue(
    parseAddress(`192.168.64.${host}`) as number,
    1,
    Uint8Array.of(2, 0, 0, 0, 0, host),
  );
  return { type: 'put', entry: { key: keyOf(n), value, revision: 1n, lease: 1n } };
}

const gone = (n: number): Change => ({ type: 'delete', key: keyOf(n), revision: 1n });

/** Peers that take `costMs` to be put in force. */
function begin(costMs: number) {
  const time = new FakeClock();
  let worked = 0;
  const clock = {
    now: () => time.now() + worked,
    after: (ms: number, call: () => void) => time.after(ms, call),
  };
  const updates: Membership[] = [];
  const peers = new Peers({
    ownKey: keyOf(200),
    ownSubnet: parseSubnet('10.5.200.0/24') as Subnet,
    publicIp: parseAddress('192.168.64.200') as number,
    clock,
    log: new Lines(),
    update: (membership) => {
      worked += costMs;
      updates.push(membership);
    },
  });
  peers.snapshot({ entries: [], revision: 1n });
  const shown = () =>
    updates.map(({ added, removed }) => [
      ...added.map(({ key }) => `+${key}`),
      ...removed.map(({ key }) => `-${key}`),
    ]);
  return { time, peers, updates, shown };
}

test('the first change is in force at once; those behind it together, after as long as that took', async () => {
  const { time, peers, shown } = begin(30);
  await time.pass(1_000);
  peers.changes([put(1)]);
  assert.deepEqual(shown().slice(1), [[`+${keyOf(1)}`]]);
  peers.changes([put(2), put(3)]);
  peers.changes([gone(1), put(4), gone(3)]);
  assert.deepEqual(time.waits, [30]);
  await time.pass(29);
  assert.equal(shown().length, 2);
  await time.pass(1);
  assert.deepEqual(shown().slice(2), [[`+${keyOf(2)}`, `+${keyOf(4)}`, `-${keyOf(1)}`]]);
  peers.changes([put(5)]);
  assert.deepEqual(time.waits, [30], 'and so on');
  await time.pass(1_000);
  peers.changes([put(6)]);
  assert.deepEqual(shown().at(-1), [`+${keyOf(6)}`], 'at once again');
  assert.deepEqual(time.waits, []);
});

test('however long it took, half a second is enough to wait', async () => {
  const { time, peers, shown } = begin(60_000);
  peers.changes([put(1)]);
  assert.deepEqual(time.waits, [500]);
  await time.pass(500);
  assert.deepEqual(shown().at(-1), [`+${keyOf(1)}`]);
});

test('a listing is in force at once, and nothing waits any more', async () => {
  const { time, peers, shown } = begin(30);
  peers.changes([put(1)]);
  peers.snapshot({ entries: [], revision: 2n });
  assert.deepEqual(time.waits, []);
  assert.equal(shown().length, 1, 'what came and went is no news');
});

test('an own address that changes takes along what waits', () => {
  const { time, peers, shown } = begin(30);
  peers.changes([put(1), put(2)]);
  peers.changePublicIp(parseAddress('192.168.64.2') as number);
  assert.deepEqual(shown().at(-1), [`+${keyOf(1)}`]);
  assert.deepEqual(time.waits, []);
});

test('stopped, what waits is not told', async () => {
  const { time, peers, shown } = begin(30);
  peers.changes([put(1)]);
  peers.stop();
  await time.pass(1_000);
  assert.equal(shown().length, 1);
});

const anyChange = fc
  .tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 3 }))
  .map(([n, host]) => (host === 0 ? gone(n) : put(n, 10 + host)));
const anyBurst = fc.array(
  fc.record({ batch: fc.array(anyChange, { maxLength: 4 }), pauseMs: fc.nat(50) }),
  { maxLength: 20 },
);

test('whatever comes when, it ends as if each change had been put in force alone', async () => {
  let gathered = 0;
  const told = (membership: Membership | undefined) => new Set(membership?.peers);
  await fc.assert(
    fc.asyncProperty(anyBurst, fc.nat(40), async (burst, costMs) => {
      const slow = begin(costMs);
      const alone = begin(0);
      for (const { batch, pauseMs } of burst) {
        slow.peers.changes(batch);
        for (const change of batch) alone.peers.changes([change]);
        await slow.time.pass(pauseMs);
      }
      await slow.time.pass(1_000);
      assert.deepEqual(told(slow.updates.at(-1)), told(alone.updates.at(-1)));
      if (slow.updates.length < alone.updates.length) gathered += 1;

      // What each update says that changed is what makes the next list of the one before.
      const list = new Map<string, Membership['peers'][number]>();
      for (const { peers, added, removed, changed } of slow.updates) {
        for (const peer of removed) assert.ok(list.delete(peer.key));
        for (const peer of added) assert.ok(!list.has(peer.key));
        for (const peer of changed) assert.ok(list.has(peer.key));
        for (const peer of [...added, ...changed]) list.set(peer.key, peer);
        assert.deepEqual(new Set(list.values()), new Set(peers));
      }
    }),
    { numRuns: 50 },
  );
  assert.ok(gathered > 0, 'some were gathered');
});
