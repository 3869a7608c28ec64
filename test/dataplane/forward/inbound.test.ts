import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DropName } from '../../../src/dataplane/forward/drops.js';
import { D0, hex, TCP_SYN, UDP_DATAGRAM } from '../wire/frames.js';
import {
  concat,
  frame,
  get16,
  headerSumIsRight,
  ip,
  ipv4Packet,
  OVERHEAD,
  PEER_B,
  PEER_C,
  put16,
  put32,
  STRANGER,
  seal,
  tcpPacket,
  udpPacket,
} from './packets.js';
import { Rig, type RigOptions } from './rig.js';

/** D0 with other bytes at an offset. */
function edited(at: number, bytes: string, from = D0): Uint8Array {
  const copy = from.slice();
  copy.set(hex(bytes), at);
  return copy;
}

/** D0 with other bytes in the inner packet and its header checksum made right again. */
function sealed(at: number, bytes: string): Uint8Array {
  const copy = edited(at, bytes);
  seal(copy.subarray(OVERHEAD));
  return copy;
}

/** One reason goes up by one, nothing is written. */
function isDropped(
  payload: Uint8Array,
  reason: DropName,
  more: { readonly address?: number; readonly tos?: number; readonly segment?: number } = {},
  options: RigOptions = {},
): void {
  const rig = new Rig(options);
  assert.deepEqual(rig.receive(payload, more), []);
  assert.deepEqual(rig.drops(), { [reason]: 1 });
  assert.equal(rig.count('inbound_in_packets'), 1);
  rig.checkBalance();
}

function isDelivered(payload: Uint8Array, packet: Uint8Array, rig = new Rig()): void {
  const written = rig.receive(payload);
  assert.deepEqual(rig.drops(), {});
  assert.equal(written.length, 1);
  assert.deepEqual(written[0]!.packet, packet);
  rig.checkBalance();
}

test('D0 is delivered as it came, with an empty vnet header', () => {
  const rig = new Rig();
  const [written, ...more] = rig.receive(D0);
  assert.deepEqual(more, []);
  assert.deepEqual(written!.packet, D0.slice(OVERHEAD));
  assert.deepEqual(written!.vnet, new Uint8Array(10));
  assert.equal(rig.count('inbound_in_bytes'), 36, 'inner bytes, as everywhere');
  assert.equal(rig.count('inbound_out_bytes'), 36);
});

const DROPS: readonly (readonly [string, DropName, Uint8Array])[] = [
  ['an empty datagram', 'truncated', new Uint8Array(0)],
  ['half a VXLAN header', 'truncated', D0.slice(0, 4)],
  ['21 bytes', 'truncated', D0.slice(0, 21)],
  ['half an IPv4 header', 'truncated', D0.slice(0, 41)],
  ['no flags', 'no_vni_flag', edited(0, '00')],
  ['all flags but I', 'no_vni_flag', edited(0, 'f7')],
  ['VNI 0', 'foreign_vni', edited(4, '000000')],
  ['VNI 257: all three bytes count', 'foreign_vni', edited(4, '000101')],
  ['VNI 65537', 'foreign_vni', edited(4, '010001')],
  ['our own source MAC', 'own_mac', edited(14, '02000000000a')],
  ['broadcast MAC', 'multicast', edited(8, 'ffffffffffff')],
  ['multicast MAC', 'multicast', edited(8, '01005e0000fb')],
  ['a MAC that differs in its first bytes', 'foreign_mac', edited(8, '0600')],
  ['a MAC that differs in its last byte', 'foreign_mac', edited(13, '0c')],
  ['ARP', 'inner_arp', edited(20, '0806')],
  ['ARP to all', 'inner_arp', edited(8, 'ffffffffffff', edited(20, '0806'))],
  ['a VLAN tag', 'inner_vlan', concat([D0.slice(0, 20), hex('81000005'), D0.slice(20)])],
  ['two VLAN tags', 'inner_vlan', concat([D0.slice(0, 20), hex('88a80005'), D0.slice(20)])],
  ['IPv6', 'inner_ipv6', edited(20, '86dd')],
  ['802.3 with a length', 'inner_not_ip', edited(20, '0032')],
  ['an IPv6 packet as IPv4', 'malformed_ipv4', edited(22, '60')],
  ['version 5', 'malformed_ipv4', edited(22, '55')],
  ['a header of 16 bytes', 'malformed_ipv4', edited(22, '44000024123440003f01d897')],
  ['a header longer than the packet', 'malformed_ipv4', sealed(22, '4f')],
  ['total length 19', 'malformed_ipv4', edited(22, '45000013123440003f01999c')],
  ['total length above what came', 'wrong_length', edited(24, '05dc', edited(32, '93d3'))],
  ['total length one above', 'wrong_length', sealed(24, '0025')],
  ['cut by one byte', 'wrong_length', D0.slice(0, 57)],
  ['a wrong header checksum', 'bad_ipv4_checksum', edited(32, '998c')],
  ['a source of our own', 'spoofed_source', edited(34, '0a053463', edited(32, 'ad31'))],
  ['our own first address as source', 'spoofed_source', sealed(34, '0a053400')],
  ['source 127.0.0.1', 'spoofed_source', sealed(34, '7f000001')],
  ['source 0.0.0.0', 'spoofed_source', sealed(34, '00000000')],
  ['source 224.0.0.1', 'spoofed_source', sealed(34, 'e0000001')],
  ['source 255.255.255.255', 'spoofed_source', sealed(34, 'ffffffff')],
  ['destination 224.0.0.251', 'multicast', sealed(38, 'e00000fb')],
  ['destination 255.255.255.255', 'multicast', sealed(38, 'ffffffff')],
  ['destination 0.0.0.0', 'martian_destination', sealed(38, '00000000')],
  ['destination 127.0.0.1', 'martian_destination', sealed(38, '7f000001')],
];

