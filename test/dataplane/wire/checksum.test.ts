import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import * as checksum from '../../../src/dataplane/wire/checksum.js';
import { createSimdSummer } from '../../../src/dataplane/wire/checksum-simd.js';
import * as ipv4 from '../../../src/dataplane/wire/ipv4.js';
import { AT_IPV4, AT_TRANSPORT, hex, TCP_FRAME, UDP_DATAGRAM } from './frames.js';

/** The definition, as slow as it is plain. */
function oracle(bytes: Uint8Array, at: number, length: number): number {
  let total = 0;
  for (let i = 0; i < length; i += 1) total += bytes[at + i]! * (i % 2 === 0 ? 256 : 1);
  while (total > 0xffff) total = (total % 65536) + Math.floor(total / 65536);
  return total;
}

/** A repeatable stream of bytes. */
function noise(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(new SharedArrayBuffer(length));
  let state = seed;
  for (let i = 0; i < length; i += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

test('the example of RFC 1071, section 3', () => {
  const bytes = hex('0001 f203 f4f5 f6f7');
  assert.equal(checksum.sum(bytes, 0, 8), 0xddf2);
  assert.equal(checksum.complement(0xddf2), 0x220d);
});

test('a fold whose second step carries, too', () => {
  // ffff0001: its halves give 10000, and only the halves of that give 1.
  assert.equal(checksum.fold(0xffff0001), 1);
  assert.equal(checksum.fold(0x1ffff), 1);
  assert.equal(checksum.fold(0x1fffe), 0xffff);
  assert.equal(checksum.fold(0xffffffff), 0xffff);
  // Four words, in either order of bytes, for each way to sum.
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const bytes = new Uint8Array(memory.buffer);
  const sums = [createSimdSummer(memory)!, checksum.createSummer(memory.buffer)];
  const words = [0x0000, 0x0001, 0x0100, 0x0002, 0x0200, 0xff00, 0xfeff, 0xffff];
  for (let i = 0; i < 8 ** 4; i += 1) {
    for (let k = 0; k < 4; k += 1) {
      const word = words[(i >> (3 * k)) & 7]!;
      bytes.set([word >> 8, word], 2 * k);
    }
    const expected = oracle(bytes, 0, 8);
    assert.equal(checksum.sum(bytes, 0, 8), expected);
    for (const sum of sums) assert.equal(sum(0, 8), expected, `${bytes.subarray(0, 8)}`);
  }
});

test('the example of RFC 1624, section 4', () => {
  // HC = DD2F, m = 5555, m' = 3285: the older equation of RFC 1141 gives FFFF, this one 0000.
  assert.equal(checksum.update(0xdd2f, 0x5555, 0x3285), 0x0000);
});

test('sum pads an odd last byte and does not look behind it', () => {
  assert.equal(checksum.sum(hex('0102 03ff'), 0, 3), 0x0402);
  assert.equal(checksum.sum(hex('ff'), 0, 0), 0);
  assert.equal(checksum.sum(hex('ffff'), 0, 2), 0xffff);
});

test('sum of 64 KiB of ones folds right', () => {
  assert.equal(checksum.sum(new Uint8Array(65536).fill(0xff), 0, 65536), 0xffff);
  const buffer = new Uint8Array(65536).fill(0xff);
  assert.equal(checksum.createSummer(buffer.buffer)(0, 65536), 0xffff);
});

test('the fast sum is the plain sum for every length up to 9001 at every alignment', () => {
  for (const bytes of [noise(9008, 1), noise(9008, 2).fill(0xff), noise(9008, 3).fill(0)]) {
    const fast = checksum.createSummer(bytes.buffer);
    for (let at = 0; at < 4; at += 1) {
      for (let length = 0; length <= 9001; length += 1) {
        if (fast(at, length) !== checksum.sum(bytes, at, length)) {
          assert.equal(fast(at, length), checksum.sum(bytes, at, length), `at ${at}, ${length}`);
        }
      }
    }
  }
});

test('both sums are the definition, anywhere in a memory of any size', () => {
  const range = fc
    .integer({ min: 0, max: 70_001 })
    .chain((size) => fc.tuple(fc.constant(size), fc.nat(size), fc.nat(65536), fc.integer()));
  fc.assert(
    fc.property(range, ([size, at, wanted, seed]) => {
      const bytes = noise(size, seed);
      const length = Math.min(wanted, size - at);
      const expected = oracle(bytes, at, length);
      assert.equal(checksum.sum(bytes, at, length), expected);
      assert.equal(checksum.createSummer(bytes.buffer)(at, length), expected);
    }),
    { numRuns: 300 },
  );
});

test('the SIMD sum is the plain sum for every length up to 9001 at every alignment', () => {
  const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true });
  const bytes = new Uint8Array(memory.buffer);
  const simd = createSimdSummer(memory);
  assert.ok(simd !== undefined, 'this engine has no WebAssembly SIMD');
  for (const fill of [noise(bytes.length, 4), noise(1, 0).fill(0xff), noise(1, 0).fill(0)]) {
    if (fill.length > 1) bytes.set(fill);
    else bytes.fill(fill[0]!);
    for (let at = 0; at < 17; at += 1) {
      const lengths = at < 2 ? 9001 : 200;
      for (let length = 0; length <= lengths; length += 1) {
        if (simd(at, length) !== checksum.sum(bytes, at, length)) {
          assert.equal(simd(at, length), checksum.sum(bytes, at, length), `at ${at}, ${length}`);
        }
      }
    }
    assert.equal(simd(3, 65536), checksum.sum(bytes, 3, 65536));
    assert.equal(simd(bytes.length - 1, 1), checksum.sum(bytes, bytes.length - 1, 1));
    assert.throws(() => simd(bytes.length - 1, 2));
  }
});

