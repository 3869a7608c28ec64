/** The batch in hand as it is read from outside, also when its words make no sense. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Batch, type Given, readBatch } from '../../../src/dataplane/forward/batch.js';
import {
  CONTROL_WORDS,
  INBOUND_ROWS,
  OUTBOUND_ROWS,
  OUTBOUND_SIZE,
} from '../../../src/dataplane/forward/lane-control.js';
import {
  ADDRESS_SIZE,
  BATCH,
  DATAGRAM_ROW,
  ENCAPSULATION,
  INBOUND_END,
  LAYOUT,
  LaneMemory,
  OUTBOUND_END,
  PACKET_ROW,
} from '../../../src/dataplane/io/memory.js';
import * as socketAddress from '../../../src/dataplane/io/socket-address.js';
import * as ipv4 from '../../../src/dataplane/wire/ipv4.js';
import { pattern, seeded } from '../io/arena.js';
import {
  ipv4Packet,
  leavePartial,
  PEER_B,
  PEER_C,
  put16,
  seal,
  tcpPacket,
  udpPacket,
} from './packets.js';
import { offloadOf, TO_B } from './push.js';
import { Rig } from './rig.js';

function lane() {
  const memory = new LaneMemory();
  const control = new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4));
  const packet = (row: number, offset: number, length: number, gap: number) => {
    const at = (LAYOUT.packets >> 2) + row * PACKET_ROW.words;
    memory.words.set([offset, length, gap], at);
  };
  const datagram = (row: number, offset: number, length: number, segment: number, from: number) => {
    const at = (LAYOUT.datagrams >> 2) + row * DATAGRAM_ROW.words;
    memory.words.set([offset, length, segment, row, 3], at);
    socketAddress.writeIpv4(memory.bytes, LAYOUT.senders + row * ADDRESS_SIZE, from, 50_000 + row);
  };
  const read = () => readBatch(memory.memory, control);
  return { memory, control, packet, datagram, read };
}

test('between two batches there is nothing', () => {
  const { packet, datagram, read } = lane();
  packet(0, LAYOUT.outbound, 100, 0);
  datagram(0, LAYOUT.inbound, 100, 0, PEER_B);
  assert.deepEqual(read(), { packets: [], datagrams: [] });
});

test('outbound: packets in one piece, and those read with room for headers between', () => {
  const { memory, control, packet, read } = lane();
  const [headers, size] = [40, 600];
  const gap = ENCAPSULATION + headers;
  const whole = pattern(2000, 1);
  let at = LAYOUT.outbound + 8192;
  const first = headers + size;
  memory.bytes.set(whole.subarray(0, first), at);
  packet(1, at, whole.length, gap);
  at += first + gap;
  for (let from = first; from < whole.length; from += size, at += size + gap) {
    memory.bytes.fill(0xee, at - gap, at);
    memory.bytes.set(whole.subarray(from, from + size), at);
  }
  memory.bytes.set(pattern(84, 2), LAYOUT.outbound + 128);
  packet(0, LAYOUT.outbound + 128, 84, 0);
  control[OUTBOUND_ROWS] = 2;
  control[OUTBOUND_SIZE] = size;
  assert.deepEqual(
    read().packets.map(({ packet }) => Buffer.from(packet)),
    [pattern(84, 2), whole],
  );
});

/** The batch as it is in the middle of the first send. */
function inHand(rig: Rig, size: number): Batch {
  const control = new Int32Array(CONTROL_WORDS);
  const send = rig.underlay.send.bind(rig.underlay);
  let batch: Batch | undefined;
  rig.underlay.send = (...what) => {
    control[OUTBOUND_ROWS] = 1;
    control[OUTBOUND_SIZE] = size;
    batch ??= readBatch(rig.memory.memory, control);
    return send(...what);
  };
  rig.lane.step();
  return batch!;
}

for (const [kind, type, make] of [
  ['TCP', 1, tcpPacket],
  ['UDP', 5, udpPacket],
] as const) {
  test(`a ${kind} super-packet that is being cut: its offload, lengths and bytes as they were given`, () => {
    const rig = new Rig();
    const payload = pattern(9000, type);
    const given = make({ ...TO_B, id: 5, payload });
    // From the third batch on it is read as it will be cut.
    for (const size of [0, 0, 700]) {
      const header = offloadOf(given, type, 700);
      rig.device.push(leavePartial(given.slice()), header);
      const [{ packet, vnet }] = inHand(rig, size).packets as [Given];
      assert.deepEqual(vnet, header);
      const headers = given.length - payload.length;
      assert.deepEqual(Buffer.from(packet.subarray(headers)), payload);
      const want = given.slice(0, 20);
      put16(want, 4, ipv4.id(packet, 0));
      assert.deepEqual(packet.slice(0, 20), seal(want), 'but for its id');
      assert.deepEqual(packet.slice(20, 24), given.slice(20, 24), 'the ports');
      if (kind === 'UDP') assert.deepEqual(packet.slice(24, 26), given.slice(24, 26), 'its length');
      rig.underlay.send = Object.getPrototypeOf(rig.underlay).send;
    }
  });
}

