import assert from 'node:assert/strict';
import test from 'node:test';
import { FIRST_PEER, type Route } from '../../../src/dataplane/routes/peer.js';
import { hashSlot } from '../../../src/dataplane/routes/table.js';
import * as ethernet from '../../../src/dataplane/wire/ethernet.js';
import * as vxlan from '../../../src/dataplane/wire/vxlan.js';
import { ip, lanes, OWN_MAC, peer, route } from './lane.js';

test('a peer has its address, its port and its template', () => {
  const { publisher, readers, close } = lanes(1, 0x123456);
  const other = peer('192.168.64.4', 'a6:29:a2:6d:58:52', 4789);
  publisher.publish(
    [route('10.5.71.0/24', peer('192.168.64.9')), route('10.5.72.0/24', other)],
    [],
  );
  const reader = readers[0]!;
  reader.refresh();
  const found = reader.lookup(ip('10.5.72.9'));
  assert.equal(reader.address(found), ip('192.168.64.4'));
  assert.equal(reader.port(found), 4789);

  const bytes = new Uint8Array(64).fill(0xa5);
  reader.stamp(bytes, 30, found);
  assert.equal(vxlan.hasVniFlag(bytes, 8), true);
  assert.equal(vxlan.reservedBitsSet(bytes, 8), false);
  assert.equal(vxlan.vni(bytes, 8), 0x123456);
  assert.equal(ethernet.destinationHigh(bytes, 16), 0xa629);
  assert.equal(ethernet.destinationLow(bytes, 16), 0xa26d5852 | 0);
  assert.deepEqual(bytes.slice(22, 28), OWN_MAC);
  assert.equal(ethernet.type(bytes, 16), ethernet.IPV4);
  assert.ok(bytes.subarray(0, 8).every((byte) => byte === 0xa5));
  assert.ok(bytes.subarray(30).every((byte) => byte === 0xa5));
  close();
});

test('each distinct address, MAC and port is a peer; equal ones are one', () => {
  const { publisher, readers, close } = lanes();
  const routes = [
    route('10.5.1.0/24', peer('192.168.64.4', '02:00:00:00:00:01')),
    route('10.5.2.0/24', peer('192.168.64.4', '02:00:00:00:00:02')),
    route('10.5.3.0/24', peer('192.168.64.4', '02:00:00:00:00:01')),
    route('10.5.4.0/24', peer('192.168.64.4', '02:00:00:00:00:01', 4789)),
  ];
  publisher.publish(routes, []);
  const reader = readers[0]!;
  reader.refresh();
  assert.equal(publisher.counts.peers, 3);
  const of = (text: string): number => reader.lookup(ip(text));
  assert.equal(of('10.5.1.1'), of('10.5.3.1'));
  assert.equal(new Set([of('10.5.1.1'), of('10.5.2.1'), of('10.5.4.1')]).size, 3);
  assert.equal(reader.peerByAddress(ip('192.168.64.4')), FIRST_PEER);
  close();
});

test('peerByAddress finds every peer and nobody else, collisions or not', () => {
  // 200 addresses of which 100 want one and the same slot (512 slots for 200 peers), the
  // last one among them, so that the search goes round the end.
  const addresses: number[] = [];
  for (let address = 1; addresses.length < 100; address += 1) {
    if (hashSlot(address, 9) === 511) addresses.push(address);
  }
  for (let i = 0; i < 100; i += 1) addresses.push(ip('192.168.64.0') + i);

  const { publisher, readers, close } = lanes();
  publisher.publish(
    addresses.map(
      (address, i): Route => ({
        network: ip('10.0.0.0') + (i << 8),
        length: 24,
        peer: { address, port: 8472, mac: OWN_MAC },
      }),
    ),
    [],
  );
  const reader = readers[0]!;
  reader.refresh();
  for (const [i, address] of addresses.entries()) {
    assert.equal(reader.peerByAddress(address), FIRST_PEER + i);
    assert.equal(reader.address(FIRST_PEER + i), address);
  }
  const known = new Set(addresses);
  for (let address = -3000; address < 3000; address += 1) {
    if (!known.has(address)) assert.equal(reader.peerByAddress(address), 0, String(address));
  }
  close();
});

test('without peers nobody is found, and 0.0.0.0 is no peer by accident', () => {
  const { publisher, readers, close } = lanes();
  for (const routes of [[], [route('10.5.1.0/24', peer('255.255.255.255'))]]) {
    publisher.publish(routes, []);
    readers[0]!.refresh();
    assert.equal(readers[0]!.peerByAddress(0), 0);
    assert.equal(readers[0]!.peerByAddress(-1), routes.length === 0 ? 0 : FIRST_PEER);
  }
  close();
});

test('from 0 to 70 peers, the hash has room', () => {
  const { publisher, readers, close } = lanes();
  const routes: Route[] = [];
  for (let n = 0; n <= 70; n += 1) {
    publisher.publish(routes, []);
    readers[0]!.refresh();
    for (let i = 0; i < n; i += 1) {
      assert.equal(readers[0]!.peerByAddress(ip(`172.16.${i}.1`)), FIRST_PEER + i);
    }
    assert.equal(readers[0]!.peerByAddress(ip('172.17.0.1')), 0);
    routes.push(route(`10.5.${n}.0/24`, peer(`172.16.${n}.1`)));
  }
  close();
});

test('the places of an address: those of its peers in the table that is published', () => {
  const { publisher, close } = lanes();
  const one = route('10.5.1.0/24', peer('192.168.64.4', '02:00:00:00:00:01'));
  const two = route('10.5.2.0/24', peer('192.168.64.4', '02:00:00:00:00:02'));
  const other = route('10.5.3.0/24', peer('192.168.64.5', '02:00:00:00:00:03'));
  assert.deepEqual(publisher.places(ip('192.168.64.4')), []);
  publisher.publish([one, other], []);
  assert.equal(publisher.places(ip('192.168.64.4')).length, 1);
  publisher.publish([one, two, other], []);
  assert.equal(publisher.places(ip('192.168.64.4')).length, 2);
  publisher.publish([other], []);
  assert.deepEqual(publisher.places(ip('192.168.64.4')), []);
  assert.equal(publisher.places(ip('192.168.64.5')).length, 1);
  close();
});
