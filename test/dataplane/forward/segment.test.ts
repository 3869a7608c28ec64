import assert from 'node:assert/strict';
import { test } from 'node:test';
import { segment } from './oracle.js';
import {
  ACK,
  CWR,
  ECE,
  FIN,
  frame,
  ihl,
  leavePartial,
  MAC_B,
  NEEDS_CSUM,
  OUR_MAC,
  OVERHEAD,
  PEER_B,
  PEER_C,
  PSH,
  put32,
  sumAt,
  tcpPacket,
  thl,
  udpPacket,
  vnetHeader,
} from './packets.js';
import { Random } from './random.js';
import { Rig } from './rig.js';

const TO_B = { source: '10.5.52.7', destination: '10.5.72.9' } as const;
const TO_C = { source: '10.5.52.7', destination: '10.5.90.9' } as const;
const random = new Random(19);

/** As the TUN hands it over; the header length in it is the lie that forwarded packets tell. */
function superVnet(packet: Uint8Array, gsoSize: number, more = 0): Uint8Array {
  const type = packet[9] === 17 ? 5 : 1 | more;
  return vnetHeader(
    NEEDS_CSUM,
    type,
    packet.length,
    gsoSize,
    ihl(packet),
    sumAt(packet) - ihl(packet),
  );
}

const toB = (packet: Uint8Array): Uint8Array => frame(packet, { to: MAC_B, from: OUR_MAC });

/** A super-packet read from the device leaves as exactly what the kernel would have made of it. */
function isSegmented(packet: Uint8Array, gsoSize: number, rig = new Rig(), more = 0): void {
  const expected = segment(packet, gsoSize);
  const before = rig.count('outbound_in_packets');
  const bytesBefore = rig.count('outbound_in_bytes');
  const sentBefore = rig.count('outbound_out_bytes');
  const sent = rig.read(leavePartial(packet.slice()), superVnet(packet, gsoSize, more));
  assert.equal(sent.length, expected.length);
  for (const [i, { payload, tos, address, port }] of sent.entries()) {
    assert.deepEqual([address, port], [PEER_B, 8472]);
    assert.deepEqual(payload, toB(expected[i]!), `segment ${i} of ${expected.length}`);
    assert.equal(tos, packet[1]! & 3);
  }
  assert.equal(rig.count('outbound_in_packets') - before, expected.length);
  assert.equal(
    rig.count('outbound_in_bytes') - bytesBefore,
    expected.reduce((sum, one) => sum + one.length, 0),
  );
  assert.equal(
    rig.count('outbound_in_bytes') - bytesBefore,
    rig.count('outbound_out_bytes') - sentBefore,
  );
  rig.checkBalance();
}

test('TCP: flags, sequence, id and checksums of each segment', () => {
  isSegmented(
    tcpPacket({
      ...TO_B,
      id: 0xfffe,
      sequence: 2 ** 32 - 1500,
      flags: ACK | PSH | FIN | CWR | ECE,
      options: new Uint8Array(12).fill(1),
      payload: random.bytes(6000),
    }),
    1398,
    new Rig(),
    0x80,
  );
});

test('UDP: each datagram has its own header, length and checksum', () => {
  isSegmented(udpPacket({ ...TO_B, id: 0xffff, payload: random.bytes(3500) }), 1000);
});

test('UDP: a computed 0 goes out as ffff', () => {
  const payload = random.bytes(400);
  payload.fill(0, 100, 200);
  const probe = segment(udpPacket({ ...TO_B, payload }), 100)[1]!;
  payload.set(probe.slice(26, 28), 100);
  const packet = udpPacket({ ...TO_B, payload });
  assert.deepEqual([...segment(packet, 100)[1]!.slice(26, 28)], [255, 255]);
  isSegmented(packet, 100);
});

test('a size that is the payload or more makes one datagram', () => {
  for (const gsoSize of [1000, 1001, 65535]) {
    isSegmented(tcpPacket({ ...TO_B, payload: random.bytes(1000) }), gsoSize);
    isSegmented(udpPacket({ ...TO_B, payload: random.bytes(1000) }), gsoSize);
  }
});

test('the largest packet at usual sizes: several messages, each within the limits', () => {
  for (const gsoSize of [1410, 1398, 536, 400]) {
    isSegmented(tcpPacket({ ...TO_B, payload: random.bytes(65495) }), gsoSize);
  }
  isSegmented(udpPacket({ ...TO_B, payload: random.bytes(65507) }), 1200);
});

test('one byte a segment: header slots and rows run out and it goes on', () => {
  for (const segments of [true, false]) {
    const rig = new Rig({ udpSegment: segments });
    isSegmented(tcpPacket({ ...TO_B, payload: random.bytes(9000) }), 1, rig);
    isSegmented(udpPacket({ ...TO_B, payload: random.bytes(5000) }), 1, rig);
  }
});

