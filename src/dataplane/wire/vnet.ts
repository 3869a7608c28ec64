/**
 * The header in front of every packet read from or written to a TUN opened with IFF_VNET_HDR:
 * virtio_net_hdr (virtio 1.2, section 5.1.6), 10 bytes.
 *
 *    0       1          2               4          6                8                 10
 *    | flags | gso type | header length | gso size | checksum start | checksum offset | packet
 *
 * In the host's byte order, which is little-endian on every machine weft runs on.
 * The readers do not look how much there is: HEADER bytes must be.
 */

export const HEADER = 10;

const FLAGS = 0;
const GSO_TYPE = 1;
const HEADER_LENGTH = 2;
const GSO_SIZE = 4;
const SUM_START = 6;
const SUM_OFFSET = 8;

/** Flags. NEEDS_CSUM: the checksum field holds the pseudo-header sum only, whoever sends it on finishes it. */
export const NEEDS_CSUM = 1;

/** GSO types; ECN is a bit added to a TCP type. */
export const NONE = 0;
export const TCPV4 = 1;
export const UDP_L4 = 5;
export const ECN = 0x80;

export function flags(bytes: Uint8Array, at: number): number {
  return bytes[at + FLAGS]!;
}

export function gsoType(bytes: Uint8Array, at: number): number {
  return bytes[at + GSO_TYPE]!;
}

/** A hint only: for a forwarded packet the kernel gives the whole linear part. Compute it instead. */
export function headerLength(bytes: Uint8Array, at: number): number {
  return readLittle16(bytes, at + HEADER_LENGTH);
}

/** Payload bytes of each segment but the last. */
export function gsoSize(bytes: Uint8Array, at: number): number {
  return readLittle16(bytes, at + GSO_SIZE);
}

/** Where summing starts, from the start of the packet: the transport header. */
export function checksumStart(bytes: Uint8Array, at: number): number {
  return readLittle16(bytes, at + SUM_START);
}

/** Where the sum goes, from `checksumStart`. */
export function checksumOffset(bytes: Uint8Array, at: number): number {
  return readLittle16(bytes, at + SUM_OFFSET);
}

/** One packet with a finished checksum: all zero. */
export function clear(bytes: Uint8Array, at: number): void {
  for (let i = at; i < at + HEADER; i += 1) bytes[i] = 0;
}

/**
 * One packet whose checksum holds the pseudo-header's sum only: summed from `start` on (the
 * transport header) it goes to `start + offset`.
 */
export function writeSingle(bytes: Uint8Array, at: number, start: number, offset: number): void {
  writeSuper(bytes, at, NONE, start, offset, 0, 0);
}

/**
 * A super-packet: the same, to be cut behind its `headers` bytes into segments of `size` bytes
 * each, the last of which may be shorter. `type`: TCPV4, with ECN or not, or UDP_L4.
 */
export function writeSuper(
  bytes: Uint8Array,
  at: number,
  type: number,
  start: number,
  offset: number,
  headers: number,
  size: number,
): void {
  bytes[at + FLAGS] = NEEDS_CSUM;
  bytes[at + GSO_TYPE] = type;
  writeLittle16(bytes, at + HEADER_LENGTH, headers);
  writeLittle16(bytes, at + GSO_SIZE, size);
  writeLittle16(bytes, at + SUM_START, start);
  writeLittle16(bytes, at + SUM_OFFSET, offset);
}

function readLittle16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

function writeLittle16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}