for (const [what, reason, payload] of DROPS) {
  test(`${what}: ${reason}`, () => isDropped(payload, reason));
}

test('a sender without a lease is dropped, a known one is not', () => {
  isDropped(D0, 'unknown_sender', { address: STRANGER });
  isDropped(D0, 'unknown_sender', { address: 0 });
  isDelivered(D0, D0.slice(OVERHEAD));
});

test('each datagram of a batch has its own sender and TOS', () => {
  const rig = new Rig();
  const packet = tcpPacket({ source: '192.0.2.9', tos: 2, payload: new Uint8Array(10) });
  const from = [PEER_B, STRANGER, PEER_C, STRANGER, PEER_B];
  for (const [i, address] of from.entries()) {
    rig.underlay.push({ payload: frame(packet), address, tos: i === 2 ? 3 : 0 });
  }
  assert.equal(rig.lane.step(), 5);
  assert.deepEqual(
    rig.takeWritten().map((written) => written.packet[1]),
    [2, 3, 2],
  );
  assert.deepEqual(rig.drops(), { unknown_sender: 2 });
});

test('a sender that is no IPv4 address is dropped', () => {
  const rig = new Rig();
  const receive = rig.underlay.receive.bind(rig.underlay);
  // Only the family differs: AF_INET6 in front of the same bytes.
  rig.underlay.receive = () => {
    const rows = receive();
    rig.memory.bytes[rig.memory.bytes.indexOf(hex('02002118c0a84004'))] = 10;
    return rows;
  };
  rig.receive(D0);
  assert.deepEqual(rig.drops(), { unknown_sender: 1 });
});

test('every piece of a train from an unknown sender counts', () => {
  const rig = new Rig();
  const train = concat([D0, D0, D0.slice(0, 50)]);
  assert.deepEqual(rig.receive(train, { segment: D0.length, address: STRANGER }), []);
  assert.deepEqual(rig.drops(), { unknown_sender: 3 });
  rig.checkBalance();
});

test('reserved bits are counted, not refused, and are never part of the VNI', () => {
  for (const bytes of ['88480064', '0c000003', '08ffffff']) {
    const rig = new Rig();
    assert.equal(rig.receive(edited(0, bytes)).length, 1, bytes);
    assert.equal(rig.count('reserved_bits_seen'), 1, bytes);
  }
  const rig = new Rig();
  assert.equal(rig.receive(edited(7, '80')).length, 1);
  assert.equal(rig.count('reserved_bits_seen'), 1);
  rig.receive(D0);
  assert.equal(rig.count('reserved_bits_seen'), 1);
});

test('VNI 0 and the largest VNI are VNIs like any other', () => {
  const packet = D0.slice(OVERHEAD);
  isDelivered(frame(packet, { vni: 0 }), packet, new Rig({ vni: 0 }));
  isDelivered(frame(packet, { vni: 0xffffff }), packet, new Rig({ vni: 0xffffff }));
  isDropped(D0, 'foreign_vni', {}, { vni: 0 });
});

test('what lies behind the inner packet is cut, whatever the frame is long', () => {
  const packet = D0.slice(OVERHEAD);
  const padded = (length: number): Uint8Array => {
    const payload = new Uint8Array(length).fill(0xee);
    payload.set(D0);
    return payload;
  };
  isDelivered(padded(59), packet);
  isDelivered(padded(68), packet);
  isDelivered(padded(82), packet);
  isDelivered(padded(83), packet);
  isDelivered(padded(1472), packet);
  isDelivered(padded(65507), packet);
});