test('single packets before it: the table of pieces is full before the header slots are', () => {
  const rig = new Rig();
  const single = tcpPacket({ ...TO_B, payload: random.bytes(1) });
  const large = tcpPacket({ ...TO_B, id: 9, payload: random.bytes(5000) });
  for (let i = 0; i < 60; i += 1) rig.device.push(single);
  rig.device.push(leavePartial(large.slice()), superVnet(large, 1));
  rig.device.push(single);
  rig.run();
  const sent = rig.takeSent();
  assert.ok(sent.every(({ address, port }) => address === PEER_B && port === 8472));
  assert.deepEqual(
    sent.map(({ payload }) => payload.slice(OVERHEAD)),
    [...new Array<Uint8Array>(60).fill(single), ...segment(large, 1), single],
  );
  rig.checkBalance();
});

test('a payload of one byte is a payload', () => {
  isSegmented(tcpPacket({ ...TO_B, payload: random.bytes(1) }), 1);
});

test('a super-packet that is refused leaves nothing of the one before', () => {
  const rig = new Rig();
  const packet = tcpPacket({ ...TO_B, payload: random.bytes(3000) });
  isSegmented(packet, 1000, rig);
  assert.deepEqual(rig.read(packet, superVnet(packet, 0)), []);
  assert.deepEqual(rig.drops(), { outbound_bad_offload: 1 });
  isSegmented(packet, 1000, rig);
});

test('the longest headers', () => {
  const options = new Uint8Array(40).fill(1);
  isSegmented(tcpPacket({ ...TO_B, ipOptions: options, options, payload: random.bytes(5000) }), 99);
});

test('any super-packet', (t) => {
  const any = new Random();
  t.diagnostic(`WEFT_SEED=${any.seed}`);
  const rigs = [new Rig(), new Rig({ udpSegment: false })] as const;
  for (let i = 0; i < 150; i += 1) {
    const gsoSize = any.between(1, 1400);
    const most = Math.min(65000, gsoSize * any.pick([1, 3, 50, 300]));
    const fields = {
      ...TO_B,
      id: any.between(0, 65535),
      tos: any.between(0, 255),
      ttl: any.between(1, 255),
      fragment: any.pick([0, 0x4000]),
      ipOptions: new Uint8Array(4 * any.pick([0, 0, 1, 10])).fill(1),
      payload: any.bytes(any.between(1, most)),
    };
    const packet = any.chance(3)
      ? udpPacket(fields)
      : tcpPacket({
          ...fields,
          sequence: any.next(),
          flags: any.between(0, 255),
          urgent: any.between(0, 65535),
          options: any.bytes(4 * any.between(0, 10)),
        });
    isSegmented(packet, gsoSize, any.pick(rigs));
  }
});

test('segments of super-packets that follow each other share a message', () => {
  const rig = new Rig();
  const packets = [0, 1, 2].map((i) =>
    tcpPacket({ ...TO_B, sequence: i * 46 * 1410, payload: random.bytes(46 * 1410) }),
  );
  for (const packet of packets)
    rig.device.push(leavePartial(packet.slice()), superVnet(packet, 1410));
  rig.run();
  const sizes = rig.underlay.sent.map(({ payload, segment: size }) => payload.length / size);
  assert.deepEqual(sizes, [44, 44, 44, 6]);
  assert.deepEqual(
    rig.takeSent().map(({ payload }) => payload),
    packets.flatMap((packet) => segment(packet, 1410)).map(toB),
  );
});

test('64 super-packets of two peers in one batch, segments and single packets mixed', (t) => {
  const any = new Random();
  t.diagnostic(`WEFT_SEED=${any.seed}`);
  const rig = new Rig();
  const expected: Uint8Array[] = [];
  for (let i = 0; i < 64; i += 1) {
    const to = any.pick([TO_B, TO_C]);
    const packet = tcpPacket({ ...to, id: i * 100, payload: any.bytes(any.between(1, 9000)) });
    if (any.chance(3)) {
      rig.device.push(packet);
      expected.push(packet);
    } else {
      const size = any.pick([100, 1000, 1400]);
      rig.device.push(leavePartial(packet.slice()), superVnet(packet, size));
      expected.push(...segment(packet, size));
    }
  }
  rig.run();
  const sent = rig.takeSent();
  assert.deepEqual(
    sent.map(({ payload }) => payload.slice(OVERHEAD)),
    expected,
  );
  for (const { payload, address, port } of sent) {
    const isB = payload[OVERHEAD + 18] === 72;
    assert.deepEqual([address, port], isB ? [PEER_B, 8472] : [PEER_C, 8473]);
  }
  rig.checkBalance();
});

test('what the oracle says of a packet worked out by hand', () => {
  const packet = tcpPacket({ ...TO_B, id: 7, flags: ACK | PSH, payload: Uint8Array.of(1, 2, 3) });
  const [first, second] = segment(packet, 2);
  const one = tcpPacket({ ...TO_B, id: 7, flags: ACK, payload: Uint8Array.of(1, 2) });
  const two = tcpPacket({
    ...TO_B,
    id: 8,
    sequence: 3,
    flags: ACK | PSH,
    payload: Uint8Array.of(3),
  });
  assert.deepEqual([first, second], [one, two]);
  assert.equal(thl(packet), 20);
  put32(one, 24, 2);
  assert.notDeepEqual(first, one);
});
