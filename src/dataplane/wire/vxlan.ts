/**
 * VXLAN (RFC 7348, section 5).
 *
 *    0       1          4     7          8
 *    | flags | reserved | VNI | reserved | inner Ethernet frame
 *
 * The readers do not look how much there is: HEADER bytes must be.
 */
import { write32 } from './words.js';

export const HEADER = 8;

const FLAGS = 0;
const RESERVED = 1;
const VNI = 4;
const RESERVED_LAST = 7;

/** The I flag: the VNI is valid. It must be set. */
const VNI_FLAG = 0x08;

export function hasVniFlag(bytes: Uint8Array, at: number): boolean {
  return (bytes[at + FLAGS]! & VNI_FLAG) !== 0;
}

/** 0 to 2^24 - 1. */
export function vni(bytes: Uint8Array, at: number): number {
  return (bytes[at + VNI]! << 16) | (bytes[at + VNI + 1]! << 8) | bytes[at + VNI + 2]!;
}

/**
 * Whether any bit is set beside the I flag and the VNI. The RFC says to ignore them; whoever
 * sets them means an extension (group policy, generic protocol) that is not spoken here.
 */
export function reservedBitsSet(bytes: Uint8Array, at: number): boolean {
  return (
    ((bytes[at + FLAGS]! & ~VNI_FLAG) |
      bytes[at + RESERVED]! |
      bytes[at + RESERVED + 1]! |
      bytes[at + RESERVED + 2]! |
      bytes[at + RESERVED_LAST]!) !==
    0
  );
}

/** Writes the whole header: I flag, VNI, and 0 in all that is reserved. */
export function write(bytes: Uint8Array, at: number, value: number): void {
  write32(bytes, at + FLAGS, VNI_FLAG << 24);
  write32(bytes, at + VNI, value << 8);
}
