import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DropName } from '../../../src/dataplane/forward/drops.js';
import { hex, ROUTER_SOLICITATION } from '../wire/frames.js';
import {
  concat,
  frame,
  ihl,
  ipv4Packet,
  leavePartial,
  MAC_B,
  MAC_C,
  NEEDS_CSUM,
  OUR_MAC,
  OVERHEAD,
  PEER_B,
  PEER_C,
  put16,
  sealTransport,
  sumAt,
  tcpPacket,
  udpPacket,
  vnetHeader,
} from './packets.js';
import { Random } from './random.js';
import { Rig } from './rig.js';

const random = new Random(17);
const TO_B = { source: '10.5.52.7', destination: '10.5.72.9' } as const;
const TO_C = { source: '10.5.52.7', destination: '10.5.90.200' } as const;

/** What we send B for an inner packet. */
const toB = (packet: Uint8Array): Uint8Array => frame(packet, { to: MAC_B, from: OUR_MAC });

/** The vnet header of a packet whose checksum is left to us. */
const partialOf = (packet: Uint8Array): Uint8Array =>
  vnetHeader(NEEDS_CSUM, 0, 0, 0, ihl(packet), sumAt(packet) - ihl(packet));

test('a packet goes to the peer behind its destination, in that peer’s frame', () => {
  const rig = new Rig();
  const packet = ipv4Packet(TO_B, random.bytes(30));
  assert.deepEqual(rig.read(packet), [
    { payload: toB(packet), address: PEER_B, port: 8472, tos: 0 },
  ]);
  const other = ipv4Packet(TO_C, random.bytes(30));
  const payload = frame(other, { to: MAC_C, from: OUR_MAC });
  assert.deepEqual(rig.read(other), [{ payload, address: PEER_C, port: 8473, tos: 0 }]);
  assert.equal(rig.count('outbound_in_bytes'), 100);
  assert.equal(rig.count('outbound_out_bytes'), 100);
  rig.checkBalance();
});

test('reads, sends, receives and writes are counted', () => {
  const rig = new Rig();
  for (let i = 0; i < 3; i += 1) rig.device.push(good);
  rig.device.push(ipv4Packet(TO_C, random.bytes(8)));
  rig.receive(frame(ipv4Packet({}, random.bytes(8))));
  rig.receive(frame(ipv4Packet({}, random.bytes(8))).slice(0, 30));
  const notes = (['reads', 'sends', 'receives', 'writes'] as const).map((name) => rig.count(name));
  assert.deepEqual(notes, [4, 2, 2, 1]);
});

test('VNI 0 and the largest stand in the header', () => {
  for (const vni of [0, 0xffffff]) {
    const packet = ipv4Packet(TO_B, random.bytes(8));
    const [datagram] = new Rig({ vni }).read(packet);
    assert.deepEqual(datagram!.payload, frame(packet, { vni, to: MAC_B, from: OUR_MAC }));
  }
});

test('the outer TOS is the inner ECN, the inner header stays as it is', () => {
  for (const tos of [0, 1, 2, 3, 0xb8, 0xb9, 0xff]) {
    const packet = ipv4Packet({ ...TO_B, tos, ttl: 1 }, random.bytes(8));
    const [datagram] = new Rig().read(packet);
    assert.equal(datagram!.tos, tos & 3);
    assert.deepEqual(datagram!.payload.slice(OVERHEAD), packet);
  }
});

test('fragments and IP options leave as they came', () => {
  const packets = [
    ipv4Packet({ ...TO_B, fragment: 0x2000, protocol: 17 }, random.bytes(1424)),
    ipv4Packet({ ...TO_B, fragment: 0x00b2, protocol: 17 }, random.bytes(80)),
    ipv4Packet({ ...TO_B, ipOptions: new Uint8Array(40).fill(1) }, random.bytes(8)),
  ];
  const rig = new Rig();
  for (const packet of packets) rig.device.push(packet);
  rig.run();
  assert.deepEqual(
    rig.takeSent().map(({ payload }) => payload),
    packets.map(toB),
  );
});

const good = ipv4Packet(TO_B, random.bytes(30));
const edited = (at: number, value: number): Uint8Array => {
  const copy = good.slice();
  copy[at] = value;
  return copy;
};
const to = (destination: string): Uint8Array =>
  ipv4Packet({ ...TO_B, destination }, random.bytes(8));

