/**
 * What a host must see of what it receives, the slow and obvious way, on arrays: which frames a
 * datagram holds, which of them the policy lets in, and the packets that come of those.
 */
import type { Accept } from '../../../src/dataplane/forward/inbound.js';
import type { ReceivedDatagram } from '../../../src/dataplane/io/memory-pair.js';
import { finished, isPartial, segment } from './oracle.js';
import {
  get16,
  get32,
  headerSumIsRight,
  ihl,
  ip,
  OUR_MAC,
  OVERHEAD,
  PEER_B,
  PEER_C,
  put16,
  seal,
  thl,
  transportSumIsRight,
} from './packets.js';

export interface Host {
  readonly accept: Accept;
  readonly mtu: number;
}

/** Who has which addresses: [first, mask, outer address]; ours have none. */
const SUBNETS: readonly (readonly [string, number, number | undefined])[] = [
  ['10.5.52.0', 0xffffff00, undefined],
  ['10.5.72.0', 0xffffff00, PEER_B],
  ['10.5.73.0', 0xffffff00, PEER_B],
  ['10.5.90.0', 0xffffff00, PEER_C],
];

function ownerOf(address: number): 'us' | 'nobody' | number {
  const found = SUBNETS.find(([first, mask]) => (address & mask) === ip(first));
  if (found === undefined) return 'nobody';
  return found[2] ?? 'us';
}

/** The packets that a receiver sees of this datagram. */
export function expected(host: Host, datagram: ReceivedDatagram): Uint8Array[] {
  if (host.accept !== 'any' && ![PEER_B, PEER_C].includes(datagram.address)) return [];
  const { payload, segment: size = 0, tos = 0 } = datagram;
  if (size === 0 || size >= payload.length) return ofFrame(host, payload, datagram, tos, 0);
  if (isUdpSuper(payload, size)) {
    // What could be a train as well is neither.
    if (encapsulationIsRight(host, payload.subarray(size))) return [];
    return ofFrame(host, payload, datagram, tos, size);
  }
  const frames: Uint8Array[] = [];
  for (let at = 0; at < payload.length; at += size) frames.push(payload.slice(at, at + size));
  return frames.flatMap((frame) => ofFrame(host, frame, datagram, tos, 0));
}

/** One inner UDP packet of several datagrams of `size` bytes, as a kernel peer leaves it. */
function isUdpSuper(payload: Uint8Array, size: number): boolean {
  const packet = payload.slice(OVERHEAD);
  if (!isSound(packet) || get16(packet, 2) !== packet.length) return false;
  if (packet[9] !== 17 || !isWhole(packet)) return false;
  const data = packet.length - ihl(packet) - 8;
  if (data < 0 || get16(packet, ihl(packet) + 4) !== data + 8) return false;
  return size < data && data <= 128 * size && isPartial(packet);
}

const isWhole = (packet: Uint8Array): boolean => (get16(packet, 6) & 0x3fff) === 0;

/** A sound header, and no more said than is there. */
function isSound(packet: Uint8Array): boolean {
  if (packet.length < 20 || packet[0]! >> 4 !== 4) return false;
  const total = get16(packet, 2);
  if (ihl(packet) < 20 || ihl(packet) > total || total > packet.length) return false;
  return headerSumIsRight(packet);
}

function encapsulationIsRight(host: Host, frame: Uint8Array): boolean {
  if (frame.length < OVERHEAD || (frame[0]! & 8) === 0) return false;
  if (get32(frame, 4) >>> 8 !== 1 || get16(frame, 20) !== 0x0800) return false;
  const isOurs = (at: number): boolean => OUR_MAC.every((byte, i) => frame[at + i] === byte);
  const toGroup = (frame[8]! & 1) === 1;
  return (isOurs(8) || (toGroup && host.accept === 'any')) && !isOurs(14);
}

function ofFrame(
  host: Host,
  frame: Uint8Array,
  { address }: ReceivedDatagram,
  tos: number,
  size: number,
): Uint8Array[] {
  if (!encapsulationIsRight(host, frame)) return [];
  const there = frame.slice(OVERHEAD);
  if (!isSound(there)) return [];
  const packet = there.slice(0, get16(there, 2));
  if (host.accept !== 'any' && !addressesAreRight(host, packet, address)) return [];
  const inner = packet[1]! & 3;
  const outer = tos & 3;
  if (inner === 0 && outer === 3) return [];
  let result = inner;
  if (inner !== 0 && outer === 3) result = 3;
  else if (inner === 2 && outer === 1) result = 1;
  if (result !== inner) {
    packet[1] = (packet[1]! & 0xfc) | result;
    seal(packet);
  }
  return delivered(host, packet, size);
}

function addressesAreRight(host: Host, packet: Uint8Array, sender: number): boolean {
  const source = get32(packet, 12) | 0;
  const destination = get32(packet, 16) | 0;
  const first = source >>> 24;
  if (first === 0 || first === 127 || (first >= 224 && first < 240) || source === -1) return false;
  const owner = ownerOf(source);
  if (owner === 'us' || ownerOf(destination) !== 'us') return false;
  return owner === sender || (owner === 'nobody' && host.accept === 'peers');
}

/** Cut to what the TUN's MTU takes, the checksums finished. */
function delivered({ mtu }: Host, packet: Uint8Array, size: number): Uint8Array[] {
  const isTcp = packet[9] === 6 && isWhole(packet) && tcpFits(packet);
  const isUdp = packet[9] === 17 && isWhole(packet) && udpFits(packet);
  if (packet.length <= mtu && size === 0) return [isTcp || isUdp ? finished(packet) : packet];
  const headers = ihl(packet) + (isTcp || isUdp ? thl(packet) : 0);
  const gso = isTcp ? mtu - headers : size;
  if (!(isTcp || (isUdp && size > 0)) || gso <= 0 || gso > mtu - headers) return [];
  if (packet.length <= headers) return [];
  if (!isPartial(packet) && !transportSumIsRight(packet)) return [];
  return segment(packet, gso);
}

function tcpFits(packet: Uint8Array): boolean {
  const there = packet.length - ihl(packet);
  return there >= 20 && thl(packet) >= 20 && thl(packet) <= there;
}

function udpFits(packet: Uint8Array): boolean {
  const there = packet.length - ihl(packet);
  const length = there >= 8 ? get16(packet, ihl(packet) + 4) : 0;
  return length >= 8 && length <= there;
}

/** The same packet with what may differ between two right forms of it put into one. */
export function plain(packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  // Where DF is set the id means nothing (RFC 6864), and a merge counts it up anew.
  if ((copy[6]! & 0x40) !== 0) put16(copy, 4, 0);
  seal(copy);
  const at = ihl(copy) + (copy[9] === 17 ? 6 : 16);
  const isTransport = (copy[9] === 6 || copy[9] === 17) && isWhole(copy) && at + 2 <= copy.length;
  // 0 and ffff are the same sum.
  if (isTransport && transportSumIsRight(copy) && get16(copy, at) === 0) put16(copy, at, 0xffff);
  return copy;
}
