/** Leases with an address that is no other host's: refused, each with its reason. */
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import fc from 'fast-check';
import type { HostAddress } from '../../../src/control/overlay/admit.js';
import { formatLeaseValue } from '../../../src/control/overlay/lease-value.js';
import { type Membership, Peers } from '../../../src/control/overlay/peers.js';
import { parseSubnet, type Subnet } from '../../../src/control/overlay/subnet.js';
import { parseMac } from '../../../src/dataplane/wire/ethernet.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';
import { FakeClock, Lines } from '../fakes.js';

const int = (text: string) => parseAddress(text) as number;
const at = (address: string, length: number, device: string): HostAddress => {
  return { address: int(address), length, device };
};
const MAC = parseMac('02:00:00:00:00:09') as Uint8Array;
const ADDRESSES = [
  at('127.0.0.1', 8, 'lo'),
  at('192.168.64.3', 24, 'eth0'),
  at('10.5.52.1', 24, 'docker0'),
  at('172.17.0.1', 16, 'br-x'),
  at('203.0.113.6', 31, 'ppp0'),
  at('198.51.100.9', 32, 'vip'),
];

let log: Lines;
let updates: Membership[];

function make(addresses: readonly HostAddress[] = ADDRESSES): Peers {
  log = new Lines();
  updates = [];
  return new Peers({
    ownKey: '10.5.52.0-24',
    ownSubnet: parseSubnet('10.5.52.0/24') as Subnet,
    publicIp: int('192.168.64.3'),
    addresses,
    clock: new FakeClock(),
    log,
    update: (membership) => updates.push(membership),
  });
}

let peers: Peers;
beforeEach(() => {
  peers = make();
});

const entry = (key: string, publicIp: string) => ({
  ...{ key, revision: 1n, lease: 1n },
  value: formatLeaseValue(int(publicIp), 1, MAC),
});
const put = (key: string, publicIp: string) =>
  ({ type: 'put', entry: entry(key, publicIp) }) as const;
const gone = (key: string) => ({ type: 'delete', key, revision: 2n }) as const;
const list = (leases: Record<string, string>) =>
  peers.snapshot({ entries: Object.entries(leases).map(([k, ip]) => entry(k, ip)), revision: 1n });
const keys = () => (updates.at(-1)?.peers ?? []).map(({ key }) => key).sort();

describe('a public IP that no other host can have', () => {
  const cases: [string, RegExp][] = [
    ['0.0.0.0', /PublicIP 0\.0\.0\.0 is no address of a host/],
    ['0.1.2.3', /no address of a host/],
    ['127.0.0.1', /no address of a host/],
    ['127.255.255.254', /no address of a host/],
    ['224.0.0.5', /no address of a host/],
    ['239.255.255.255', /no address of a host/],
    ['240.0.0.1', /no address of a host/],
    ['255.255.255.255', /no address of a host/],
    ['10.5.52.0', /inside the overlay, in 10\.5\.52\.0\/24/],
    ['10.5.52.7', /inside the overlay, in 10\.5\.52\.0\/24/],
    ['10.5.72.9', /it holds 10\.5\.72\.9, which is an address of the underlay/],
    ['10.5.80.4', /inside the overlay, in 10\.5\.80\.0\/24/],
    ['192.168.64.3', /our own public IP/],
    ['172.17.0.1', /is an address of this host, on br-x/],
    ['198.51.100.9', /is an address of this host, on vip/],
    ['203.0.113.6', /is an address of this host, on ppp0/],
    ['192.168.64.255', /the broadcast address of 192\.168\.64\.0\/24, .* by eth0/],
    ['192.168.64.0', /the network address of 192\.168\.64\.0\/24, .* by eth0/],
    ['172.17.255.255', /the broadcast address of 172\.17\.0\.0\/16/],
  ];
  for (const [publicIp, reason] of cases) {
    test(`${publicIp} costs that peer alone, one line, and is told in the status`, () => {
      list({ '10.5.80.0-24': '192.168.64.5', '10.5.72.0-24': publicIp });
      assert.deepEqual(keys(), ['10.5.80.0-24']);
      assert.equal(log.lines.length, 1);
      assert.match(log.lines[0]!, /^warn: lease 10\.5\.72\.0-24 is not used: /);
      assert.match(log.lines[0]!, reason);
      assert.equal(peers.refused.length, 1);
      assert.match(peers.refused[0]!.reason, reason);
      peers.changes([put('10.5.72.0-24', publicIp)]);
      assert.equal(log.lines.length, 1, 'a renewal is not named again');
    });
  }

  test('their neighbours are hosts', () => {
    const good = [
      ...['1.0.0.0', '126.255.255.255', '128.0.0.0', '223.255.255.255', '10.5.51.255'],
      ...['10.5.53.0', '172.16.255.255', '172.18.0.0', '203.0.113.7', '198.51.100.8'],
      ...['192.168.64.254', '192.168.65.0', '169.254.3.4'],
    ];
    list(Object.fromEntries(good.map((publicIp, i) => [`10.6.${i}.0-24`, publicIp])));
    assert.equal(keys().length, good.length);
    assert.deepEqual([log.lines, peers.refused], [[], []]);
  });

  test('a reservation is no fault', () => {
    const value = '{"PublicIP":"192.168.64.24"}';
    peers.snapshot({ entries: [{ ...entry('10.5.72.0-24', '1.1.1.1'), value }], revision: 1n });
    assert.deepEqual(peers.refused, []);
    assert.equal(log.matching(/reservation/).length, 1);
  });
});