const DROPS: readonly (readonly [string, DropName, Uint8Array])[] = [
  ['a router solicitation', 'outbound_ipv6', ROUTER_SOLICITATION],
  ['an IPv6 header cut short', 'outbound_ipv6', hex('60')],
  ['nothing', 'outbound_malformed', new Uint8Array(0)],
  ['one byte', 'outbound_malformed', hex('45')],
  ['19 bytes', 'outbound_malformed', good.slice(0, 19)],
  ['version 5', 'outbound_malformed', edited(0, 0x55)],
  ['a header of 16 bytes', 'outbound_malformed', edited(0, 0x44)],
  ['a total length above the packet', 'outbound_malformed', edited(3, 51)],
  ['a total length below the header', 'outbound_malformed', edited(3, 19)],
  ['a wrong header checksum', 'outbound_malformed', edited(8, 62)],
  ['multicast', 'outbound_multicast', to('224.0.0.251')],
  ['multicast, the last', 'outbound_multicast', to('239.255.255.255')],
  ['broadcast', 'outbound_multicast', to('255.255.255.255')],
  ['a destination without a peer', 'outbound_no_route', to('10.5.73.1')],
  ['a destination outside', 'outbound_no_route', to('192.168.64.4')],
  ['240.0.0.1', 'outbound_no_route', to('240.0.0.1')],
  ['0.0.0.0', 'outbound_no_route', to('0.0.0.0')],
  ['our own subnet', 'outbound_local', to('10.5.52.99')],
];

for (const [what, reason, packet] of DROPS) {
  test(`${what}: ${reason}`, () => {
    const rig = new Rig();
    assert.deepEqual(rig.read(packet), []);
    assert.deepEqual(rig.drops(), { [reason]: 1 });
    assert.equal(rig.count('outbound_in_packets'), 1);
    assert.equal(rig.count('outbound_in_bytes'), packet.length);
    assert.equal(rig.read(good).length, 1, 'the next one goes');
    rig.checkBalance();
  });
}

test('an empty read says nothing, whatever lay there before', () => {
  const rig = new Rig();
  rig.read(ROUTER_SOLICITATION);
  rig.read(new Uint8Array(0));
  assert.deepEqual(rig.drops(), { outbound_ipv6: 1, outbound_malformed: 1 });
});

test('bytes behind the packet are not sent', () => {
  const [datagram] = new Rig().read(concat([good, random.bytes(9)]));
  assert.deepEqual(datagram!.payload, toB(good));
});

test('an incomplete checksum is finished, whatever the lengths', () => {
  const rig = new Rig();
  for (let length = 0; length < 70; length += 1) {
    const payload = random.bytes(length);
    const ipOptions = new Uint8Array(4 * random.between(0, 10)).fill(1);
    const options = new Uint8Array(4 * random.between(0, 10)).fill(1);
    for (const packet of [
      tcpPacket({ ...TO_B, ipOptions, options, payload }),
      udpPacket({ ...TO_B, ipOptions, payload }),
    ]) {
      const [datagram] = rig.read(leavePartial(packet.slice()), partialOf(packet));
      assert.deepEqual(datagram!.payload, toB(packet));
    }
  }
});

test('a computed 0 goes out as ffff', () => {
  const packet = udpPacket({ ...TO_B, payload: new Uint8Array(2) });
  // The last word takes what the sum lacks, so that it comes out as 0.
  packet.set(packet.slice(sumAt(packet), sumAt(packet) + 2), packet.length - 2);
  sealTransport(packet);
  assert.deepEqual([...packet.slice(sumAt(packet), sumAt(packet) + 2)], [255, 255]);
  const [datagram] = new Rig().read(leavePartial(packet.slice()), partialOf(packet));
  assert.deepEqual(datagram!.payload, toB(packet));
});

test('a complete checksum is left alone, right or wrong or none', () => {
  const packet = udpPacket({ ...TO_B, payload: random.bytes(20) });
  for (const sum of [0, 1, 0xffff]) {
    put16(packet, sumAt(packet), sum);
    const [datagram] = new Rig().read(packet);
    assert.deepEqual(datagram!.payload, toB(packet));
  }
});