test('what the lane has not come to yet, and what is no super-packet, stay as they are', () => {
  const { memory, control, packet, read } = lane();
  const at = LAYOUT.outbound + 128;
  const row = 4 * ((LAYOUT.packets >> 2) + PACKET_ROW.vnet);
  packet(0, at, 300, 0);
  control[OUTBOUND_ROWS] = 1;
  // Trailing bytes: its length is less than what was read.
  const wrong = ipv4Packet({ ...TO_B, protocol: 17 }, pattern(200));
  for (const header of [offloadOf(udpPacket(TO_B), 5, 50), new Uint8Array(10)]) {
    memory.bytes.set(wrong, at);
    memory.bytes.set(header, row);
    memory.bytes.set(header, at - 10);
    const [given] = read().packets;
    assert.deepEqual(given!.packet.slice(0, wrong.length), wrong);
    assert.deepEqual(given!.vnet, header);
  }
});

test('inbound: a datagram, a train cut into its own, and one whose segments are inner ones', () => {
  const { memory, control, datagram, read } = lane();
  const place = (row: number) => LAYOUT.inbound + row * 8192;
  memory.bytes.set(pattern(70), place(0));
  datagram(0, place(0), 70, 0, PEER_B);
  memory.bytes.set(pattern(250, 1), place(1));
  datagram(1, place(1), 250, 100, PEER_C);
  memory.bytes.set(pattern(300, 2), place(2));
  memory.bytes.writeUInt16BE(300 - ENCAPSULATION, place(2) + ENCAPSULATION + 2);
  datagram(2, place(2), 300, 100, PEER_B);
  datagram(3, place(3), 0, 0, PEER_B);
  control[INBOUND_ROWS] = 4;
  const { datagrams } = read();
  assert.deepEqual(
    datagrams.map(({ payload, address, port, tos }) => [payload.length, address, port, tos]),
    [
      [70, PEER_B, 50_000, 3],
      [100, PEER_C, 50_001, 3],
      [100, PEER_C, 50_001, 3],
      [50, PEER_C, 50_001, 3],
      [300, PEER_B, 50_002, 3],
      [0, PEER_B, 50_003, 3],
    ],
  );
  const train = datagrams.slice(1, 4).map(({ payload }) => payload);
  assert.deepEqual(Buffer.concat(train), pattern(250, 1));
});

test('whatever the words hold, nothing outside the packets is read, and it ends', () => {
  const random = seeded(20_240_611);
  const { memory, control, read } = lane();
  memory.bytes.fill(0x11);
  memory.bytes.fill(0x22, LAYOUT.outbound, OUTBOUND_END);
  memory.bytes.fill(0x33, LAYOUT.inbound, INBOUND_END);
  const wild = [-1, 0, 1, 20, 600, 65_535, BATCH, 2 ** 31 - 1, -(2 ** 31), OUTBOUND_END - 10];
  const near = [LAYOUT.outbound, LAYOUT.inbound, INBOUND_END - 100, OUTBOUND_END, INBOUND_END];
  const pick = () => {
    const all = [...wild, ...near];
    return all[Math.floor(random() * all.length)]!;
  };
  let found = 0;
  for (let round = 0; round < 300; round += 1) {
    for (let row = 0; row < BATCH; row += 1) {
      const packets = (LAYOUT.packets >> 2) + row * PACKET_ROW.words;
      const datagrams = (LAYOUT.datagrams >> 2) + row * DATAGRAM_ROW.words;
      for (let word = 0; word < PACKET_ROW.words; word += 1) memory.words[packets + word] = pick();
      for (let word = 0; word < DATAGRAM_ROW.words; word += 1) {
        memory.words[datagrams + word] = pick();
      }
      // A segment of one byte makes as many datagrams as there are: few rows have one.
      const segment = datagrams + DATAGRAM_ROW.segment;
      if (row > 2 && memory.words[segment] === 1) memory.words[segment] = 1000;
      memory.bytes[LAYOUT.senders + row * ADDRESS_SIZE] = 2;
      memory.bytes[LAYOUT.senders + row * ADDRESS_SIZE + 1] = 0;
    }
    for (const word of [OUTBOUND_ROWS, OUTBOUND_SIZE, INBOUND_ROWS]) control[word] = pick();
    const { packets, datagrams } = read();
    assert.ok(packets.length <= BATCH);
    for (const { packet } of packets) assert.ok(packet.every((byte) => byte === 0x22));
    for (const { payload } of datagrams) assert.ok(payload.every((byte) => byte === 0x33));
    found += packets.length + datagrams.length;
  }
  assert.ok(found > 100, String(found));
});
