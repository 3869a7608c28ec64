/** Whether a datagram that the kernel tells a segment size of is a train, or one inner packet. */
import { ENCAPSULATION } from '../io/memory.js';
import * as ipv4 from '../wire/ipv4.js';
import * as udp from '../wire/udp.js';
import { isPartial } from './transport-sum.js';

/** Datagrams in one UDP super-packet of a peer: what a kernel makes (UDP_MAX_SEGMENTS from 6.9). */
const PEER_DATAGRAMS_MAX = 128;

/**
 * Whether a datagram with a segment size is no train but one inner packet: with inner UDP
 * segmentation at the peer, what the kernel tells is the inner size. Such a packet fills the
 * datagram by its IPv4 and its UDP length, and its checksum is unfinished. A frame of a train
 * whose length lies has not all of that by chance.
 */
export function isOnePacket(
  bytes: Uint8Array,
  offset: number,
  length: number,
  segment: number,
): boolean {
  const at = offset + ENCAPSULATION;
  const end = offset + length;
  const total = end - at;
  if (total < ipv4.HEADER || ipv4.totalLength(bytes, at) !== total) return false;
  if (ipv4.check(bytes, at, end) !== 0) return false;
  if (ipv4.protocol(bytes, at) !== ipv4.UDP || ipv4.isFragment(bytes, at)) return false;
  const transport = at + ipv4.headerLength(bytes, at);
  const payload = end - transport - udp.HEADER;
  return (
    udp.check(bytes, transport, end) &&
    udp.length(bytes, transport) === end - transport &&
    segment < payload &&
    payload <= PEER_DATAGRAMS_MAX * segment &&
    isPartial(bytes, at, total)
  );
}
