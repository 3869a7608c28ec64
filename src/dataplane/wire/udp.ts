/**
 * UDP (RFC 768).
 *
 *    0        2      4        6     8
 *    | source | dest | length | sum | data
 *
 * Call `check` once; after it the readers may be called without looking.
 */
import { read16, write16 } from './words.js';

export const HEADER = 8;

const SOURCE = 0;
const DESTINATION = 2;
const LENGTH = 4;
/** Where the checksum stands in the header; also what a vnet header says of UDP. */
export const SUM_OFFSET = 6;

/** Whether [at, end) holds a whole UDP header whose length fits. A length of 0 (a jumbogram) does not. */
export function check(bytes: Uint8Array, at: number, end: number): boolean {
  const there = end - at;
  if (there < HEADER) return false;
  const claimed = length(bytes, at);
  return claimed >= HEADER && claimed <= there;
}

export function sourcePort(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + SOURCE);
}

export function destinationPort(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + DESTINATION);
}

/** Header and data, in bytes. */
export function length(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + LENGTH);
}

/** 0 means that the sender computed none. */
export function sum(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + SUM_OFFSET);
}

/** Voids `check` and the checksum, which covers the length twice. */
export function setLength(bytes: Uint8Array, at: number, value: number): void {
  write16(bytes, at + LENGTH, value);
}

/** Writes the field as given; a computed checksum goes through `encodeSum` first. */
export function setSum(bytes: Uint8Array, at: number, value: number): void {
  write16(bytes, at + SUM_OFFSET, value);
}

/** A computed checksum as it goes out: 0 becomes ffff, since 0 means "none" (RFC 768). */
export function encodeSum(computed: number): number {
  return computed === 0 ? 0xffff : computed;
}
