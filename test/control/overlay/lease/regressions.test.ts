/**
 * What went wrong with the lease when its holder went by remembered events: each by the name of
 * what is right.
 */
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { LeaseHolder } from '../../../../src/control/overlay/lease/holder.js';
import { LEASE_TTL } from '../../../../src/control/overlay/lease/known.js';
import { formatLeaseValue } from '../../../../src/control/overlay/lease-value.js';
import { parseSubnet, type Subnet } from '../../../../src/control/overlay/subnet.js';
import { parseAddress } from '../../../../src/dataplane/wire/ipv4.js';
import { FakeClock, Lines, settle } from '../../fakes.js';
import { HOUR, holdIn, KEY, MAC, MINUTE, US, VALUE } from '../holding.js';
import { MemoryStore } from '../memory-store.js';

const THERE = parseAddress('192.168.64.33') as number;
const FOREIGN = formatLeaseValue(parseAddress('192.168.64.77') as number, 1, MAC);

let store: MemoryStore;
let clock: FakeClock;
let log: Lines;
let lost: string[];

beforeEach(() => {
  store = new MemoryStore();
  clock = new FakeClock();
  log = new Lines();
  lost = [];
});

const hold = (options: Parameters<typeof holdIn>[1] = {}) =>
  holdIn({ store, clock, log, lost }, options);
const entry = () => store.entries.get(KEY);
const publicIp = () => (JSON.parse(entry()!.value) as { PublicIP: string }).PublicIP;

/** As after a start while the store is away: only what was saved is known. */
function holdSaved({ value = VALUE, reserved = false, at = US } = {}): LeaseHolder {
  const subnet = parseSubnet('10.5.52.0/24') as Subnet;
  const time = { revision: 0n, lease: 0n, ttl: LEASE_TTL };
  const holder = new LeaseHolder({
    ...{ store, clock, log, marginMs: HOUR, unverified: true, publicIp: at },
    own: { key: KEY, subnet, vtepMac: MAC, value, reserved, ...time },
    random: () => 0,
    lost: (reason) => lost.push(reason),
  });
  return holder;
}
const follow = (holder: LeaseHolder) =>
  store.follow({
    snapshot: (listing) => holder.snapshot(listing),
    changes: (batch) => holder.changes(batch),
  });

test('an address that moved while the saved network was in force is published when the store returns', async () => {
  store.put(KEY, VALUE, 5n);
  store.away = true;
  const holder = holdSaved();
  await clock.pass(10 * MINUTE);
  holder.changePublicIp(THERE);
  await clock.pass(10 * MINUTE);
  store.away = false;
  follow(holder);
  await clock.pass(MINUTE);
  assert.equal(publicIp(), '192.168.64.33');
  assert.equal(log.matching(/has the public IP 192\.168\.64\.33 now/).length, 1);
  assert.deepEqual(lost, []);
});

test('an address that was not published before a restart is published after it', async () => {
  store.put(KEY, VALUE, 5n);
  const holder = holdSaved({ at: THERE });
  follow(holder);
  await clock.pass(MINUTE);
  assert.equal(publicIp(), '192.168.64.33');
  assert.deepEqual(lost, []);
});

test('a key that is gone is written with the address of now, not with that of the saved value', async () => {
  const holder = holdSaved({ at: THERE });
  follow(holder);
  await clock.pass(MINUTE);
  assert.equal(publicIp(), '192.168.64.33');
});

test('a key missing after a saved start is written again on an etcd lease', async () => {
  const holder = holdSaved();
  holder.changePublicIp(THERE);
  follow(holder);
  await clock.pass(MINUTE);
  assert.deepEqual(store.written, [`create ${KEY}`]);
  assert.notEqual(entry()?.lease, 0n);
  assert.equal(holder.held.kind, 'leased');
});

test('a reservation missing after a saved start is written again as one', async () => {
  follow(holdSaved({ reserved: true }));
  await clock.pass(MINUTE);
  assert.equal(entry()?.lease, 0n);
});

test('the lease is kept alive while a move cannot be written for want of space', async () => {
  const holder = hold();
  store.full = true;
  holder.changePublicIp(THERE);
  await clock.pass(70 * HOUR);
  assert.deepEqual(store.keptAlive, [5n, 5n, 5n]);
  assert.ok((holder.held.endsIn ?? 0) > 0);
  assert.match(holder.held.problem!.text, /does not have the public IP/);
  assert.equal(log.matching(/^warn.*kept alive/).length, 1, 'once an outage');
  store.full = false;
  await clock.pass(MINUTE);
  assert.equal(publicIp(), '192.168.64.33');
});

test('a renewal that found no space is made as soon as there is some', async () => {
  const holder = hold();
  store.full = true;
  await clock.pass(23 * HOUR + 30 * MINUTE);
  assert.match(holder.held.problem?.text ?? '', /cannot be written again/);
  store.full = false;
  await clock.pass(MINUTE);
  assert.equal(store.written.length, 1);
  assert.equal(holder.held.problem, undefined);
});

test('a lease is renewed in its time after a move that could not be written', async () => {
  const holder = hold();
  store.away = true;
  holder.changePublicIp(THERE);
  await clock.pass(10 * MINUTE);
  holder.changePublicIp(US);
  assert.equal(holder.held.problem, undefined, 'nothing is to be written any more');
  store.away = false;
  await clock.pass(23 * HOUR);
  assert.deepEqual(store.written, [`update ${KEY}`]);
  assert.equal(publicIp(), '192.168.64.3');
});