test('fragments and IP options pass untouched', () => {
  const payload = new Uint8Array(64).fill(7);
  for (const fragment of [0x2000, 0x20b2, 0x0164]) {
    for (const protocol of [1, 6, 17]) {
      const packet = ipv4Packet({ fragment, protocol }, payload);
      isDelivered(frame(packet), packet);
    }
  }
  const options = ipv4Packet({ ipOptions: hex('94040000 01010101') }, payload);
  isDelivered(frame(options), options);
  const longest = ipv4Packet({ ipOptions: new Uint8Array(40).fill(1) }, payload);
  isDelivered(frame(longest), longest);
});

test('recorded frames of kernel VTEPs pass', () => {
  for (const recorded of [TCP_SYN, UDP_DATAGRAM]) {
    const packet = recorded.slice(OVERHEAD);
    isDelivered(frame(packet), packet, new Rig({ accept: 'any' }));
  }
});

test('VXLAN inside VXLAN is unwrapped once', () => {
  const inner = udpPacket({ destinationPort: 8472, payload: D0 });
  isDelivered(frame(inner), inner);
});

test('TTL and DSCP are not touched, TTL 0 and 1 included', () => {
  for (const ttl of [0, 1, 255]) {
    const packet = ipv4Packet({ ttl, tos: 0xb8 }, new Uint8Array(8));
    isDelivered(frame(packet), packet);
  }
});

// RFC 6040, section 4.2, figure 4. Codepoints: 0 Not-ECT, 1 ECT(1), 2 ECT(0), 3 CE.
const ECN: readonly (readonly [inner: number, outer: number, result: number | 'drop'])[] = [
  [0, 0, 0],
  [0, 1, 0],
  [0, 2, 0],
  [0, 3, 'drop'],
  [1, 0, 1],
  [1, 1, 1],
  [1, 2, 1],
  [1, 3, 3],
  [2, 0, 2],
  [2, 1, 1],
  [2, 2, 2],
  [2, 3, 3],
  [3, 0, 3],
  [3, 1, 3],
  [3, 2, 3],
  [3, 3, 3],
];

for (const [inner, outer, result] of ECN) {
  test(`ECN: inner ${inner}, outer ${outer}: ${result}`, () => {
    // The outer DSCP (0xfc) must not matter, the inner one (0x2e) must stay.
    const packet = tcpPacket({ tos: (0x2e << 2) | inner, payload: new Uint8Array(10) });
    if (result === 'drop') {
      isDropped(frame(packet), 'ecn_congestion', { tos: 0xfc | outer });
      return;
    }
    const [written] = new Rig().receive(frame(packet), { tos: 0xfc | outer });
    assert.equal(written!.packet[1], (0x2e << 2) | result);
    assert.ok(headerSumIsRight(written!.packet));
    const expected = packet.slice();
    expected[1] = (0x2e << 2) | result;
    assert.deepEqual(written!.packet, seal(expected), 'nothing but ECN and the sum changes');
  });
}

test('the header checksum stays right for every sum when ECN changes', () => {
  const rig = new Rig();
  for (let id = 0; id < 65536; id += 7) {
    const packet = ipv4Packet({ id, tos: 2 }, new Uint8Array(4));
    rig.underlay.push({ payload: frame(packet), address: PEER_B, tos: 3 });
  }
  rig.run();
  const written = rig.takeWritten();
  assert.equal(written.length, Math.ceil(65536 / 7));
  for (const { packet } of written) assert.ok(headerSumIsRight(packet) && packet[1] === 3);
});

test('the MAC of another peer as source is no fault: learning is off', () => {
  isDelivered(edited(14, '02000000000c'), D0.slice(OVERHEAD));
});

test('a receive that fails moves nothing', () => {
  const rig = new Rig();
  rig.underlay.receive = () => -111;
  assert.equal(rig.lane.step(), -111);
  assert.equal(rig.count('receive_errors'), 1);
  rig.checkBalance();
});

test('a martian in a peer subnet is judged by the packet, not by the sign of the address', () => {
  const packet = ipv4Packet({ source: '200.1.2.3' }, new Uint8Array(8));
  isDelivered(frame(packet), packet);
  put32(packet, 12, ip('240.0.0.1'));
  isDelivered(frame(seal(packet)), packet);
  put16(packet, 2, get16(packet, 2) - 1);
  isDelivered(frame(seal(packet)), packet.slice(0, -1));
});
