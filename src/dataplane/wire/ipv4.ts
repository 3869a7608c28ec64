/**
 * IPv4 (RFC 791).
 *
 *    0         1         2         4          6          8       9         10      12      16      20
 *    | ver,ihl | tos     | length  | id       | fragment | ttl   | protocol | sum   | source| dest  | options
 *
 * Call `check` once; after it the readers may be called without looking. An address is an
 * int32 everywhere (192.168.0.1 is negative), so it compares and hashes without a heap number.
 */
import { complement, sum as sumOf, update } from './checksum.js';
import { read16, read32, write16, write32 } from './words.js';

/** Bytes of a header without options. */
export const HEADER = 20;
/** What every link must carry (RFC 791). */
export const LEAST_MTU = 68;

export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;

const VERSION_AND_LENGTH = 0;
const TOS = 1;
const TOTAL = 2;
const ID = 4;
const FRAGMENT = 6;
const TTL = 8;
const PROTOCOL = 9;
const HEADER_SUM = 10;
const SOURCE = 12;
const DESTINATION = 16;

const DONT_FRAGMENT = 0x4000;
const MORE_FRAGMENTS = 0x2000;
const OFFSET_MASK = 0x1fff;

/** Why `check` refuses a packet; 0 when it does not. */
export type Fault = 0 | 1 | 2 | 3 | 4 | 5;
/** Fewer bytes than a header. */
export const BAD_SIZE = 1;
/** Not version 4. */
export const BAD_VERSION = 2;
/** The header length is below 20 bytes, or more than there is or than the total length. */
export const BAD_HEADER_LENGTH = 3;
/** The total length is more than there is. */
export const BAD_LENGTH = 4;
/** The header checksum is wrong. */
export const BAD_SUM = 5;

/**
 * Whether [at, end) starts with a sound IPv4 packet. The packet may be shorter than the
 * range (padding behind it), never longer. Of several faults the first in the order of the
 * constants is told.
 */
export function check(bytes: Uint8Array, at: number, end: number): Fault {
  const there = end - at;
  if (there < HEADER) return BAD_SIZE;
  if (version(bytes, at) !== 4) return BAD_VERSION;
  const header = headerLength(bytes, at);
  const total = totalLength(bytes, at);
  if (header < HEADER || header > there || header > total) return BAD_HEADER_LENGTH;
  if (total > there) return BAD_LENGTH;
  if (sumOf(bytes, at, header) !== 0xffff) return BAD_SUM;
  return 0;
}

export function version(bytes: Uint8Array, at: number): number {
  return bytes[at + VERSION_AND_LENGTH]! >>> 4;
}

/** Header with options, in bytes: 20 to 60. */
export function headerLength(bytes: Uint8Array, at: number): number {
  return (bytes[at + VERSION_AND_LENGTH]! & 0x0f) << 2;
}

/** DSCP in the upper six bits, ECN in the lower two. */
export function tos(bytes: Uint8Array, at: number): number {
  return bytes[at + TOS]!;
}

/** Header and payload, in bytes. */
export function totalLength(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + TOTAL);
}

export function id(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + ID);
}

/** The 16-bit word of three flags and the offset in units of 8 bytes. */
export function fragment(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + FRAGMENT);
}

/** Whether this is a piece of a packet, the first one included. */
export function isFragment(bytes: Uint8Array, at: number): boolean {
  return (fragment(bytes, at) & (MORE_FRAGMENTS | OFFSET_MASK)) !== 0;
}

/** Whether this is a piece without the transport header. */
export function isLaterFragment(bytes: Uint8Array, at: number): boolean {
  return (fragment(bytes, at) & OFFSET_MASK) !== 0;
}

export function dontFragment(bytes: Uint8Array, at: number): boolean {
  return (fragment(bytes, at) & DONT_FRAGMENT) !== 0;
}

export function protocol(bytes: Uint8Array, at: number): number {
  return bytes[at + PROTOCOL]!;
}

/** The header checksum. */
export function sum(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + HEADER_SUM);
}

export function source(bytes: Uint8Array, at: number): number {
  return read32(bytes, at + SOURCE);
}

export function destination(bytes: Uint8Array, at: number): number {
  return read32(bytes, at + DESTINATION);
}

/** Writes a header without options, its sum included; TTL 64, TOS 0, no fragment. */
export function write(
  bytes: Uint8Array,
  at: number,
  total: number,
  id: number,
  protocol: number,
  from: number,
  to: number,
): void {
  bytes[at + VERSION_AND_LENGTH] = 0x45;
  bytes[at + TOS] = 0;
  write16(bytes, at + TOTAL, total);
  write16(bytes, at + ID, id);
  write16(bytes, at + FRAGMENT, 0);
  bytes[at + TTL] = 64;
  bytes[at + PROTOCOL] = protocol;
  write32(bytes, at + SOURCE, from);
  write32(bytes, at + DESTINATION, to);
  seal(bytes, at);
}

/** Writes the TOS byte and keeps the header checksum right (RFC 1624). */
export function setTos(bytes: Uint8Array, at: number, value: number): void {
  const before = read16(bytes, at + VERSION_AND_LENGTH);
  bytes[at + TOS] = value;
  setSum(bytes, at, update(sum(bytes, at), before, read16(bytes, at + VERSION_AND_LENGTH)));
}

/** Voids `check` and the header checksum: `seal` when all fields are set. */
export function setTotalLength(bytes: Uint8Array, at: number, value: number): void {
  write16(bytes, at + TOTAL, value);
}

/** Voids `check` and the header checksum: `seal` when all fields are set. */
export function setId(bytes: Uint8Array, at: number, value: number): void {
  write16(bytes, at + ID, value);
}

/** Voids `check` unless the value is the right one, as `seal` computes it. */
export function setSum(bytes: Uint8Array, at: number, value: number): void {
  write16(bytes, at + HEADER_SUM, value);
}

/** Computes the header checksum anew and writes it. */
export function seal(bytes: Uint8Array, at: number): void {
  setSum(bytes, at, 0);
  setSum(bytes, at, complement(sumOf(bytes, at, headerLength(bytes, at))));
}

/** A dotted quad as an int32, or undefined: four decimal numbers, no leading zeros, nothing else. */
export function parseAddress(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let address = 0;
  for (const part of parts) {
    if (!/^(?:0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255) return undefined;
    address = (address << 8) | Number(part);
  }
  return address;
}

export function formatAddress(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** 224.0.0.0/4. */
export function isMulticast(address: number): boolean {
  return address >>> 28 === 0xe;
}

/** 127.0.0.0/8. */
export function isLoopback(address: number): boolean {
  return address >>> 24 === 127;
}

/** 255.255.255.255. */
export function isLimitedBroadcast(address: number): boolean {
  return (address | 0) === -1;
}

/** 0.0.0.0/8: "this host on this network" (RFC 1122, section 3.2.1.3), never a destination. */
export function isUnspecified(address: number): boolean {
  return address >>> 24 === 0;
}
