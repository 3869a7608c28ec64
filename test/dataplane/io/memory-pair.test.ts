import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  BATCH,
  DATAGRAM_ROW,
  INBOUND_END,
  LAYOUT,
  LaneMemory,
  OUTBOUND_END,
  PACKET_ROW,
} from '../../../src/dataplane/io/memory.js';
import { MemoryDevice, MemoryUnderlay } from '../../../src/dataplane/io/memory-pair.js';

const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);

test('what is pushed is read in order, its vnet header just before it, at most a batch', () => {
  const memory = new LaneMemory();
  const device = new MemoryDevice(memory);
  for (let i = 0; i < BATCH + 3; i += 1) device.push(filled(100 + i, i), filled(10, 255 - i));
  assert.equal(device.read(), BATCH);
  for (let row = 0; row < BATCH; row += 1) {
    const at = (LAYOUT.packets >> 2) + row * PACKET_ROW.words;
    const [offset, length] = [memory.words[at]!, memory.words[at + 1]!];
    assert.equal(offset % 64, 0, 'the inner header is aligned');
    assert.equal(length, 100 + row);
    assert.deepEqual(
      new Uint8Array(memory.bytes.subarray(offset - 10, offset + length)),
      new Uint8Array([...filled(10, 255 - row), ...filled(length, row)]),
    );
    const kept = 4 * (at + PACKET_ROW.vnet);
    assert.deepEqual(new Uint8Array(memory.bytes.subarray(kept, kept + 10)), filled(10, 255 - row));
  }
  assert.equal(device.read(), 3);
  assert.equal(device.read(), 0);
});

test('a scattered packet has a gap before each further piece, and its row says so', () => {
  const memory = new LaneMemory();
  const device = new MemoryDevice(memory);
  const packet = Uint8Array.from({ length: 3000 }, (_, i) => i % 251);
  for (const length of [1050, 1051, 3000]) device.push(packet.subarray(0, length));
  assert.equal(device.read(50, 1000), 3);
  const row = (i: number) => {
    const at = (LAYOUT.packets >> 2) + i * PACKET_ROW.words;
    return [...memory.words.subarray(at, at + PACKET_ROW.words)] as [number, number, number];
  };
  assert.deepEqual(
    [0, 1, 2].map((i) => row(i).slice(1, 3)),
    [
      [1050, 0],
      [1051, 72],
      [3000, 72],
    ],
  );
  const [at] = row(2);
  const pieces = [
    [at, 1050],
    [at + 1050 + 72, 1000],
    [at + 1050 + 72 + 1000 + 72, 950],
  ].map(([from = 0, length = 0]) => memory.bytes.subarray(from, from + length));
  assert.deepEqual(new Uint8Array(Buffer.concat(pieces)), packet);
});

test('a batch ends where the longest packet would no longer fit', () => {
  const memory = new LaneMemory();
  const device = new MemoryDevice(memory);
  const underlay = new MemoryUnderlay(memory);
  for (let i = 0; i < 40; i += 1) {
    device.push(filled(65535, 1));
    underlay.push({ payload: filled(65535, 2), address: 1 });
  }
  const count = (take: () => number, table: number, words: number, end: number): number => {
    let all = 0;
    for (let rows = take(); rows > 0; rows = take()) {
      assert.ok(rows > 0 && rows <= 17);
      const at = (table >> 2) + (rows - 1) * words;
      assert.ok(memory.words[at]! + memory.words[at + 1]! <= end);
      all += rows;
    }
    return all;
  };
  assert.equal(
    count(() => device.read(), LAYOUT.packets, PACKET_ROW.words, OUTBOUND_END),
    40,
  );
  assert.equal(
    count(() => underlay.receive(), LAYOUT.datagrams, DATAGRAM_ROW.words, INBOUND_END),
    40,
  );
});

test('what cannot be is refused before it overruns an area', () => {
  const memory = new LaneMemory();
  const device = new MemoryDevice(memory);
  assert.throws(() => device.push(new Uint8Array(65536)), /65536 bytes/);
  assert.throws(() => device.push(new Uint8Array(1), new Uint8Array(12)), /12 bytes, not 10/);
  const underlay = new MemoryUnderlay(memory);
  assert.throws(() => underlay.push({ payload: new Uint8Array(65536), address: 1 }), /65536 bytes/);
});

test('what is refused is told by its errno, and stops the batch there', () => {
  const memory = new LaneMemory();
  const device = new MemoryDevice(memory);
  for (let row = 0; row < 3; row += 1) {
    memory.words.set([row, 1], (LAYOUT.writes >> 2) + 2 * row);
    memory.words.set([LAYOUT.inbound + 100 * row, 11], (LAYOUT.writeIovecs >> 2) + 2 * row);
    memory.bytes[LAYOUT.inbound + 100 * row + 10] = row;
  }
  device.refuse = ({ packet }) => (packet[0] === 1 ? 5 : 0);
  assert.equal(device.write(0, 3, 3), 1);
  assert.equal(device.lastError(), 5);
  assert.equal(device.write(2, 1, 3), 1);
  assert.equal(device.lastError(), 0);
  assert.deepEqual(
    device.written.map(({ packet }) => [...packet]),
    [[0], [2]],
  );
});