test('add joins the sums of two parts', () => {
  const bytes = noise(64, 7);
  for (let cut = 0; cut <= 64; cut += 2) {
    const parts = checksum.add(checksum.sum(bytes, 0, cut), checksum.sum(bytes, cut, 64 - cut));
    assert.equal(parts, checksum.sum(bytes, 0, 64));
  }
});

test('update is what summing anew gives', () => {
  const word = fc.integer({ min: 0, max: 0xffff });
  fc.assert(
    fc.property(fc.array(word, { minLength: 2, maxLength: 10 }), word, (words, next) => {
      const bytes = new Uint8Array(words.flatMap((w) => [w >> 8, w & 255]));
      // A sum of plain zeros is the one case with two answers; no header is all zero.
      fc.pre(words.slice(1).some((w) => w !== 0));
      const field = checksum.complement(checksum.sum(bytes, 0, bytes.length));
      const updated = checksum.update(field, words[0]!, next);
      bytes[0] = next >> 8;
      bytes[1] = next & 255;
      assert.equal(updated, checksum.complement(checksum.sum(bytes, 0, bytes.length)));
    }),
  );
});

test('pseudo and sum make the checksums that the kernel wrote', () => {
  // Outer IPv4 at 14, outer UDP at 34 (length 98).
  const outer = checksum.pseudo(
    ipv4.source(TCP_FRAME, 14),
    ipv4.destination(TCP_FRAME, 14),
    ipv4.UDP,
    98,
  );
  assert.equal(checksum.add(outer, checksum.sum(TCP_FRAME, 34, 98)), 0xffff);
  const inner = checksum.pseudo(
    ipv4.source(UDP_DATAGRAM, AT_IPV4),
    ipv4.destination(UDP_DATAGRAM, AT_IPV4),
    ipv4.UDP,
    24,
  );
  assert.equal(checksum.add(inner, checksum.sum(UDP_DATAGRAM, AT_TRANSPORT, 24)), 0xffff);
});

test('pseudo takes the highest addresses', () => {
  assert.equal(checksum.pseudo(-1, -1, 255, 65535), oracle(hex('ffffffffffffffff00ffffff'), 0, 12));
});