test('offloads that do not fit the packet are refused', () => {
  const tcp = leavePartial(tcpPacket({ ...TO_B, payload: random.bytes(3000) }));
  const udp = leavePartial(udpPacket({ ...TO_B, payload: random.bytes(3000) }));
  const headersOnly = tcpPacket(TO_B);
  const longHeader = tcpPacket({ ...TO_B, payload: random.bytes(10) });
  longHeader[32] = 0xf0;
  const shortHeader = tcpPacket({ ...TO_B, payload: random.bytes(10) });
  shortHeader[32] = 0x40;
  const fragment = ipv4Packet({ ...TO_B, protocol: 6, fragment: 0x2000 }, random.bytes(2000));
  const gso = (type: number, size: number): Uint8Array =>
    vnetHeader(NEEDS_CSUM, type, 40, size, 20, 16);
  const cases: readonly (readonly [string, Uint8Array, Uint8Array])[] = [
    ['no size', tcp, gso(1, 0)],
    ['UDP fragmentation (type 3)', udp, gso(3, 1000)],
    ['TCP over IPv6', tcp, gso(4, 1000)],
    ['an unknown type', tcp, gso(2, 1000)],
    ['TCP size on a UDP packet', udp, gso(1, 1000)],
    ['UDP size on a TCP packet', tcp, gso(5, 1000)],
    ['no payload', headersOnly, gso(1, 1000)],
    ['no UDP payload', udpPacket(TO_B), gso(5, 1000)],
    ['half a UDP header', ipv4Packet({ ...TO_B, protocol: 17 }, random.bytes(7)), gso(5, 9)],
    ['half a TCP header', ipv4Packet({ ...TO_B, protocol: 6 }, random.bytes(19)), gso(1, 9)],
    ['a TCP header beyond the packet', longHeader, gso(1, 9)],
    ['a TCP header of 16 bytes', shortHeader, gso(1, 9)],
    ['a fragment', fragment, gso(1, 1000)],
    ['a checksum behind the end', good, vnetHeader(NEEDS_CSUM, 0, 0, 0, 20, 29)],
    ['a checksum far behind it', good, vnetHeader(NEEDS_CSUM, 0, 0, 0, 0xffff, 0xffff)],
  ];
  for (const [what, packet, vnet] of cases) {
    const rig = new Rig();
    assert.deepEqual(rig.read(packet, vnet), [], what);
    assert.deepEqual(rig.drops(), { outbound_bad_offload: 1 }, what);
    assert.equal(rig.read(good).length, 1, `${what}: the next one goes`);
    rig.checkBalance();
  }
});

test('a side that cannot be read moves nothing, is told and counted, and the other goes on', () => {
  const rig = new Rig();
  rig.device.read = () => -5;
  assert.equal(rig.lane.step(), -5);
  assert.equal(rig.count('read_errors'), 1);
  rig.underlay.push({ payload: frame(ipv4Packet({}, random.bytes(9))), address: PEER_B });
  assert.equal(rig.lane.step(), 1);
  rig.underlay.receive = () => -9;
  rig.lane.step();
  assert.equal(rig.count('receive_errors'), 1);
  assert.equal(rig.takeWritten().length, 1);
  rig.checkBalance();
});

test('packets of different sizes, peers and TOS leave in the order they came', () => {
  const rig = new Rig();
  const packets = Array.from({ length: 500 }, (_, id) =>
    ipv4Packet(
      { ...random.pick([TO_B, TO_B, TO_C]), id, tos: random.pick([0, 0, 0, 2]) },
      random.bytes(random.pick([8, 8, 8, 9, 500])),
    ),
  );
  for (const packet of packets) rig.device.push(packet);
  rig.run();
  const messages = rig.underlay.sent.length;
  const sent = rig.takeSent();
  assert.deepEqual(
    sent.map(({ payload }) => payload.slice(OVERHEAD)),
    packets,
  );
  for (const { payload, address, tos } of sent) {
    assert.equal(address, payload[OVERHEAD + 18] === 72 ? PEER_B : PEER_C);
    assert.equal(tos, payload[OVERHEAD + 1]);
  }
  assert.ok(messages < 450, 'packets of one size to one peer share a send');
  rig.checkBalance();
});
