/** A host that gets another public IP while it holds its lease. */
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';
import { FakeClock, Lines, settle } from '../fakes.js';
import { HOUR, holdIn, KEY, MINUTE, US, VALUE } from './holding.js';
import { MemoryStore } from './memory-store.js';

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
const THERE = parseAddress('192.168.64.33') as number;
const publicIpOf = (key = KEY) => JSON.parse(store.entries.get(key)!.value) as object;
const MOVED = { ...(JSON.parse(VALUE) as object), PublicIP: '192.168.64.33' };

test('another public IP is written at once, all else of the value stays, and it is held on', async () => {
  const holder = hold();
  holder.changePublicIp(THERE);
  await settle();
  assert.deepEqual(publicIpOf(), MOVED);
  assert.deepEqual(store.discarded, [5n]);
  assert.deepEqual(log.matching(/^info: our lease .* 192\.168\.64\.33 now/).length, 1);
  await clock.pass(23 * HOUR);
  assert.deepEqual(store.written, [`update ${KEY}`, `update ${KEY}`]);
  assert.deepEqual(publicIpOf(), MOVED);
  assert.deepEqual(lost, []);
});

test('what somebody added to our value meanwhile stays in it when we move', async () => {
  const holder = hold();
  store.put(KEY, `${VALUE.slice(0, -1)},"Rack":7}`, 5n);
  holder.changePublicIp(THERE);
  await settle();
  assert.deepEqual(publicIpOf(), { ...MOVED, Rack: 7 });
  assert.deepEqual(lost, []);
});

test('a reservation has another public IP and stays one', async () => {
  hold({ lease: 0n, ttl: 0 }).changePublicIp(THERE);
  await settle();
  assert.deepEqual(publicIpOf(), MOVED);
  assert.equal(store.entries.get(KEY)?.lease, 0n);
  assert.deepEqual(clock.waits, []);
});

test('another public IP while the store is away: a problem until it is written, which is when the store is back', async () => {
  const holder = hold();
  store.away = true;
  holder.changePublicIp(THERE);
  await clock.pass(20_000);
  assert.match(holder.held.problem!.text, /does not have the public IP 192\.168\.64\.33 yet: /);
  assert.deepEqual(log.matching(/^warn/), [], 'the teller says it');
  store.away = false;
  await clock.pass(60_000);
  assert.equal(holder.held.problem, undefined);
  assert.deepEqual(publicIpOf(), MOVED);
});

test('a key that an operator writes meanwhile, with our public IP of before, is no loss', async () => {
  const holder = hold({ lease: 0n, ttl: 0 });
  store.beforeWrite = () => {
    store.beforeWrite = () => {};
    store.put(KEY, VALUE, 0n);
  };
  holder.changePublicIp(THERE);
  await clock.pass(2_000);
  assert.deepEqual(publicIpOf(), MOVED);
  assert.deepEqual(lost, []);
  // From then on it is somebody else's.
  store.put(KEY, VALUE, 10n);
  assert.match(lost.join(), /taken by the host with public IP 192\.168\.64\.3/);
});

test('a host that got our public IP of before, and renews our key with it, is another one', async () => {
  const holder = hold();
  store.beforeWrite = () => {
    store.beforeWrite = () => {};
    store.put(KEY, VALUE, 9n);
  };
  holder.changePublicIp(THERE);
  await clock.pass(2_000);
  assert.match(lost.join(), /taken by the host with public IP 192\.168\.64\.3/);
  assert.equal(store.entries.get(KEY)?.value, VALUE);
});

test('moved twice, and back: the last one counts', async () => {
  const holder = hold();
  store.away = true;
  holder.changePublicIp(parseAddress('192.168.64.44') as number);
  holder.changePublicIp(THERE);
  await settle();
  store.away = false;
  await clock.pass(10 * MINUTE);
  assert.deepEqual(publicIpOf(), MOVED);
  assert.equal(store.written.length, 1);
  holder.changePublicIp(parseAddress('192.168.64.44') as number);
  holder.changePublicIp(US);
  await clock.pass(10 * MINUTE);
  assert.deepEqual(publicIpOf(), JSON.parse(VALUE));
  assert.deepEqual(lost, []);
});
