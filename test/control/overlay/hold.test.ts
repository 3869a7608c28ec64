import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { formatLeaseValue } from '../../../src/control/overlay/lease-value.js';
import { parseMac } from '../../../src/dataplane/wire/ethernet.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';
import { FakeClock, Lines, settle } from '../fakes.js';
import { HOUR, holdIn, KEY, MAC, MINUTE, US, VALUE } from './holding.js';
import { MemoryStore } from './memory-store.js';

let store: MemoryStore;
let clock: FakeClock;
let log: Lines;
let lost: string[];
let chance = 0;

beforeEach(() => {
  store = new MemoryStore();
  clock = new FakeClock();
  log = new Lines();
  lost = [];
  chance = 0;
});

const hold = (options: Parameters<typeof holdIn>[1] = {}) =>
  holdIn({ store, clock, log, lost, random: () => chance }, options);
const held = (its: object) => ({ kind: 'leased', problem: undefined, ...its });

test('tells the lease of the moment, and how long it still lasts', async () => {
  const holder = hold();
  assert.deepEqual(holder.held, held({ lease: 5n, endsIn: 24 * HOUR }));
  await clock.pass(22 * HOUR);
  assert.deepEqual(holder.held, held({ lease: 5n, endsIn: 2 * HOUR }));
  await clock.pass(HOUR + MINUTE);
  assert.notEqual(holder.held.lease, 5n);
  assert.equal(holder.held.endsIn, 24 * HOUR - MINUTE);
});

test('renews one margin before the end, on a fresh lease, with the same text', async () => {
  hold();
  assert.deepEqual(clock.waits, [23 * HOUR]);
  await clock.pass(23 * HOUR - 1);
  assert.deepEqual(store.written, []);
  await clock.pass(1);
  assert.deepEqual(store.written, [`update ${KEY}`]);
  const entry = store.entries.get(KEY);
  assert.equal(entry?.value, VALUE);
  assert.notEqual(entry?.lease, 5n);
  assert.deepEqual(store.discarded, [5n]);
  assert.deepEqual(clock.waits, [23 * HOUR]);
  await clock.pass(10 * 23 * HOUR);
  assert.equal(store.written.length, 11);
  assert.deepEqual(lost, []);
});

test('takes the longest and the shortest margin', async () => {
  hold({ margin: 1_439 * MINUTE });
  assert.deepEqual(clock.waits, [MINUTE]);
  await clock.pass(5 * MINUTE);
  assert.equal(store.written.length, 5);
});

test('a server that grants little does not make it spin', async () => {
  hold({ ttl: 60 });
  assert.deepEqual(clock.waits, [30_000]);
});

test('whatever remaining time a server tells is clamped', async () => {
  for (const [ttl, wait] of [
    [9_223_372_036, 23 * HOUR],
    [86_400, 23 * HOUR],
    [7_200, HOUR],
    [5, 2_500],
    [0, 1_000],
    [-1, 1_000],
  ] as const) {
    store = new MemoryStore();
    clock = new FakeClock();
    hold();
    store.ttl = ttl;
    store.put(KEY, VALUE);
    await settle();
    assert.deepEqual(clock.waits, [wait], `${ttl} s`);
    assert.ok(wait < 2 ** 31);
  }
});

test('tries again at least each minute while the store is away, which is a problem of the lease', async () => {
  const holder = hold();
  store.away = true;
  await clock.pass(23 * HOUR + 5 * MINUTE);
  assert.deepEqual(log.matching(/warn/), [], 'the teller says it');
  assert.match(
    holder.held.problem?.text ?? '',
    /cannot be written again, it ends in 55 min: memory/,
  );
  store.away = false;
  await clock.pass(MINUTE);
  assert.deepEqual(store.written, [`update ${KEY}`]);
  assert.equal(holder.held.problem, undefined);
  assert.ok((holder.held.endsIn ?? 0) > 24 * HOUR - MINUTE);
});

test('a renewal whose answer got lost is found to be ours', async () => {
  hold();
  store.beforeWrite = () => {
    store.beforeWrite = () => {};
    store.put(KEY, VALUE, 77n);
    store.leases.discard(77n);
  };
  await clock.pass(23 * HOUR);
  assert.deepEqual(lost, []);
  assert.deepEqual(clock.waits, [23 * HOUR]);
  await clock.pass(23 * HOUR);
  assert.deepEqual(store.written, [`update ${KEY}`]);
});