describe('what depends on other leases or on this host heals', () => {
  test('two peers each in the subnet of the other: both refused, whoever came first', () => {
    for (const order of [
      ['10.5.72.0-24', '10.5.80.0-24'],
      ['10.5.80.0-24', '10.5.72.0-24'],
    ]) {
      peers = make();
      const inside: Record<string, string> = {
        '10.5.72.0-24': '10.5.80.4',
        '10.5.80.0-24': '10.5.72.4',
      };
      list({ '10.5.90.0-24': '192.168.64.9' });
      for (const key of order) peers.changes([put(key, inside[key]!)]);
      assert.deepEqual(keys(), ['10.5.90.0-24']);
      assert.equal(peers.refused.length, 2);
      peers.changes([gone('10.5.80.0-24')]);
      assert.deepEqual(keys(), ['10.5.72.0-24', '10.5.90.0-24']);
      assert.deepEqual(peers.refused, []);
      assert.deepEqual(
        updates.at(-1)!.added.map(({ key }) => key),
        ['10.5.72.0-24'],
      );
    }
  });

  test('a subnet that is leased later takes the peer inside it away until it goes', () => {
    list({ '10.5.72.0-24': '10.7.1.1' });
    assert.deepEqual(keys(), ['10.5.72.0-24']);
    peers.changes([put('10.7.0.0-16', '192.168.64.8')]);
    assert.deepEqual(keys(), ['10.7.0.0-16']);
    assert.deepEqual(
      updates.at(-1)!.removed.map(({ key }) => key),
      ['10.5.72.0-24'],
    );
    list({ '10.5.72.0-24': '10.7.1.1' });
    assert.deepEqual(keys(), ['10.5.72.0-24']);
  });

  test('a subnet that is refused itself takes nobody away', () => {
    list({ '192.168.64.0-24': '192.0.2.9', '10.5.72.0-24': '192.168.64.4' });
    assert.deepEqual(keys(), ['10.5.72.0-24']);
  });

  test("this host's addresses come and go", () => {
    list({ '10.5.72.0-24': '192.168.64.50', '10.5.80.0-24': '192.168.65.255' });
    assert.equal(keys().length, 2);
    peers.changeAddresses([...ADDRESSES, at('192.168.64.50', 32, 'eth0')]);
    assert.deepEqual(keys(), ['10.5.80.0-24']);
    peers.changeAddresses([...ADDRESSES, at('192.168.65.3', 24, 'eth1')]);
    assert.deepEqual(keys(), ['10.5.72.0-24']);
    peers.changeAddresses(ADDRESSES);
    assert.equal(keys().length, 2);
    const before = updates.length;
    peers.changeAddresses([...ADDRESSES, at('10.99.0.1', 24, 'eth9')]);
    assert.equal(updates.length, before, 'what changes nothing is no news');
  });

  test('our public IP becomes another: who has that goes, who had the old one comes', () => {
    list({ '10.5.72.0-24': '192.168.64.3', '10.5.80.0-24': '192.168.64.4' });
    assert.deepEqual(keys(), ['10.5.80.0-24']);
    peers.changeAddresses([]);
    peers.changePublicIp(int('192.168.64.4'));
    assert.deepEqual(keys(), ['10.5.72.0-24']);
  });

  test('addresses told before the first listing are no news by themselves', () => {
    peers.changeAddresses([]);
    assert.deepEqual(updates, []);
  });
});

test('any order of the same puts, by events or listings, gives the same peers and the same refusals', () => {
  const key = fc.constantFrom(
    ...[
      '10.5.72.0-24',
      '10.5.80.0-24',
      '10.5.80.0-25',
      '10.5.64.0-18',
      '10.7.0.0-16',
      '10.9.1.0-24',
    ],
    ...['192.168.64.0-28', '172.16.0.0-12', '10.5.52.0-26', '10.5.52.0-24', 'nonsense'],
  );
  const publicIp = fc.constantFrom(
    ...['192.168.64.4', '192.168.64.5', '10.5.72.4', '10.5.80.4', '10.5.80.200', '10.7.3.3'],
    ...['10.9.1.1', '127.0.0.1', '192.168.64.255', '172.17.0.1', '192.168.64.3', '10.5.52.9'],
  );
  const leases = fc.uniqueArray(fc.tuple(key, publicIp), { selector: ([name]) => name });
  /** In one listing; one by one; in batches with detours. */
  const orders = fc.tuple(leases, fc.infiniteStream(fc.nat(5)), key, publicIp);
  fc.assert(
    fc.property(orders, ([all, stream, otherKey, otherIp]) => {
      const outcome = () => ({
        peers: (updates.at(-1)?.peers ?? [])
          .map(({ key: name, publicIp: ip }) => `${name} ${ip}`)
          .sort(),
        refused: peers.refused.map(({ key: name, reason }) => `${name} ${reason}`).sort(),
      });
      peers = make();
      list(Object.fromEntries(all));
      const wanted = outcome();

      const shuffled = [...all];
      for (let i = shuffled.length - 1; i > 0; i -= 1) {
        const j = stream.next().value % (i + 1);
        [shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!];
      }
      peers = make([]);
      list({});
      peers.changes([put(otherKey, otherIp)]);
      for (const [i, [name, ip]] of shuffled.entries()) {
        const detour = stream.next().value === 0;
        if (detour) peers.changes([put(name, otherIp), gone(name)]);
        if (i === 1) peers.changeAddresses(ADDRESSES);
        peers.changes([put(name, ip)]);
      }
      peers.changeAddresses(ADDRESSES);
      if (!all.some(([name]) => name === otherKey)) peers.changes([gone(otherKey)]);
      assert.deepEqual(outcome(), wanted);
    }),
    { numRuns: 1000 },
  );
});
