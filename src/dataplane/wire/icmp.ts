/**
 * ICMP (RFC 792).
 *
 *    0      1      2     4      8
 *    | type | code | sum | rest | data
 *
 * The reader does not look how much there is.
 */
import { complement, sum as sumOf } from './checksum.js';
import { write16, write32 } from './words.js';

export const HEADER = 8;
/** What an error quotes of the packet it is about: its IPv4 header, and so many bytes more. */
export const QUOTED = 8;

const TYPE = 0;
const CODE = 1;
const REST = 4;
/** It covers header and data, no pseudo-header. */
const SUM = 2;

/** Types. */
const UNREACHABLE = 3;
const SOURCE_QUENCH = 4;
const REDIRECT = 5;
const TIME_EXCEEDED = 11;
const PARAMETER_PROBLEM = 12;
/** Code of UNREACHABLE: the packet does not fit and may not be fragmented (RFC 1191). */
const FRAGMENTATION_NEEDED = 4;

export function type(bytes: Uint8Array, at: number): number {
  return bytes[at + TYPE]!;
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
  write16(bytes, at + SUM, 0);
  write16(bytes, at + SUM, complement(sumOf(bytes, at, length)));
}
