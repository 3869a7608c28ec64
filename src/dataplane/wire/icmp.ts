/**
 * ICMP (RFC 792).
 *
 *    0      1      2     4      8
 *    | type | code | sum | rest | data
 *
 * Call `check` once; after it the readers may be called without looking.
 */
import { complement, sum as sumOf } from './checksum.js';
import { read16, write16, write32 } from './words.js';

export const HEADER = 8;
/** What an error quotes of the packet it is about: its IPv4 header, and so many bytes more. */
export const QUOTED = 8;

const TYPE = 0;
const CODE = 1;
const REST = 4;
/** Where the checksum stands in the header. It covers header and data, no pseudo-header. */
export const SUM_OFFSET = 2;

/** Types. */
export const ECHO_REPLY = 0;
export const UNREACHABLE = 3;
export const ECHO_REQUEST = 8;
const SOURCE_QUENCH = 4;
const REDIRECT = 5;
const TIME_EXCEEDED = 11;
const PARAMETER_PROBLEM = 12;
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

/** Whether a message of this type is about another packet: no error is sent about such a one. */
export function isError(type: number): boolean {
  return (
    type === UNREACHABLE ||
    type === SOURCE_QUENCH ||
    type === REDIRECT ||
    type === TIME_EXCEEDED ||
    type === PARAMETER_PROBLEM
  );
}

/**
 * Writes the header of "fragmentation needed" in front of the quoted packet, which is there, and
 * the sum of both (RFC 1191 section 4). `length`: header and quote, in bytes.
 */
export function writeFragmentationNeeded(
  bytes: Uint8Array,
  at: number,
  length: number,
  mtu: number,
): void {
  bytes[at + TYPE] = UNREACHABLE;
  bytes[at + CODE] = FRAGMENTATION_NEEDED;
  write32(bytes, at + REST, mtu);
  write16(bytes, at + SUM_OFFSET, 0);
  write16(bytes, at + SUM_OFFSET, complement(sumOf(bytes, at, length)));
}
