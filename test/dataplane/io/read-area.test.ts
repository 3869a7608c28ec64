/** Where reads put what they read: gaps that stay free, and an area that ends where it ends. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { PACKET_ROW } from '../../../src/dataplane/io/memory.js';
import { ADDRESSES, AREA, Arena, HEADROOM, loopbackSocket, pattern, SIZE, TABLE } from './arena.js';

test('a scattered read leaves its gaps as they were, and ends with the area', () => {
  const arena = new Arena();
  const { native, bytes, words } = arena;
  const [fd, at] = loopbackSocket(native);
  const [from] = loopbackSocket(native);
  const [vnet, first, size, gap] = [10, 600, 512, 76];
  const lengths = [5, vnet + first, vnet + first + 1, 10_000, 60_000, 300];
  for (const [i, length] of lengths.entries()) {
    arena.send([{ fd: from, to: at, parts: [pattern(length, i)] }]);
  }
  const read = (end: number) =>
    native.tunRead(fd, TABLE, 8, AREA, end, HEADROOM, vnet, first, size, gap);
  // Room for the longest packet with all its gaps, less a byte.
  const longest = 65535 + Math.ceil((65535 - first) / size) * (gap + 1);
  assert.equal(read(AREA + HEADROOM + longest - 1), 0);
  bytes.fill(0x5a, AREA);
  let got = 0;
  for (let rows = read(SIZE); rows > 0; rows = read(SIZE)) {
    for (let row = 0; row < rows; row += 1, got += 1) {
      const [offset = 0, length = 0, left = 0] = words.subarray(
        (TABLE >> 2) + PACKET_ROW.words * row,
      );
      assert.equal(length, Math.max(0, lengths[got]! - vnet));
      assert.equal(left, length > first ? gap : 0);
      const parts = [bytes.subarray(offset - vnet, offset + Math.min(first, length))];
      let piece = offset + first;
      for (let done = first; done < length; done += size) {
        assert.ok(bytes.subarray(piece, piece + gap).every((byte) => byte === 0x5a));
        const end = piece + gap + Math.min(size, length - done);
        parts.push(bytes.subarray(piece + gap, end));
        piece = end;
      }
      const whole = Buffer.concat(parts).subarray(0, lengths[got]);
      assert.deepEqual(whole, pattern(lengths[got]!, got));
    }
    bytes.fill(0x5a, AREA);
  }
  assert.equal(got, lengths.length);
  // 1023 pieces behind the first are taken, one more is not.
  assert.equal(native.tunRead(fd, TABLE, 8, AREA, SIZE, HEADROOM, 0, 65535 - 1023, 1, 0), 0);
  assert.throws(
    () => native.tunRead(fd, TABLE, 8, AREA, SIZE, HEADROOM, 0, 65535 - 1024, 1, 0),
    RangeError,
  );
  arena.checkGuards('a scattered read');
  native.close(fd);
  native.close(from);
});

test('reads end with the area, to the byte', () => {
  const arena = new Arena();
  const { native } = arena;
  const [fd, at] = loopbackSocket(native);
  const [from] = loopbackSocket(native);
  const longest = 65535;
  const send = (count: number) => {
    for (let i = 0; i < count; i += 1)
      arena.send([{ fd: from, to: at, parts: [pattern(60000, i)] }]);
  };
  send(2);
  // Room for one, less a byte: nothing is read; with the byte, one.
  const room = AREA + HEADROOM + longest;
  assert.equal(arena.receive(fd, 64, room - 1).length, 0);
  arena.bytes.fill(0x5a, room);
  assert.deepEqual(arena.receive(fd, 64, room)[0]?.data, pattern(60000, 0));
  assert.ok(
    arena.bytes.subarray(room).every((byte) => byte === 0x5a),
    'wrote behind the area',
  );
  assert.equal(native.tunRead(fd, TABLE, 8, AREA, room - 1, HEADROOM, 10, 0, 0, 0), 0);
  const [header, packet] = arena.readPackets(fd, 10, 64, room)[0]!;
  assert.deepEqual(Buffer.concat([header, packet]), pattern(60000, 1));

  // The end of the area is the end of the memory: the guard behind it stays whole.
  send(2);
  const start = SIZE - HEADROOM - longest - 60;
  const aligned = Math.ceil(start / 64) * 64;
  const got = native.udpReceive(fd, TABLE, 8, start, SIZE, HEADROOM, ADDRESSES);
  assert.equal(got, aligned + HEADROOM + longest <= SIZE ? 1 : 0);
  arena.checkGuards('reading at the end');
  native.close(fd);
  native.close(from);
});
