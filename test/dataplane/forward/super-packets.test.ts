/** Inbound: trains that UDP_GRO merged, and packets that a peer's kernel left unsegmented. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { D0 } from '../wire/frames.js';
import { receive, segment } from './oracle.js';
import {
  ACK,
  CWR,
  concat,
  FIN,
  frame,
  get16,
  ipv4Packet,
  leavePartial,
  NEEDS_CSUM,
  OVERHEAD,
  PEER_B,
  PSH,
  pseudoOf,
  put16,
  seal,
  sumAt,
  sumOf,
  tcpPacket,
  thl,
  transportSumIsRight,
  udpPacket,
  vnetHeader,
} from './packets.js';
import { Random } from './random.js';
import { Rig } from './rig.js';

const random = new Random(7);

test('a train is taken apart at the segment size, the last piece may be shorter', () => {
  const rig = new Rig();
  const packets = [500, 500, 500, 123].map((size) => udpPacket({ payload: random.bytes(size) }));
  const train = concat(packets.map((packet) => frame(packet)));
  const written = rig.receive(train, { segment: OVERHEAD + 28 + 500 });
  assert.deepEqual(
    written.map(({ packet }) => packet),
    packets,
  );
  assert.equal(rig.count('inbound_in_packets'), 4);
  const bytes = packets.reduce((sum, packet) => sum + packet.length, 0);
  assert.equal(rig.count('inbound_in_bytes'), bytes, 'those of all, not of the first');
  assert.equal(rig.count('inbound_out_bytes'), bytes);
  rig.checkBalance();
});

test('the pieces of a train are judged one by one, ECN included', () => {
  const rig = new Rig();
  const good = udpPacket({ payload: random.bytes(100) });
  const ect = udpPacket({ tos: 2, payload: random.bytes(100) });
  const bad = frame(good);
  bad[4] = 9;
  const written = rig.receive(concat([frame(ect), bad, frame(good), frame(ect)]), {
    segment: OVERHEAD + good.length,
    tos: 3,
  });
  assert.deepEqual(
    written.map(({ packet }) => packet[1]),
    [3, 3],
  );
  assert.deepEqual(rig.drops(), { foreign_vni: 1, ecn_congestion: 1 });
  rig.checkBalance();
});

test('a train of padded short frames and one of garbage count each piece', () => {
  const rig = new Rig();
  const padded = new Uint8Array(68);
  padded.set(D0);
  assert.equal(rig.receive(concat([padded, padded]), { segment: 68 }).length, 2);
  assert.equal(rig.receive(new Uint8Array(30), { segment: 10 }).length, 0);
  assert.deepEqual(rig.drops(), { truncated: 3 });
  assert.equal(rig.receive(new Uint8Array(30), { segment: 1 }).length, 0);
  assert.equal(rig.count('inbound_in_packets'), 35);
  rig.checkBalance();
});

test('the longest train: 64 pieces of 1023 bytes', () => {
  const rig = new Rig();
  const packets = Array.from({ length: 64 }, () => udpPacket({ payload: random.bytes(973) }));
  const train = concat(packets.map((packet) => frame(packet)));
  assert.deepEqual(
    rig.receive(train, { segment: 1023 }).map(({ packet }) => packet),
    packets,
  );
});

test('a segment size that is the datagram or more is no train', () => {
  for (const size of [D0.length, D0.length + 1, 65535]) {
    const rig = new Rig();
    assert.equal(rig.receive(D0, { segment: size }).length, 1);
    assert.equal(rig.count('inbound_in_packets'), 1);
  }
});

test('one unsegmented TCP packet becomes one GSO write', () => {
  const rig = new Rig();
  const flags = ACK | PSH | FIN;
  const packet = leavePartial(
    tcpPacket({ flags, options: new Uint8Array(12).fill(1), payload: random.bytes(7000) }),
  );
  const written = rig.receive(frame(packet));
  assert.equal(written.length, 1);
  assert.deepEqual(written[0]!.vnet, vnetHeader(NEEDS_CSUM, 1, 52, 1450 - 52, 20, 16));
  assert.deepEqual(written[0]!.packet, packet);
  const segments = receive(written[0]!);
  assert.ok(segments.every((one) => one.length <= 1450 && transportSumIsRight(one)));
  assert.equal(rig.count('inbound_in_packets'), 1, 'one datagram is one packet here');
  assert.equal(rig.count('inbound_out_packets'), 1);
});

test('the longest one: 65,507 bytes of UDP payload, with IP options', () => {
  const rig = new Rig();
  const ipOptions = new Uint8Array(8).fill(1);
  const packet = tcpPacket({ ipOptions, payload: random.bytes(65507 - OVERHEAD - 48) });
  const written = rig.receive(frame(leavePartial(packet)));
  assert.deepEqual(written[0]!.vnet, vnetHeader(NEEDS_CSUM, 1, 48, 1450 - 48, 28, 16));
});

test('CWR on an unsegmented packet is told to whoever cuts it', () => {
  const packet = leavePartial(tcpPacket({ flags: ACK | CWR, payload: random.bytes(3000) }));
  const [written] = new Rig().receive(frame(packet));
  assert.equal(written!.vnet[1], 0x81);
  assert.equal(get16(written!.vnet.slice(8, 10).reverse(), 0), 16);
  assert.deepEqual(
    receive(written!).map((one) => one[33]! & CWR),
    [CWR, 0, 0],
  );
});

test('a complete checksum above the MTU is verified and made incomplete', () => {
  const rig = new Rig();
  const packet = tcpPacket({ payload: random.bytes(4000) });
  const [written] = rig.receive(frame(packet));
  assert.equal(get16(written!.packet, sumAt(packet)), pseudoOf(packet));
  assert.deepEqual(receive(written!), segment(packet, 1410));

  packet[100]! ^= 1;
  assert.deepEqual(rig.receive(frame(packet)), []);
  assert.deepEqual(rig.drops(), { bad_inner_checksum: 1 });
  rig.checkBalance();
});

test('an unsegmented UDP packet keeps the size that UDP_GRO tells', () => {
  const rig = new Rig();
  const packet = leavePartial(udpPacket({ payload: random.bytes(12000) }));
  const written = rig.receive(frame(packet), { segment: 1200 });
  assert.equal(written.length, 1);
  assert.deepEqual(written[0]!.vnet, vnetHeader(NEEDS_CSUM, 5, 28, 1200, 20, 6));
  assert.deepEqual(receive(written[0]!), segment(packet, 1200));

  rig.checkBalance();
});

test('a UDP super-packet stays one below the MTU, too: its datagrams do not become one', () => {
  for (const [payload, size] of [
    [400, 200],
    [401, 200],
    [600, 599],
    [2, 1],
  ] as const) {
    const rig = new Rig();
    const packet = leavePartial(udpPacket({ payload: random.bytes(payload) }));
    const written = rig.receive(frame(packet), { segment: size });
    assert.equal(written.length, 1);
    assert.deepEqual(receive(written[0]!), segment(packet, size));
    const cut = new Rig({ uso: false });
    assert.deepEqual(
      cut.receive(frame(packet), { segment: size }).map((one) => one.packet),
      segment(packet, size),
    );
    rig.checkBalance();
    cut.checkBalance();
  }
});

test('a UDP super-packet is no part of the run before it, though it looks like its next', () => {
  const rig = new Rig();
  const datagram = (id: number): Uint8Array => udpPacket({ id, payload: new Uint8Array(200) });
  for (const id of [1, 2]) rig.underlay.push({ payload: frame(datagram(id)), address: PEER_B });
  // Its unfinished checksum happens to be the finished one, too.
  const packet = datagram(3);
  const before = pseudoOf(packet);
  put16(packet, 26, before);
  put16(packet, 28, 0xffff - sumOf(packet.subarray(20), before));
  assert.ok(transportSumIsRight(packet));
  rig.underlay.push({ payload: frame(packet), segment: 100, address: PEER_B });
  rig.run();
  assert.deepEqual(
    rig.takeReceived().map((one) => one.length),
    [228, 228, 128, 128],
  );
});

test('what is longer than the MTU and cannot be cut is dropped', () => {
  const large = random.bytes(1423);
  const cases: [Uint8Array, number, boolean][] = [
    [udpPacket({ payload: large }), 0, true],
    // Datagrams that are themselves longer than the MTU.
    [leavePartial(udpPacket({ payload: random.bytes(3000) })), 1423, true],
    [ipv4Packet({ protocol: 1 }, random.bytes(1431)), 0, true],
    [ipv4Packet({ protocol: 6, fragment: 0x2000 }, random.bytes(1431)), 0, true],
    [ipv4Packet({ protocol: 17, fragment: 0x0010 }, random.bytes(1431)), 0, true],
  ];
  for (const [packet, size, uso] of cases) {
    const rig = new Rig({ uso });
    assert.deepEqual(rig.receive(frame(packet), { segment: size }), []);
    assert.deepEqual(rig.drops(), { too_long: 1 });
    rig.checkBalance();
  }
  const fits = udpPacket({ payload: large.slice(1) });
  assert.equal(new Rig().receive(frame(fits)).length, 1, 'the MTU itself fits');
});

test('without USO on the TUN an unsegmented UDP packet is cut here, checksums finished', () => {
  const rig = new Rig({ uso: false });
  const packet = leavePartial(udpPacket({ payload: random.bytes(12345) }));
  const written = rig.receive(frame(packet), { segment: 1200 });
  assert.ok(written.every(({ vnet }) => vnet.every((byte) => byte === 0)));
  assert.deepEqual(
    written.map((one) => one.packet),
    segment(packet, 1200),
  );
  assert.equal(rig.count('inbound_out_packets'), 1);
  rig.checkBalance();
});

test('without a vnet header the TUN gets single packets with finished checksums', () => {
  const rig = new Rig({ vnet: false, uso: false });
  const large = tcpPacket({ payload: random.bytes(20_000) });
  const train = [1, 2, 3].map((n) =>
    tcpPacket({ sequence: n * 1000, payload: random.bytes(1000) }),
  );
  const small = udpPacket({ payload: random.bytes(33) });
  const expected = [...segment(large, 1410), small, ...train];
  rig.underlay.push({ payload: frame(leavePartial(large.slice())), address: PEER_B });
  rig.underlay.push({ payload: frame(leavePartial(small.slice())), address: PEER_B });
  const payload = concat(train.map((packet) => frame(packet)));
  rig.underlay.push({ payload, segment: OVERHEAD + 1040, address: PEER_B });
  rig.run();
  assert.deepEqual(
    rig.takeWritten().map(({ packet }) => packet),
    expected,
  );
  rig.checkBalance();
});

test('a super-packet that outgrows the queue of writes is cut all the same', () => {
  const rig = new Rig({ vnet: false, uso: false, mtu: 68 });
  const large = tcpPacket({ payload: random.bytes(60_000) });
  const written = rig.receive(frame(leavePartial(large.slice())));
  assert.deepEqual(
    written.map(({ packet }) => packet),
    segment(large, 68 - 40),
  );
  rig.checkBalance();
});

test('a piece of a train is never a super-packet of UDP', () => {
  const rig = new Rig();
  const packets = [1, 2].map(() => leavePartial(udpPacket({ payload: random.bytes(1430) })));
  const train = concat(packets.map((packet) => frame(packet)));
  assert.deepEqual(rig.receive(train, { segment: OVERHEAD + 1458 }), []);
  assert.deepEqual(rig.drops(), { too_long: 2 });
});

test('a TCP header that leaves no room for data is too long', () => {
  for (const mtu of [68, 80]) {
    const rig = new Rig({ mtu });
    const packet = tcpPacket({ options: new Uint8Array(40).fill(1), payload: random.bytes(9) });
    assert.deepEqual(rig.receive(frame(packet)), []);
    assert.deepEqual(rig.drops(), { too_long: 1 });
  }
});

test('a small packet with an incomplete checksum is left to the kernel to finish', () => {
  const ipOptions = new Uint8Array(4).fill(1);
  const cases: [Uint8Array, Uint8Array][] = [
    [tcpPacket({ flags: 2 }), vnetHeader(NEEDS_CSUM, 0, 0, 0, 20, 16)],
    [tcpPacket({ ipOptions, flags: 2 }), vnetHeader(NEEDS_CSUM, 0, 0, 0, 24, 16)],
    [udpPacket({ payload: random.bytes(33) }), vnetHeader(NEEDS_CSUM, 0, 0, 0, 20, 6)],
  ];
  for (const [complete, vnet] of cases) {
    const [written] = new Rig().receive(frame(leavePartial(complete.slice())));
    assert.deepEqual(written!.vnet, vnet);
    assert.deepEqual(receive(written!), [complete]);
  }
});

test('a wrong checksum and none at all are the receiver’s business', () => {
  const none = udpPacket({ payload: random.bytes(20) });
  put16(none, sumAt(none), 0);
  const wrong = tcpPacket({ payload: random.bytes(20) });
  put16(wrong, sumAt(wrong), get16(wrong, sumAt(wrong)) ^ 1);
  // A UDP length beyond the packet: no header to be finished.
  const longer = udpPacket({ payload: random.bytes(20) });
  put16(longer, 24, 200);
  for (const packet of [none, wrong, leavePartial(longer)]) {
    const [written] = new Rig().receive(frame(packet));
    assert.deepEqual(written!.vnet, new Uint8Array(10));
    assert.deepEqual(written!.packet, packet);
  }
});

test('a fragment is never treated as having a transport checksum', () => {
  const packet = tcpPacket({ payload: random.bytes(100) });
  put16(packet, 6, 0x2000);
  const [written] = new Rig().receive(frame(leavePartial(seal(packet))));
  assert.deepEqual(written!.vnet, new Uint8Array(10));
});

test('small TCP packets of one train are merged, order is kept', () => {
  const rig = new Rig();
  const whole = tcpPacket({ fragment: 0x4000, flags: ACK | PSH, payload: random.bytes(3000) });
  const pieces = segment(whole, 1000);
  const train = concat(pieces.map((one) => frame(one)));
  const written = rig.receive(train, { segment: OVERHEAD + 40 + 1000 });
  assert.equal(written.length, 1);
  assert.deepEqual(written[0]!.packet, leavePartial(whole.slice()));
  assert.deepEqual(receive(written[0]!), pieces);
  assert.equal(thl(whole), 20);
  assert.equal(rig.count('inbound_out_packets'), 3);
  assert.equal(rig.count('inbound_out_bytes'), 3 * 1040);
  rig.underlay.push({ payload: frame(pieces[0]!), address: PEER_B });
  rig.checkBalance();
});