test('a reservation spoilt and taken back stays one', async () => {
  hold({ lease: 0n, ttl: 0, reacquire: true });
  store.full = true;
  store.put(KEY, 'garbage', 0n);
  await clock.pass(25 * HOUR);
  store.relist();
  assert.equal(log.matching(/cannot be read/).length, 1);
  store.full = false;
  await clock.pass(MINUTE);
  assert.equal(entry()?.value, VALUE);
  assert.equal(entry()?.lease, 0n);
});

test('a key that is removed once more after it came back is said to be', async () => {
  hold({ reacquire: true });
  store.delete(KEY);
  await clock.pass(MINUTE);
  store.delete(KEY);
  await clock.pass(MINUTE);
  assert.equal(log.matching(/was removed .*writing it again/).length, 2);
  assert.deepEqual(store.written, [`create ${KEY}`, `create ${KEY}`]);
});

test('our key on an etcd lease of an earlier run, out of a backup, is no second host', async () => {
  const holder = hold();
  const then = { key: KEY, value: VALUE, revision: 1n, lease: 3n };
  holder.snapshot({ entries: [then], revision: 1n, replaced: true });
  assert.equal(holder.held.lease, 3n);
  assert.equal(log.matching(/two hosts/).length, 0);
  assert.deepEqual(lost, []);
});

test('an address that was written while this host moved on, and came back to, is said', async () => {
  const holder = hold();
  const update = store.leases.update;
  let answer = () => {};
  store.leases.update = async (...asked) => {
    store.leases.update = update;
    await new Promise<void>((resolve) => {
      answer = resolve;
    });
    const written = await update(...asked);
    store.full = true;
    return written;
  };
  holder.changePublicIp(THERE);
  holder.changePublicIp(US);
  answer();
  await settle();
  store.full = false;
  holder.changePublicIp(THERE);
  await clock.pass(MINUTE);
  assert.equal(publicIp(), '192.168.64.33');
  assert.equal(log.matching(/has the public IP 192\.168\.64\.33 now/).length, 1);
});

test('the owner is named when DELETE and PUT come in one batch', () => {
  const holder = hold();
  const taken = { key: KEY, value: FOREIGN, revision: 1_001n, lease: 9n };
  holder.changes([
    { type: 'delete', key: KEY, revision: 1_000n },
    { type: 'put', entry: taken },
  ]);
  assert.deepEqual(lost, [`our lease ${KEY} was taken by the host with public IP 192.168.64.77`]);
});

test('our own write without an answer is no second host, and is told', async () => {
  const holder = hold();
  const update = store.leases.update;
  store.leases.update = async (...asked) => {
    store.leases.update = update;
    await update(...asked);
    throw new Error('the answer was lost');
  };
  holder.changePublicIp(THERE);
  await clock.pass(10 * MINUTE);
  assert.equal(log.matching(/two hosts/).length, 0);
  assert.equal(log.matching(/has the public IP 192\.168\.64\.33 now/).length, 1);
  assert.equal(store.written.length, 1);
  assert.equal(log.matching(/^warn/).length, 0);
  assert.deepEqual(store.discarded, [5n], 'what the key hung on before is given back');
});

test('a host that got our address of before and wrote our key is not written over after a saved start', async () => {
  const holder = holdSaved();
  holder.changePublicIp(THERE);
  const theirs = formatLeaseValue(US, 1, Uint8Array.of(2, 0, 0, 0, 0, 0x77));
  store.put(KEY, theirs, 9n);
  follow(holder);
  await clock.pass(MINUTE);
  assert.equal(entry()?.value, theirs);
  assert.match(lost.join(), /taken by the host with public IP 192\.168\.64\.3$/);
});

test('what a saved start took for a reservation and is none is said', async () => {
  store.put(KEY, VALUE, 5n);
  const holder = holdSaved({ reserved: true });
  follow(holder);
  await settle();
  assert.equal(log.matching(/is no reservation any more/).length, 1);
  assert.equal(holder.held.kind, 'leased');
});

test('a store that went back unnoticed to before our last write is found out by a look', async () => {
  const holder = hold();
  await clock.pass(23 * HOUR);
  store.empty();
  holder.snapshot({ entries: [], revision: 1n });
  await clock.pass(MINUTE);
  assert.deepEqual(store.written, [`update ${KEY}`, `create ${KEY}`]);
  assert.deepEqual(lost, []);
});

test('a look that is answered as of what is known is not asked for again at once', async () => {
  hold();
  let looks = 0;
  const { look } = store.leases;
  store.leases.look = (key) => {
    looks += 1;
    return look(key);
  };
  const { update } = store.leases;
  store.leases.update = async () => undefined;
  await clock.pass(23 * HOUR);
  store.leases.update = update;
  await clock.pass(MINUTE);
  assert.equal(looks, 1);
});

test('the saved value of a second host with our address does not make its VTEP address ours', async () => {
  const theirs = formatLeaseValue(US, 1, Uint8Array.of(2, 0, 0, 0, 0, 0x77));
  store.put(KEY, theirs, 9n);
  follow(holdSaved({ value: theirs }));
  await settle();
  assert.equal(log.matching(/VTEP address 02:00:00:00:00:77, ours is 02:00:00:00:00:0a/).length, 1);
});
