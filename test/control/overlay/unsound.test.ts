/** Leases that are not as they should be, judged beside each other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Refused } from '../../../src/control/overlay/admit.js';
import { readAsFlanneld } from '../../../src/control/overlay/flanneld.js';
import { formatLeaseValue } from '../../../src/control/overlay/lease-value.js';
import { parseSubnet } from '../../../src/control/overlay/subnet.js';
import { type Around, findUnsound } from '../../../src/control/overlay/unsound.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';

const ip = (text: string) => parseAddress(text)!;
const mac = (last: number) => Uint8Array.of(2, 0, 0, 0, 0, last);
const US: Around = {
  subnet: parseSubnet('10.10.52.0/24')!,
  publicIp: ip('192.168.56.11'),
  vtepMac: mac(11),
  network: { network: parseSubnet('10.10.0.0/16')!, subnetLength: 24 },
};

let revision = 0n;
const lease = (key: string, last: number, vtep = last) => ({
  key,
  revision: ++revision,
  flanneld: readAsFlanneld(key, formatLeaseValue(ip(`192.168.56.${last}`), 1, mac(vtep)), 'vxlan'),
});
type Lease = ReturnType<typeof lease>;

const B = lease('10.10.72.0-24', 12);
const C = lease('10.10.92.0-24', 13);
/** `key does: why` of each. */
const judged = (entries: readonly Lease[], refused: readonly Refused[] = [], around = US) =>
  findUnsound([B, C, ...entries], refused, around).map(
    ({ key, does, why, isRefused }) => `${key} ${does}${isRefused ? ', refused' : ''}: ${why}`,
  );

test('leases as they should be', () => {
  assert.deepEqual(judged([]), []);
  assert.deepEqual(judged([lease('10.10.1.0-24', 99)]), []);
});

test('one VTEP address of two hosts: the older lease is told, of whatever order they come', () => {
  const old = { ...lease('10.10.1.0-24', 99, 12), revision: 0n };
  const found = [
    '10.10.1.0-24 misdirects: has the VTEP address 02:00:00:00:00:0c, as the lease ' +
      '10.10.72.0-24 at 192.168.56.12 has',
  ];
  assert.deepEqual(judged([old]), found);
  assert.deepEqual(judged([lease('10.10.1.0-24', 12, 12)]), [], 'of one host');
  assert.match(judged([lease('10.10.1.0-24', 99, 12)]).join(), /^10\.10\.72\.0-24 misdirects: /);
  assert.match(judged([lease('10.10.1.0-24', 99, 11)]).join(), /as this host at 192\.168\.56\.11/);
});

test('what takes packets of another away: a part of its subnet, or its subnet by another name', () => {
  assert.deepEqual(judged([lease('10.10.72.128-25', 99)]), [
    '10.10.72.128-25 misdirects: is a part of the lease 10.10.72.0-24',
  ]);
  assert.deepEqual(judged([lease('10.10.52.128-25', 99)]), [
    '10.10.52.128-25 misdirects: overlaps our subnet 10.10.52.0/24',
  ]);
  assert.deepEqual(judged([lease('x/10.10.72.0-24', 99)]), [
    'x/10.10.72.0-24 misdirects: names the subnet of the lease 10.10.72.0-24 again',
  ]);
});

test('a subnet that the network has not is used, and takes nothing away from longer ones', () => {
  assert.match(judged([lease('10.10.8.0-23', 99)]).join(), /takes: is a \/23, and SubnetLen/);
  assert.match(judged([lease('10.10.8.128-25', 99)]).join(), /takes: is a \/25, and SubnetLen/);
  assert.match(judged([lease('10.10.0.0-16', 99)]).join(), /^10\.10\.0\.0-16 takes: is a \/16/);
  assert.match(judged([lease('10.77.9.0-24', 99)]).join(), /takes: is not in the network 10\.10/);
  const unknown = { ...US, network: undefined };
  assert.deepEqual(judged([lease('10.77.8.0-23', 99)], [], unknown), []);
});

test('a subnet with addresses of the underlay cuts a flanneld off', () => {
  for (const key of ['192.168.56.0-24', '192.168.56.8-29', '192.168.56.99-31']) {
    const entry = lease(key.replace('99', '98'), 99);
    assert.match(judged([entry]).join(), /is cut off: holds 192\.168\.56\.(11|99), which is/, key);
  }
});

test('what weft does not use is told with its reason, and with what a flanneld does', () => {
  const key = '10.10.9.0-24';
  const refused = [{ key, reason: 'why' }];
  assert.deepEqual(judged([lease(key, 99)], refused), [`${key} takes, refused: is not used: why`]);
  const bad = (made: Lease['flanneld']) => judged([{ key, revision: 9n, flanneld: made }], refused);
  assert.deepEqual(bad(readAsFlanneld(key, '[]', 'vxlan')), [
    `${key} drops all, refused: is not used: why`,
  ]);
  assert.deepEqual(bad(undefined), [`${key} undefined, refused: is not used: why`]);
});
