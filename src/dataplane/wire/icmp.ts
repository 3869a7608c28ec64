/**
 * ICMP (RFC 792).
 *
 *    0      1      2     4      8
 *    | type | code | sum | rest | data
 *
 * Call `check` once; after it the readers may be called without looking.
 */
import { read16 } from './words.js';

export const HEADER = 8;

const TYPE = 0;
const CODE = 1;
/** Where the checksum stands in the header. It covers header and data, no pseudo-header. */
export const SUM_OFFSET = 2;

/** Types. */
export const ECHO_REPLY = 0;
export const UNREACHABLE = 3;
export const ECHO_REQUEST = 8;
/** Code of UNREACHABLE: the packet does not fit and may not be fragmented (RFC 1191). */
export const FRAGMENTATION_NEEDED = 4;

/** Whether [at, end) holds a whole ICMP header. */
export function check(_bytes: Uint8Array, at: number, end: number): boolean {
  return end - at >= HEADER;
}

export function type(bytes: Uint8Array, at: number): number {
  return bytes[at + TYPE]!;
}

export function code(bytes: Uint8Array, at: number): number {
  return bytes[at + CODE]!;
}

export function sum(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + SUM_OFFSET);
}