test('never overwrites a key that was taken unseen', async () => {
  const foreign = formatLeaseValue(parseAddress('192.168.64.77') as number, 1, MAC);
  hold();
  const follower = store.entries;
  store.beforeWrite = () => {
    follower.set(KEY, { key: KEY, value: foreign, lease: 9n, revision: 1_000n });
  };
  await clock.pass(23 * HOUR);
  assert.deepEqual(lost, [`our lease ${KEY} was taken by the host with public IP 192.168.64.77`]);
  assert.equal(store.entries.get(KEY)?.value, foreign);
  assert.deepEqual(clock.waits, []);
});

test('tells once that the key was deleted, taken or spoilt', async () => {
  const foreign = formatLeaseValue(parseAddress('192.168.64.77') as number, 1, MAC);
  const ways: [() => void, RegExp][] = [
    [() => store.delete(KEY), /was removed from the store, or has run out$/],
    [() => store.put(KEY, foreign), /was taken by the host with public IP 192.168.64.77$/],
    [() => store.put(KEY, 'garbage'), /was overwritten with a value that cannot be read: line 1/],
  ];
  for (const [act, reason] of ways) {
    store = new MemoryStore();
    clock = new FakeClock();
    lost = [];
    hold();
    act();
    act();
    store.relist();
    assert.equal(lost.length, 1);
    assert.match(lost[0] ?? '', reason);
    assert.deepEqual(clock.waits, [], 'nothing is renewed any more');
  }
});

test('tells that the key is missing in a snapshot, also in an emptied store', () => {
  const holder = hold();
  holder.snapshot({ entries: [], revision: 1_000n });
  assert.equal(lost.length, 1);
  holder.snapshot({ entries: [], revision: 1n });
  assert.equal(lost.length, 1);
});

test('a snapshot or event from before our last write means nothing', async () => {
  const holder = hold();
  const old = store.listing();
  await clock.pass(23 * HOUR);
  holder.changes([{ type: 'delete', key: KEY, revision: old.revision }]);
  holder.snapshot(old);
  assert.deepEqual(lost, []);
  await clock.pass(23 * HOUR);
  assert.equal(store.written.length, 2);
  assert.equal(log.matching(/warn/).length, 0);
});

test('a reservation is not renewed; a lease made one is left alone from then on', async () => {
  hold({ lease: 0n, ttl: 0 });
  assert.deepEqual(clock.waits, []);
  clock = new FakeClock();
  store = new MemoryStore();
  hold();
  store.put(KEY, VALUE, 0n);
  await settle();
  assert.deepEqual(clock.waits, []);
  assert.deepEqual(lost, []);
});

test('names a second host with our public IP', () => {
  hold();
  store.put(KEY, formatLeaseValue(US, 1, parseMac('02:00:00:00:00:99') as Uint8Array));
  assert.equal(
    log.matching(/VTEP address 02:00:00:00:00:99.*two hosts have the public IP 192.168.64.3/)
      .length,
    1,
  );
  assert.deepEqual(lost, []);
});

test("a second host's VTEP address does not stay in our key: the next renewal has ours", async () => {
  hold();
  store.put(KEY, VALUE.replace('02:00:00:00:00:0a', '02:00:00:00:00:99'), 9n);
  await clock.pass(24 * HOUR);
  assert.equal(store.entries.get(KEY)?.value, VALUE);
  assert.equal(log.matching(/two hosts have the public IP/).length, 1);
});

test('a lease of host-gw that is put again has no MAC, and no second host', () => {
  const value = '{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"host-gw"}';
  hold({ value });
  store.put(KEY, value, 5n);
  assert.deepEqual(log.lines, []);
  assert.deepEqual(lost, []);
});

test('stops without touching the key', async () => {
  hold().stop();
  assert.deepEqual(clock.waits, []);
  assert.deepEqual(store.written, []);
});

test('hosts that started together renew apart, at most a tenth earlier', async () => {
  chance = 0.5;
  hold();
  assert.deepEqual(clock.waits, [23 * HOUR * 0.95]);
  chance = 0.999;
  hold({ margin: 1_439 * MINUTE });
  assert.ok((clock.waits[0] as number) > 0.9 * MINUTE);
});

test('a store that takes no puts: the etcd lease is kept alive, and the put tried next time', async () => {
  const holder = hold();
  store.full = true;
  await clock.pass(23 * HOUR);
  assert.deepEqual(store.keptAlive, [5n]);
  assert.deepEqual(store.written, []);
  assert.equal(holder.held.lease, 5n);
  assert.equal(holder.held.endsIn, 24 * HOUR);
  assert.equal(log.matching(/not written again, kept alive for 86400 s: .* exceeded/).length, 1);
  store.full = false;
  await clock.pass(23 * HOUR);
  assert.deepEqual(store.written, [`update ${KEY}`]);
  assert.deepEqual(lost, []);
});

