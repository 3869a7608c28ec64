import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { formatLeaseValue } from '../../../src/control/overlay/lease-value.js';
import {
  describePeer,
  type Membership,
  type Peer,
  Peers,
} from '../../../src/control/overlay/peers.js';
import { parseSubnet, type Subnet } from '../../../src/control/overlay/subnet.js';
import type { Entry } from '../../../src/control/store/store.js';
import { parseMac } from '../../../src/dataplane/wire/ethernet.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';
import { FakeClock, Lines } from '../fakes.js';

const US = parseAddress('192.168.64.3') as number;
let log: Lines;
let clock: FakeClock;
let updates: Membership[];
let peers: Peers;
let revision = 1n;

beforeEach(() => {
  log = new Lines();
  clock = new FakeClock();
  updates = [];
  peers = new Peers({
    ownKey: '10.5.52.0-24',
    ownSubnet: parseSubnet('10.5.52.0/24') as Subnet,
    publicIp: US,
    clock,
    log,
    update: (membership) => updates.push(membership),
  });
});

function value(host: number, mac = host): string {
  const vtep = parseMac(`02:00:00:00:00:${mac.toString(16).padStart(2, '0')}`) as Uint8Array;
  return formatLeaseValue(parseAddress(`192.168.64.${host}`) as number, 1, vtep);
}

function entry(key: string, text: string): Entry {
  return { key, value: text, revision: ++revision, lease: 1n };
}

const put = (key: string, text: string) => ({ type: 'put', entry: entry(key, text) }) as const;
const gone = (key: string) => ({ type: 'delete', key, revision: ++revision }) as const;
const snapshot = (entries: Entry[]) => peers.snapshot({ entries, revision: ++revision });

function last(): Record<'peers' | 'added' | 'removed' | 'changed', string[]> {
  const { peers, added, removed, changed } = updates.at(-1) as Membership;
  const text = (list: readonly Peer[]) => list.map(describePeer);
  return { peers: text(peers), added: text(added), removed: text(removed), changed: text(changed) };
}

const B = '10.5.72.0/24 at 192.168.64.4 (02:00:00:00:00:04)';
const C = '10.5.80.0/24 at 192.168.64.5 (02:00:00:00:00:05)';

test('the first snapshot is the membership, without ourselves', () => {
  snapshot([entry('10.5.52.0-24', value(3)), entry('10.5.72.0-24', value(4))]);
  assert.deepEqual(last(), { peers: [B], added: [B], removed: [], changed: [] });
  assert.deepEqual(log.lines, []);
});

test('an empty first snapshot is news too', () => {
  snapshot([]);
  assert.equal(updates.length, 1);
  snapshot([]);
  assert.equal(updates.length, 1);
});

test('one call a batch, with the full list and the difference', () => {
  snapshot([]);
  peers.changes([put('10.5.72.0-24', value(4)), put('10.5.80.0-24', value(5))]);
  assert.deepEqual(last(), { peers: [B, C], added: [B, C], removed: [], changed: [] });
  peers.changes([gone('10.5.72.0-24'), put('10.5.52.0-24', value(3)), gone('10.5.99.0-24')]);
  assert.deepEqual(last(), { peers: [C], added: [], removed: [B], changed: [] });
  peers.changes([put('10.5.80.0-24', value(5))]);
  assert.equal(updates.length, 3, 'a renewal is no news');
  peers.changes([put('10.5.90.0-24', value(6)), gone('10.5.90.0-24')]);
  assert.equal(updates.length, 3, 'nor is what came and went within a batch');
});

test('changed addresses and MACs are seen, in events and over a snapshot', () => {
  snapshot([entry('10.5.72.0-24', value(4)), entry('10.5.80.0-24', value(5))]);
  peers.changes([put('10.5.72.0-24', value(4, 0x44))]);
  const moved = '10.5.72.0/24 at 192.168.64.4 (02:00:00:00:00:44)';
  assert.deepEqual(last(), { peers: [moved, C], added: [], removed: [], changed: [moved] });
  snapshot([entry('10.5.72.0-24', value(9, 0x44)), entry('10.5.90.0-24', value(6))]);
  const again = '10.5.72.0/24 at 192.168.64.9 (02:00:00:00:00:44)';
  const D = '10.5.90.0/24 at 192.168.64.6 (02:00:00:00:00:06)';
  assert.deepEqual(last(), { peers: [again, D], added: [D], removed: [C], changed: [again] });
});

test('what cannot be used costs that peer alone, and one line for each value', () => {
  const bad: [string, string, RegExp][] = [
    ['hello', value(20), /hello is not used: the key names no subnet/],
    ['10.5.91.0-24&2001:db8::-64', value(21), /dual-stack \(2001:db8::\/64\)/],
    ['10.5.92.0-24', 'garbage', /10.5.92.0-24 is not used: line 1, column 1/],
    ['10.5.93.0-24', value(3), /our own public IP 192.168.64.3: two hosts with one public IP/],
    ['10.5.0.0-16', value(22), /overlaps our subnet 10.5.52.0\/24/],
    ['0.0.0.0-0', value(23), /overlaps our subnet/],
    ['10.5.94.0-24', '{"PublicIP":"192.168.64.24"}', /reservation/],
    ['10.5.95.0-24', value(24).replace('192.168.64.24', '0.0.0.0'), /no address of a host/],
    ['10.5.96.0-24', value(25).replace('"vxlan"', '"host-gw"'), /BackendType is "host-gw"/],
  ];
  const entries = [entry('10.5.72.0-24', value(4)), ...bad.map(([key, text]) => entry(key, text))];
  snapshot(entries);
  assert.deepEqual(last().peers, [B]);
  assert.equal(log.lines.length, bad.length);
  for (const [, , line] of bad) assert.equal(log.matching(line).length >= 1, true, String(line));
  snapshot(entries);
  peers.changes(entries.map((e) => put(e.key, e.value)));
  assert.equal(log.lines.length, bad.length, 'the same value is not named again');
  peers.changes([put('10.5.92.0-24', 'other garbage')]);
  assert.equal(log.lines.length, bad.length + 1);
});

