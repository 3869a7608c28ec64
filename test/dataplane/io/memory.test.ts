/** The lane's memory: places that do not overlap, and the pool of header slots. */
import assert from 'node:assert/strict';
import test from 'node:test';
import * as memory from '../../../src/dataplane/io/memory.js';
import { PacketPool } from '../../../src/dataplane/io/pool.js';
import * as socketAddress from '../../../src/dataplane/io/socket-address.js';

const { LAYOUT } = memory;
/** The longest IPv4 packet, and the longest UDP payload: what a read must have room for. */
const PACKET_MAX = 65535;

/** How long each place must be, from what is put there. */
const SIZES: Record<Exclude<keyof typeof LAYOUT, 'end'>, number> = {
  wait: memory.WAIT_ROWS * 8,
  packets: memory.BATCH * memory.PACKET_ROW.words * 4,
  datagrams: memory.BATCH * memory.DATAGRAM_ROW.words * 4,
  senders: memory.BATCH * memory.ADDRESS_SIZE,
  messages: memory.MESSAGES * memory.MESSAGE_ROW.words * 4,
  sendIovecs: memory.SEND_IOVECS * memory.IOVEC_ROW.words * 4,
  destinations: memory.MESSAGES * memory.ADDRESS_SIZE,
  writes: memory.WRITES * memory.WRITE_ROW.words * 4,
  writeIovecs: memory.WRITE_IOVECS * memory.IOVEC_ROW.words * 4,
  headers: memory.HEADER_SLOTS * memory.HEADER_SLOT_SIZE,
  inboundHeaders: memory.HEADER_SLOTS * memory.HEADER_SLOT_SIZE,
  outbound: memory.OUTBOUND_END - LAYOUT.outbound,
  inbound: memory.INBOUND_END - LAYOUT.inbound,
  capture: memory.RING_HEADER + memory.RING_BYTES,
};

test('no two places overlap, each is on a line, and all lie in the memory', () => {
  const places = Object.entries(SIZES).map(([name, size]) => {
    const start = LAYOUT[name as keyof typeof SIZES];
    return { name, start, end: start + size };
  });
  assert.deepEqual(Object.keys(LAYOUT).sort(), [...Object.keys(SIZES), 'end'].sort());
  for (const { name, start, end } of places) {
    assert.ok(start > 0, `${name}: 0 means "none"`);
    assert.equal(start % 64, 0, name);
    assert.ok(end > start && end <= LAYOUT.end, name);
    for (const other of places) {
      if (other.name === name) continue;
      assert.ok(end <= other.start || other.end <= start, `${name} and ${other.name} overlap`);
    }
  }
  const made = memory.createMemory();
  assert.ok(made.buffer.byteLength >= LAYOUT.end);
  assert.ok(made.buffer instanceof SharedArrayBuffer);
  const growing = made as unknown as { grow(pages: number): number };
  assert.throws(() => growing.grow(1), RangeError);
});

test('an area holds 1 MiB of packets, and then one of the longest', () => {
  const areas = [
    [LAYOUT.outbound, memory.OUTBOUND_END, memory.OUTBOUND_HEADROOM],
    [LAYOUT.inbound, memory.INBOUND_END, memory.INBOUND_HEADROOM],
  ] as const;
  for (const [start, end, headroom] of areas) {
    let at = start;
    let packets = 0;
    for (; ; at += PACKET_MAX, packets += 1) {
      at = ((at + 63) & ~63) + headroom;
      if (at + PACKET_MAX > end) break;
    }
    assert.equal(packets, 17, '16 are 1 MiB');
    assert.ok(headroom >= 10 + memory.ENCAPSULATION, 'room for the header that goes in front');
  }
  // A whole batch of packets of the usual length fits as well.
  assert.ok(memory.BATCH * (64 + memory.INBOUND_HEADROOM + 1500) + PACKET_MAX < 1024 * 1024);
});

test('the inner IPv4 header is aligned to words, both ways', () => {
  assert.equal(memory.OUTBOUND_HEADROOM % 4, 0);
  assert.equal((memory.INBOUND_HEADROOM + memory.ENCAPSULATION) % 4, 0);
});

test('the two views show the same bytes', () => {
  const { bytes, words, memory: made } = new memory.LaneMemory();
  words[LAYOUT.packets >> 2] = 0x04030201;
  assert.deepEqual([...bytes.subarray(LAYOUT.packets, LAYOUT.packets + 4)], [1, 2, 3, 4]);
  assert.equal(bytes.buffer, made.buffer);
  assert.equal(bytes.byteLength, words.byteLength);
});

test('the pool: in use and free add up, slots are apart, exhaustion is counted', () => {
  const size = 37;
  const pool = new PacketPool(LAYOUT.headers, size, memory.HEADER_SLOT_SIZE);
  assert.deepEqual([pool.size, pool.inUse, pool.free, pool.exhausted], [size, 0, size, 0]);
  for (let round = 1; round <= 3; round += 1) {
    const taken = new Set<number>();
    for (let i = 1; i <= size; i += 1) {
      const at = pool.take();
      assert.equal((at - LAYOUT.headers) % memory.HEADER_SLOT_SIZE, 0);
      assert.ok(at >= LAYOUT.headers && at < LAYOUT.headers + size * memory.HEADER_SLOT_SIZE);
      taken.add(at);
      assert.equal(pool.inUse, i);
      assert.equal(pool.inUse + pool.free, pool.size);
    }
    assert.equal(taken.size, size, 'no slot twice');
    assert.equal(pool.take(), 0);
    assert.equal(pool.take(), 0);
    assert.equal(pool.inUse + pool.free, size);
    assert.equal(pool.exhausted, round * 2);
    pool.reset();
    assert.deepEqual([pool.inUse, pool.free], [0, size]);
  }
  assert.equal(new PacketPool(64, 0, 8).take(), 0);
});

test('socket addresses: written and read back, wherever they lie', () => {
  const bytes = new Uint8Array(80).fill(0xff);
  for (const at of [0, 1, 33]) {
    for (const [address, port] of [
      [0, 0],
      [0x7f000001, 8472],
      [-1, 65535],
      [0xc0a80102 | 0, 256],
      [-2147483648, 1],
    ] as const) {
      socketAddress.writeIpv4(bytes, at, address, port);
      assert.ok(socketAddress.isIpv4(bytes, at));
      assert.equal(socketAddress.ipv4Address(bytes, at), address);
      assert.equal(socketAddress.port(bytes, at), port);
    }
    assert.equal(bytes[at + 8], 0xff, 'nothing behind the address is written');
  }
  bytes.set([10, 0], 0);
  assert.ok(!socketAddress.isIpv4(bytes, 0));
});
