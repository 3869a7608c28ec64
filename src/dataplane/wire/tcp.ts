/**
 * TCP (RFC 9293).
 *
 *    0        2        4          8          12       13      14       16    18      20
 *    | source | dest   | sequence | ack      | offset | flags | window | sum | urgent | options
 *
 * Call `check` once; after it the readers may be called without looking.
 */
import { read16, read32, write16, write32 } from './words.js';

/** Bytes of a header without options. */
export const HEADER = 20;

const SOURCE = 0;
const DESTINATION = 2;
const SEQUENCE = 4;
const DATA_OFFSET = 12;
const FLAGS = 13;
/** Where the checksum stands in the header; also what a vnet header says of TCP. */
export const SUM_OFFSET = 16;

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;
export const ECE = 0x40;
export const CWR = 0x80;

/** Whether [at, end) holds a whole TCP header with its options. */
export function check(bytes: Uint8Array, at: number, end: number): boolean {
  const there = end - at;
  if (there < HEADER) return false;
  const header = headerLength(bytes, at);
  return header >= HEADER && header <= there;
}

export function sourcePort(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + SOURCE);
}

export function destinationPort(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + DESTINATION);
}

/** Unsigned, 0 to 2^32 - 1. */
export function sequence(bytes: Uint8Array, at: number): number {
  return sequenceWord(bytes, at) >>> 0;
}

/** As int32, which never takes a heap number: to be compared, and added to with `| 0`. */
export function sequenceWord(bytes: Uint8Array, at: number): number {
  return read32(bytes, at + SEQUENCE);
}

/** Header with options, in bytes: 20 to 60. */
export function headerLength(bytes: Uint8Array, at: number): number {
  return (bytes[at + DATA_OFFSET]! >>> 4) << 2;
}

/** The eight flags from CWR down to FIN; URG (0x20) has no use here. */
export function flags(bytes: Uint8Array, at: number): number {
  return bytes[at + FLAGS]!;
}

export function sum(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + SUM_OFFSET);
}

/** Takes the number modulo 2^32, so that a caller may add to it without care. Voids the checksum. */
export function setSequence(bytes: Uint8Array, at: number, value: number): void {
  write32(bytes, at + SEQUENCE, value);
}

/** Voids the checksum. */
export function setFlags(bytes: Uint8Array, at: number, value: number): void {
  bytes[at + FLAGS] = value;
}

/** Writes the field as given: the finished checksum, or the pseudo-header's sum to be finished. */
export function setSum(bytes: Uint8Array, at: number, value: number): void {
  write16(bytes, at + SUM_OFFSET, value);
}