test('a network of host-gw takes leases of host-gw alone, and they have no MAC', () => {
  peers = new Peers({
    ownKey: '10.5.52.0-24',
    ownSubnet: parseSubnet('10.5.52.0/24') as Subnet,
    publicIp: US,
    clock,
    backend: 'host-gw',
    log,
    update: (membership) => updates.push(membership),
  });
  const at = (host: number) =>
    `{"PublicIP":"192.168.64.${host}","PublicIPv6":null,"BackendType":"host-gw"}`;
  snapshot([
    entry('10.5.72.0-24', at(4)),
    entry('10.5.80.0-24', value(5)),
    entry('192.168.64.0-24', at(6)),
    entry('10.5.90.0-24', '{"PublicIP":"192.168.64.7"}'),
  ]);
  assert.deepEqual(last().peers, ['10.5.72.0/24 at 192.168.64.4']);
  assert.deepEqual(log.lines, [
    'warn: lease 10.5.80.0-24 is not used: its BackendType is "vxlan", not "host-gw"',
    'warn: lease 192.168.64.0-24 is not used: it holds 192.168.64.3, which is an address of the underlay',
    'warn: lease 10.5.90.0-24 is not used: it has no BackendType (a reservation)',
  ]);
  peers.changes([put('10.5.72.0-24', at(4)), put('10.5.80.0-24', value(5))]);
  assert.equal(updates.length, 1, 'a renewal is no news');
  peers.changes([put('10.5.72.0-24', at(9))]);
  assert.deepEqual(last().changed, ['10.5.72.0/24 at 192.168.64.9']);
});

test('a good peer that turns bad is removed, and comes back when it is mended', () => {
  snapshot([entry('10.5.72.0-24', value(4)), entry('10.5.80.0-24', value(5))]);
  peers.changes([put('10.5.72.0-24', '')]);
  assert.deepEqual(last(), { peers: [C], added: [], removed: [B], changed: [] });
  peers.changes([put('10.5.72.0-24', value(4))]);
  assert.deepEqual(last().added, [B]);
  peers.changes([put('10.5.72.0-24', '')]);
  assert.equal(log.lines.length, 2, 'a value that comes back is named again');
});

test('a subnet under two keys belongs to one of them', () => {
  snapshot([entry('10.5.72.7-24', value(5)), entry('10.5.72.0-24', value(4))]);
  assert.deepEqual(last().peers, [B]);
  assert.equal(
    log.matching(/10.5.72.7-24 is not used: the key of that subnet is 10.5.72.0-24/).length,
    1,
  );
});

test('a subnet that holds an address of the underlay would swallow the tunnel: not used', () => {
  snapshot([
    entry('192.168.64.0-24', value(4)),
    entry('192.168.64.4-31', value(4)),
    entry('128.0.0.0-1', value(5)),
    entry('10.5.72.0-24', value(4)),
  ]);
  assert.deepEqual(last().peers, [B]);
  assert.match(log.lines[0] as string, /192\.168\.64\.0-24 .*holds 192\.168\.64\.3, .*underlay/);
  assert.match(log.lines[1] as string, /192\.168\.64\.4-31 .*holds 192\.168\.64\.4, .*underlay/);
  assert.equal(log.lines.length, 3);
});

test('peers that an emptied store lacks are kept for five minutes', async () => {
  snapshot([entry('10.5.72.0-24', value(4)), entry('10.5.80.0-24', value(5))]);
  peers.snapshot({ entries: [], revision: 1n, replaced: true });
  assert.equal(updates.length, 1, 'no news for the lanes');
  assert.equal(log.matching(/emptied or set back: 2 peers are missing .* 5 minutes/).length, 1);
  await clock.pass(200_000);
  peers.changes([put('10.5.72.0-24', value(4))]);
  snapshot([entry('10.5.72.0-24', value(4))]);
  assert.deepEqual(last().peers, [B, C], 'one came back, the other is still waited for');
  await clock.pass(100_000);
  assert.deepEqual(last(), { peers: [B], added: [], removed: [C], changed: [] });
  assert.deepEqual(clock.waits, []);
});

test('what the emptied store says goes before what was known', () => {
  snapshot([entry('10.5.72.0-24', value(4)), entry('10.5.80.0-24', value(5))]);
  peers.snapshot({ entries: [], revision: 1n, replaced: true });
  peers.changes([put('10.5.90.0-24', value(4))]);
  const moved = '10.5.90.0/24 at 192.168.64.4 (02:00:00:00:00:04)';
  assert.deepEqual(last().peers, [C, moved], 'the same host with another subnet');
  peers.changes([put('10.5.80.0-25', value(9))]);
  assert.equal(last().peers.includes(C), false, 'another host with the same subnet');
  peers.changes([put('10.5.90.0-24', value(4)), gone('10.5.90.0-24')]);
  assert.equal(last().peers.length, 1, 'what was written again can be removed');
});
