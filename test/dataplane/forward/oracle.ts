/**
 * What the kernel does with a super-packet, the slow and obvious way: segmentation as in
 * net/ipv4/tcp_offload.c and udp_offload.c, on arrays, and what a receiver behind the TUN sees.
 */
import {
  CWR,
  FIN,
  GSO_TCPV4,
  GSO_UDP_L4,
  get16,
  get32,
  ihl,
  PSH,
  pseudoOf,
  put16,
  put32,
  seal,
  sealTransport,
  sumAt,
  thl,
} from './packets.js';

/** The packets that a super-packet stands for, each with finished checksums. */
export function segment(packet: Uint8Array, gsoSize: number): Uint8Array[] {
  const ipLength = ihl(packet);
  const headers = ipLength + thl(packet);
  const payload = packet.subarray(headers);
  const segments: Uint8Array[] = [];
  for (let from = 0; from < payload.length; from += gsoSize) {
    const slice = payload.subarray(from, from + gsoSize);
    const one = new Uint8Array(headers + slice.length);
    one.set(packet.subarray(0, headers));
    one.set(slice, headers);
    put16(one, 2, one.length);
    put16(one, 4, (get16(packet, 4) + segments.length) % 65536);
    if (packet[9] === 6) {
      put32(one, ipLength + 4, (get32(packet, ipLength + 4) + from) % 2 ** 32);
      const last = from + slice.length === payload.length;
      if (!last) one[ipLength + 13]! &= ~(FIN | PSH);
      if (from > 0) one[ipLength + 13]! &= ~CWR;
    } else {
      put16(one, ipLength + 4, 8 + slice.length);
    }
    segments.push(sealTransport(seal(one)));
  }
  return segments;
}

export interface Written {
  readonly vnet: Uint8Array;
  readonly packet: Uint8Array;
}

/**
 * The packets that a receiver behind the TUN sees. Throws where the kernel would refuse the
 * write (include/linux/virtio_net.h, virtio_net_hdr_to_skb) or would compute nonsense.
 */
export function receive({ vnet, packet }: Written): Uint8Array[] {
  const [flags, type] = [vnet[0]!, vnet[1]! & 0x7f];
  const [headerLength, gsoSize, start, offset] = [2, 4, 6, 8].map(
    (at) => vnet[at]! + 256 * vnet[at + 1]!,
  ) as [number, number, number, number];
  if (get16(packet, 2) !== packet.length) throw new Error('total length is not the length');
  if ((flags & ~1) !== 0) throw new Error(`vnet flags ${flags}`);
  if (type === 0) {
    if (flags === 0) return [packet];
    if (start !== ihl(packet) || offset !== (packet[9] === 17 ? 6 : 16)) {
      throw new Error(`checksum at ${start} + ${offset}`);
    }
    if (!isPartial(packet)) throw new Error('the sum to be finished is not begun');
    return [sealTransport(packet.slice())];
  }
  if (flags !== 1) throw new Error('a super-packet without NEEDS_CSUM');
  if (!isPartial(packet)) throw new Error('the sum to be finished is not begun');
  if (type !== (packet[9] === 6 ? GSO_TCPV4 : GSO_UDP_L4)) throw new Error(`gso type ${type}`);
  if (start !== ihl(packet) || offset !== (type === GSO_TCPV4 ? 16 : 6)) {
    throw new Error(`checksum at ${start} + ${offset}`);
  }
  if (gsoSize === 0 || headerLength !== ihl(packet) + thl(packet)) {
    throw new Error(`gso size ${gsoSize}, header length ${headerLength}`);
  }
  // UDP_MAX_SEGMENTS of older kernels; the length must stand in the UDP header as well.
  if (type === GSO_UDP_L4) {
    const payload = packet.length - headerLength;
    if (payload > 64 * gsoSize || get16(packet, ihl(packet) + 4) !== payload + 8) {
      throw new Error(`${payload} bytes of UDP in ${gsoSize} each`);
    }
  }
  return segment(packet, gsoSize);
}

/** With the checksum that the kernel would put in place of an incomplete one. */
export function finished(packet: Uint8Array): Uint8Array {
  return isPartial(packet) ? sealTransport(packet.slice()) : packet;
}

export function isPartial(packet: Uint8Array): boolean {
  return (get16(packet, 6) & 0x3fff) === 0 && get16(packet, sumAt(packet)) === pseudoOf(packet);
}

/** Where DF is set the id means nothing (RFC 6864) and is counted up anew. */
export function withoutId(packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  if ((copy[6]! & 0x40) !== 0) put16(copy, 4, 0);
  return seal(copy);
}
