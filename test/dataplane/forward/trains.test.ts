/**
 * One frame is one datagram: what lies behind its inner packet is cut, what its length says beyond
 * it is refused, also where the kernel merged it with others; and what came as one packet stays one.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { receive, segment } from './oracle.js';
import {
  ACK,
  concat,
  frame,
  get16,
  leavePartial,
  OVERHEAD,
  PEER_B,
  put16,
  seal,
  sealTransport,
  tcpPacket,
  udpPacket,
} from './packets.js';
import { Random } from './random.js';
import { Rig } from './rig.js';

const random = new Random(23);

/** The frame with so many bytes behind its packet. */
const padded = (packet: Uint8Array, size: number): Uint8Array => {
  const payload = random.bytes(size);
  payload.set(frame(packet));
  return payload;
};

/** The packet with a total length that is not its own, the header's checksum right. */
function lying(packet: Uint8Array, total: number): Uint8Array {
  const copy = packet.slice();
  put16(copy, 2, total);
  return seal(copy);
}

test('bytes behind the inner packets of a train are cut, each where its length says', () => {
  const sizes = [100, 100, 90, 1, 100, 0];
  let sequence = 1;
  const packets = sizes.map((size) => {
    const packet = tcpPacket({ sequence, fragment: 0x4000, payload: random.bytes(size) });
    sequence += size;
    return packet;
  });
  for (const size of [OVERHEAD + 140, OVERHEAD + 146, 1472]) {
    const rig = new Rig();
    const train = concat(packets.map((packet) => padded(packet, size)));
    rig.receive(train, { segment: size }).flatMap(receive);
    assert.deepEqual(rig.drops(), {});
    assert.equal(rig.count('inbound_out_packets'), sizes.length);
    assert.equal(
      rig.count('inbound_out_bytes'),
      packets.reduce((sum, { length }) => sum + length, 0),
    );
    const again = new Rig();
    const seen = again.receive(train, { segment: size }).flatMap(receive);
    const plain = packets.flatMap((packet) => new Rig().receive(frame(packet)).flatMap(receive));
    const payload = (all: readonly Uint8Array[]): Uint8Array => concat(all.map((p) => p.slice(40)));
    assert.deepEqual(payload(seen), payload(plain));
  }
});

test('a TCP segment of 140 bytes with 6 more behind it, alone and in a run', () => {
  const rig = new Rig();
  const packets = [0, 1].map((i) =>
    tcpPacket({ sequence: 1 + 100 * i, fragment: 0x4000, payload: random.bytes(100) }),
  );
  for (const packet of packets) {
    rig.underlay.push({ payload: padded(packet, OVERHEAD + 146), address: PEER_B });
  }
  rig.run();
  assert.deepEqual(
    rig.takeReceived(),
    packets.map((p, i) => seal(numbered(p, i))),
  );
});

/** With the IP id that segmentation gives it. */
function numbered(packet: Uint8Array, id: number): Uint8Array {
  const copy = packet.slice();
  put16(copy, 4, id);
  return copy;
}

for (const [what, make] of [
  ['TCP', (size: number) => tcpPacket({ flags: ACK, payload: random.bytes(size) })],
  [
    'TCP, sum unfinished',
    (size: number) => leavePartial(tcpPacket({ payload: random.bytes(size) })),
  ],
  ['UDP', (size: number) => udpPacket({ payload: random.bytes(size) })],
  [
    'UDP, sum unfinished',
    (size: number) => leavePartial(udpPacket({ payload: random.bytes(size) })),
  ],
] as const) {
  test(`a total length that reaches over the frames behind it: only that one is lost (${what})`, () => {
    const good = make(200);
    const size = OVERHEAD + good.length;
    for (const frames of [2, 3, 7]) {
      for (const which of [0, 1, frames - 1]) {
        const packets = Array.from({ length: frames }, () => good);
        packets[which] = lying(good, (frames - which) * size - OVERHEAD);
        const rig = new Rig();
        const train = concat(packets.map((packet) => frame(packet)));
        const seen = rig.receive(train, { segment: size });
        // The last one's length is its own.
        const lost = which === frames - 1 ? 0 : 1;
        assert.deepEqual(rig.drops(), lost === 0 ? {} : { wrong_length: 1 });
        assert.equal(rig.count('inbound_out_packets'), frames - lost);
        assert.ok(seen.every(({ packet }) => packet.length <= size * frames));
        rig.checkBalance();
      }
    }
  });
}

test('a train whose first frame lies in all that an unsegmented UDP packet has is refused whole', () => {
  const good = udpPacket({ payload: random.bytes(200) });
  const size = OVERHEAD + good.length;
  for (const frames of [2, 3, 7]) {
    const train = concat(Array.from({ length: frames }, () => frame(good)));
    // The first one's IPv4 and UDP lengths are the whole train's, its checksum unfinished.
    const packet = train.subarray(OVERHEAD);
    put16(packet, 24, packet.length - 20);
    leavePartial(seal(lyingInPlace(packet)));
    const rig = new Rig();
    assert.deepEqual(rig.receive(train, { segment: size }), []);
    assert.deepEqual(rig.drops(), { wrong_length: 1 });
    rig.checkBalance();
  }
});

function lyingInPlace(packet: Uint8Array): Uint8Array {
  put16(packet, 2, packet.length);
  return packet;
}

test('a container of a peer with offloads cannot pass its data off as frames of that peer', () => {
  const size = 500;
  const forged = frame(tcpPacket({ source: '10.5.90.1', payload: random.bytes(size - 62) }));
  const payload = random.bytes(4 * size);
  // Where the next frames would begin, were the segment size that of a train.
  for (const at of [size, 2 * size, 3 * size]) payload.set(forged, at - OVERHEAD - 28);
  const packet = leavePartial(udpPacket({ payload }));
  const rig = new Rig();
  assert.deepEqual(rig.receive(frame(packet), { segment: size }), []);
  assert.deepEqual(rig.drops(), { wrong_length: 1 });

  // The same bytes one byte further on are data like any other.
  const plain = random.bytes(4 * size);
  plain.set(forged, size - OVERHEAD - 28 + 1);
  const data = leavePartial(udpPacket({ payload: plain }));
  const [written] = rig.receive(frame(data), { segment: size });
  assert.deepEqual(receive(written!), segment(data, size));
  rig.checkBalance();
});

test('one UDP packet is told from a train by what it is, for any sizes', () => {
  for (let i = 0; i < 400; i += 1) {
    const size = random.between(1, 1422);
    const count = random.between(2, Math.min(64, Math.floor(60_000 / size)));
    const last = random.between(1, size);
    const packet = leavePartial(udpPacket({ payload: random.bytes((count - 1) * size + last) }));
    const rig = new Rig();
    const [written] = rig.receive(frame(packet), { segment: size });
    assert.deepEqual(receive(written!), segment(packet, size), `${count} of ${size}`);

    const datagrams = Array.from({ length: count }, (_, n) =>
      sealTransport(udpPacket({ id: n, payload: random.bytes(n < count - 1 ? size : last) })),
    );
    const train = concat(datagrams.map((one) => frame(one)));
    if (train.length > 65_507) continue;
    const other = new Rig();
    const seen = other.receive(train, { segment: OVERHEAD + 28 + size }).flatMap(receive);
    assert.deepEqual(seen, datagrams);
    assert.equal(get16(seen[0]!, 2), 28 + (count > 1 ? size : last));
  }
});
