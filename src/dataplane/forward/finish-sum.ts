/** Completes a checksum whose field holds the pseudo-header's sum (skb_checksum_help). */
import * as checksum from '../wire/checksum.js';

/**
 * For the packet at [at, at + total): sums from `start` to the end and writes the result at
 * `field`, both offsets from `at`. False when the field does not lie in the packet.
 */
export function finishSum(
  bytes: Uint8Array,
  sum: (at: number, length: number) => number,
  at: number,
  total: number,
  start: number,
  field: number,
): boolean {
  if (field + 2 > total || start > field) return false;
  const complete = checksum.complement(sum(at + start, total - start));
  // As the kernel: a computed 0 goes out as ffff, for TCP too.
  const value = complete === 0 ? 0xffff : complete;
  bytes[at + field] = value >>> 8;
  bytes[at + field + 1] = value;
  return true;
}