test('a second host that writes the very same value is named', () => {
  hold();
  store.put(KEY, VALUE, 77n);
  assert.equal(
    log.matching(/rewritten by another process: two hosts have the public IP 192.168.64.3/).length,
    1,
  );
  assert.deepEqual(lost, []);
});

test('our own renewals are not taken for a second host', async () => {
  hold();
  await clock.pass(5 * 23 * HOUR);
  assert.equal(log.matching(/two hosts/).length, 0);
});

test('in an emptied store the key is written again, until it is there', async () => {
  const holder = hold();
  store.empty();
  store.away = true;
  store.relist();
  store.relist();
  await clock.pass(3_000);
  assert.deepEqual(lost, []);
  store.away = false;
  await clock.pass(4_000);
  assert.deepEqual(store.written, [`create ${KEY}`]);
  assert.equal(store.entries.get(KEY)?.value, VALUE);
  assert.equal(holder.held.lease, store.entries.get(KEY)?.lease);
  assert.equal(log.matching(/emptied or set back; writing it again/).length, 1);
  assert.equal(log.matching(/is in the store again/).length, 1);
  await clock.pass(23 * HOUR);
  assert.deepEqual(store.written, [`create ${KEY}`, `update ${KEY}`]);
  store.delete(KEY);
  assert.equal(lost.length, 1, 'a removal after that counts');
});

test('in an emptied store another may have been faster', async () => {
  const foreign = formatLeaseValue(parseAddress('192.168.64.77') as number, 1, MAC);
  hold();
  store.empty();
  store.beforeWrite = () => {
    store.beforeWrite = () => {};
    store.put(KEY, foreign);
  };
  store.relist();
  await settle();
  assert.deepEqual(lost, [`our lease ${KEY} was taken by the host with public IP 192.168.64.77`]);
  assert.equal(store.entries.get(KEY)?.value, foreign);
});

test('a reservation of an emptied store is written again as one', async () => {
  hold({ lease: 0n, ttl: 0 });
  store.empty();
  store.relist();
  await settle();
  assert.equal(store.entries.get(KEY)?.lease, 0n);
});

test('a store that was set back: the key of then is taken, its time asked for', async () => {
  const holder = hold();
  store.ttl = 7_200;
  store.empty();
  store.put(KEY, VALUE, 3n);
  store.relist();
  await settle();
  assert.equal(holder.held.lease, 3n);
  assert.deepEqual(clock.waits, [HOUR]);
  assert.deepEqual(lost, []);
});

test('reacquire: what was removed or spoilt is written again, what is taken is lost', async () => {
  hold({ reacquire: true });
  store.delete(KEY);
  await settle();
  assert.equal(store.entries.get(KEY)?.value, VALUE);
  store.put(KEY, 'garbage');
  await settle();
  assert.equal(store.entries.get(KEY)?.value, VALUE);
  assert.deepEqual(store.written, [`create ${KEY}`, `update ${KEY}`]);
  assert.equal(log.matching(/was removed .*; writing it again/).length, 1);
  assert.equal(log.matching(/cannot be read: .*; writing it again/).length, 1);
  assert.equal(log.matching(/two hosts/).length, 0);
  assert.deepEqual(lost, []);
  assert.equal(clock.waits.length, 1);
  store.put(KEY, formatLeaseValue(parseAddress('192.168.64.77') as number, 1, MAC));
  await settle();
  assert.equal(lost.length, 1);
});

test('a saved lease is compared with the store: there, run out, or taken', async () => {
  const holder = hold({ unverified: true, lease: 9n });
  assert.equal(holder.held.lease, 9n);
  await settle();
  assert.equal(clock.waits.length, 1, 'the time is asked for');
  assert.equal(log.matching(/two hosts/).length, 0);

  store = new MemoryStore();
  clock = new FakeClock();
  const put = store.put.bind(store);
  store.put = (key, value, lease) => {
    const entry = put(key, value, lease);
    if (store.written.length === 0) store.entries.clear();
    return entry;
  };
  hold({ unverified: true });
  await settle();
  assert.deepEqual(store.written, [`create ${KEY}`]);
  assert.deepEqual(lost, []);
});
