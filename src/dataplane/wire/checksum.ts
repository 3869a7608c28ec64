/**
 * The Internet checksum (RFC 1071, RFC 1624).
 *
 * A "sum" here is the folded 16-bit ones'-complement sum in network order, not yet
 * complemented; a checksum field holds its complement. Sums of two parts add up with `add`
 * as long as every part but the last has an even length.
 */
import { read16 } from './words.js';

/** Folds the carries of an unsigned 32-bit number back in: 0 stays 0, all else is 1..ffff. */
export function fold(n: number): number {
  const once = (n & 0xffff) + (n >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** The ones'-complement sum of two folded sums. */
export function add(a: number, b: number): number {
  return fold(a + b);
}

/** What goes into a checksum field, out of a folded sum; and back. */
export function complement(n: number): number {
  return ~n & 0xffff;
}

/** The sum of [at, at + length), byte pair by byte pair; an odd last byte is padded with 0. */
export function sum(bytes: Uint8Array, at: number, length: number): number {
  // Stays below 2^31 up to 64 KiB, so V8 keeps it in an integer register.
  let total = 0;
  const even = at + (length & ~1);
  for (let i = at; i < even; i += 2) total += read16(bytes, i);
  if ((length & 1) !== 0) total += bytes[even]! << 8;
  return fold(total);
}

/**
 * The new checksum field after one 16-bit word it covers went from `oldWord` to `newWord`
 * (RFC 1624, equation 3: HC' = ~(~HC + ~m + m')). `field` is the field as it stands in the
 * header, complemented.
 */
export function update(field: number, oldWord: number, newWord: number): number {
  return complement(fold(complement(field) + complement(oldWord) + newWord));
}

/**
 * The sum of the IPv4 pseudo-header of TCP and UDP (RFC 793, RFC 768), folded and not
 * complemented: what a packet with an unfinished checksum carries in the field.
 * `length` counts the transport header and the payload.
 */
export function pseudo(
  source: number,
  destination: number,
  protocol: number,
  length: number,
): number {
  return fold(
    (source >>> 16) +
      (source & 0xffff) +
      (destination >>> 16) +
      (destination & 0xffff) +
      protocol +
      length,
  );
}

/** Swaps the two bytes of a 16-bit word. */
function swap(n: number): number {
  return ((n & 0xff) << 8) | (n >>> 8);
}

/**
 * Makes the fast form of `sum` over one memory: the same result for any `at` and `length`
 * (up to 64 KiB) in it. For little-endian machines, which are all that weft runs on.
 *
 * How: the sum does not mind the order of bytes as long as all words have the same one
 * (RFC 1071, section 2 B), nor whether two words are added as one 32-bit word, since
 * 2^16 = 1 (mod 2^16 - 1). So it adds aligned 32-bit words in the machine's order and swaps
 * once at the end. The words are added as doubles: 64 KiB of them stay far below 2^53, so
 * nothing is lost and no carry has to be looked at; this was the fastest form that needs no
 * WebAssembly (about 130 ns for 1408 bytes; in pairs of bytes 490 ns).
 *
 * When `at` is odd the words in memory straddle the packet's words: its first byte is the
 * high half of a little-endian word, which is already the network's order, so the swap is
 * left out.
 */
export function createSummer(buffer: ArrayBufferLike): (at: number, length: number) => number {
  const bytes = new Uint8Array(buffer);
  const halves = new Uint16Array(buffer, 0, buffer.byteLength >>> 1);
  const words = new Uint32Array(buffer, 0, buffer.byteLength >>> 2);

  return function sumFast(at: number, length: number): number {
    const end = at + length;
    let i = at;
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;

    // Up to the first whole word.
    if ((i & 1) !== 0 && i < end) {
      a += bytes[i]! << 8;
      i += 1;
    }
    if ((i & 2) !== 0 && end - i >= 2) {
      a += halves[i >>> 1]!;
      i += 2;
    }

    // Four accumulators, so that an addition need not wait for the one before it.
    if (end - i >= 4) {
      let w = i >>> 2;
      const last = end >>> 2;
      const rounds = last - 7;
      for (; w < rounds; w += 8) {
        a += words[w]!;
        b += words[w + 1]!;
        c += words[w + 2]!;
        d += words[w + 3]!;
        a += words[w + 4]!;
        b += words[w + 5]!;
        c += words[w + 6]!;
        d += words[w + 7]!;
      }
      for (; w < last; w += 1) a += words[w]!;
      i = last << 2;
    }

    // What is left behind the last whole word.
    if (end - i >= 2) {
      b += halves[i >>> 1]!;
      i += 2;
    }
    if (i < end) c += bytes[i]!;

    const total = a + b + (c + d);
    const high = Math.floor(total / 0x1_0000_0000);
    const low = total >>> 0;
    const folded = fold((low & 0xffff) + (low >>> 16) + high);
    return (at & 1) === 0 ? swap(folded) : folded;
  };
}
