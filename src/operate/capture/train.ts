/**
 * Where to cut a train. What leaves by UDP_SEGMENT, and what UDP_GRO merged on arrival, a capture on
 * that host shows as one datagram of up to 64 KiB. The lane is told by the kernel how long each of
 * the merged ones is; a capture does not say, so it is told here from the frames themselves: all of
 * a train but the last have one length, so a frame begins at every multiple of it.
 *
 *     | VXLAN, Ethernet, IPv4 … | VXLAN, Ethernet, IPv4 … | VXLAN, Ethernet, IPv4 |
 *     0                         size                      2 * size
 *
 * A frame's beginning is that of the first one, or that of any frame for us: VXLAN header with the
 * VNI flag and destination MAC, 14 bytes. Where the first packet's own length leads to another beginning, that is
 * the size. Where it does not (Ethernet filled it up, its length lies), it is the least size with a
 * beginning at each of its multiples.
 */
import * as ethernet from '../../dataplane/wire/ethernet.js';
import * as ipv4 from '../../dataplane/wire/ipv4.js';
import * as vxlan from '../../dataplane/wire/vxlan.js';

/** Before an inner packet. */
const ENCAPSULATION = vxlan.HEADER + ethernet.HEADER;
/** VXLAN header and destination MAC. */
const BEGINNING = vxlan.HEADER + 6;
/** Datagrams in a train, at most: UDP_MAX_SEGMENTS from Linux 6.9. */
const MOST = 128;
const ARP = 28;
const IPV6 = 40;

/** How a frame for a host begins. */
export function beginningFor(vni: number, mac: Uint8Array): Buffer {
  const bytes = Buffer.alloc(BEGINNING);
  vxlan.write(bytes, 0, vni);
  bytes.set(mac, vxlan.HEADER);
  return bytes;
}

/**
 * The length of each datagram of a train but the last; 0 for what is one datagram.
 *
 * @param payload of the outer UDP datagram
 * @param ours as `beginningFor` made it
 */
export function trainSize(payload: Buffer, ours: Buffer): number {
  const { length } = payload;
  if (length < 2 * BEGINNING) return 0;
  const needed = ENCAPSULATION + innerLength(payload);
  // One packet that fills the datagram, be it a super-packet with whatever inside.
  if (needed === length) return 0;
  const first = vxlan.hasVniFlag(payload, 0) ? payload.subarray(0, BEGINNING) : ours;
  const begins = (at: number) =>
    payload.compare(first, 0, BEGINNING, at, at + BEGINNING) === 0 ||
    payload.compare(ours, 0, BEGINNING, at, at + BEGINNING) === 0;

  if (hasBeginning(needed, length, begins)) return possible(needed);
  for (let size = next(needed < length ? needed : BEGINNING); size > 0; size = next(size + 1)) {
    if (isEvery(size, length, begins)) return possible(size);
  }
  return 0;

  /** No kernel merges more than so many. */
  function possible(size: number): number {
    return size * MOST >= length ? size : 0;
  }

  /** The next place from `from` on where a frame begins; -1: there is none. */
  function next(from: number): number {
    const [one, other] = [payload.indexOf(first, from), payload.indexOf(ours, from)];
    return one < 0 || other < 0 ? Math.max(one, other) : Math.min(one, other);
  }
}

/** Bytes of the first frame's packet, as that says; 0 where it does not. */
function innerLength(payload: Buffer): number {
  if (payload.length < ENCAPSULATION + ipv4.HEADER) return 0;
  switch (ethernet.type(payload, vxlan.HEADER)) {
    case ethernet.IPV4:
      return ipv4.totalLength(payload, ENCAPSULATION);
    case ethernet.IPV6:
      return IPV6 + payload.readUInt16BE(ENCAPSULATION + 4);
    case ethernet.ARP:
      return ARP;
    default:
      return 0;
  }
}

/** Whether a frame begins at one of the multiples of `size` at least. */
function hasBeginning(size: number, length: number, begins: (at: number) => boolean): boolean {
  for (let at = size; at + BEGINNING <= length; at += size) if (begins(at)) return true;
  return false;
}

/** Whether a frame begins at each of them; the last may be too short to tell. */
function isEvery(size: number, length: number, begins: (at: number) => boolean): boolean {
  for (let at = size; at + BEGINNING <= length; at += size) if (!begins(at)) return false;
  return true;
}
