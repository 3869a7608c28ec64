/**
 * IPv6 (RFC 8200): as much as it takes to recognise a packet of it.
 *
 *    0              4         6          7         8         24        40
 *    | ver,tc,label | payload | next hdr | hop lim | source  | dest    |
 *
 * Call `check` once; after it the readers may be called without looking.
 */
import { read16 } from './words.js';

export const HEADER = 40;

const PAYLOAD = 4;
const NEXT_HEADER = 6;

/** Whether [at, end) holds an IPv6 header whose payload fits. A jumbogram (length 0) passes as empty. */
export function check(bytes: Uint8Array, at: number, end: number): boolean {
  const there = end - at;
  if (there < HEADER || version(bytes, at) !== 6) return false;
  return HEADER + payloadLength(bytes, at) <= there;
}

export function version(bytes: Uint8Array, at: number): number {
  return bytes[at]! >>> 4;
}

/** Bytes behind the fixed header, extension headers included. */
export function payloadLength(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + PAYLOAD);
}

export function nextHeader(bytes: Uint8Array, at: number): number {
  return bytes[at + NEXT_HEADER]!;
}
