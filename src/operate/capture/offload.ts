/**
 * What the kernel does around a TUN with offloads on, done here in plain code:
 *
 *   toTun      a captured packet -> the vnet header that the kernel would hand over with it
 *   fromTun    a packet written with a vnet header -> the packets that leave the kernel
 *   finished   a packet with an unfinished checksum -> what leaves the device
 *
 *   withOffload  a super-packet with its vnet header behind it, as weft itself keeps one
 *   offloadOf    that header again
 *
 * A capture taken on a host shows packets before their checksum is finished (the field holds
 * the pseudo-header's sum, "incomplete") and TCP super-packets longer than the MTU.
 */
import * as checksum from '../../dataplane/wire/checksum.js';
import * as ipv4 from '../../dataplane/wire/ipv4.js';
import * as tcp from '../../dataplane/wire/tcp.js';
import * as udp from '../../dataplane/wire/udp.js';
import * as vnet from '../../dataplane/wire/vnet.js';

/** What stands between a packet and its vnet header; in a capture they are bytes behind the packet. */
const MARK = Buffer.from('vnet');

/** A super-packet's bytes and what is kept behind them; any other packet alone. */
export function withOffload(packet: Uint8Array, header: Uint8Array): Uint8Array {
  const behind = offloadBehind(header);
  return behind === undefined ? packet : Buffer.concat([packet, behind]);
}

/** What is kept behind a super-packet: "vnet" and its vnet header; undefined behind any other packet. */
export function offloadBehind(header: Uint8Array): Uint8Array | undefined {
  if (vnet.gsoType(header, 0) === vnet.NONE) return undefined;
  return Buffer.concat([MARK, header]);
}

/** The vnet header in what lies behind a packet; undefined where there is none. */
export function offloadOf(behind: Buffer): Uint8Array | undefined {
  if (behind.length !== MARK.length + vnet.HEADER) return undefined;
  if (!behind.subarray(0, MARK.length).equals(MARK)) return undefined;
  return Uint8Array.from(behind.subarray(MARK.length));
}

/** State of a TCP or UDP checksum. `none`: another protocol, a fragment, UDP without a sum. */
export type SumState = 'none' | 'right' | 'incomplete' | 'wrong';

/** Looks at the transport checksum of an IPv4 packet that passes `ipv4.check`. */
export function sumState(bytes: Uint8Array, at: number): SumState {
  const field = sumField(bytes, at);
  if (field === undefined) return 'none';
  const transport = at + ipv4.headerLength(bytes, at);
  const length = ipv4.totalLength(bytes, at) - ipv4.headerLength(bytes, at);
  const written = (bytes[field]! << 8) | bytes[field + 1]!;
  if (written === 0 && ipv4.protocol(bytes, at) === ipv4.UDP) return 'none';
  const pseudo = pseudoSum(bytes, at, length);
  if (checksum.add(pseudo, checksum.sum(bytes, transport, length)) === 0xffff) return 'right';
  return written === pseudo ? 'incomplete' : 'wrong';
}

/**
 * The vnet header for a packet on its way into weft, or undefined when the kernel would not
 * hand over such a packet: longer than the MTU, and no TCP to be segmented.
 *
 * @param packet one IPv4 packet, nothing before or behind it; its checksum is made incomplete
 *   when it has to be segmented
 * @param mtu of the TUN
 */
export function toTun(packet: Uint8Array, mtu: number): Uint8Array | undefined {
  const header = new Uint8Array(vnet.HEADER);
  if (ipv4.check(packet, 0, packet.length) !== 0) return header;
  const state = sumState(packet, 0);
  const transport = ipv4.headerLength(packet, 0);
  const field = sumField(packet, 0);
  if (packet.length <= mtu) {
    if (state === 'incomplete' && field !== undefined) {
      vnet.writeSingle(header, 0, transport, field - transport);
    }
    return header;
  }
  if (ipv4.protocol(packet, 0) !== ipv4.TCP || (state !== 'right' && state !== 'incomplete')) {
    return undefined;
  }
  const headers = transport + tcp.headerLength(packet, transport);
  const size = mtu - headers;
  if (size <= 0 || headers >= packet.length) return undefined;
  tcp.setSum(packet, transport, pseudoSum(packet, 0, packet.length - transport));
  const congestion = (tcp.flags(packet, transport) & tcp.CWR) !== 0 ? vnet.ECN : 0;
  const type = vnet.TCPV4 | congestion;
  vnet.writeSuper(header, 0, type, transport, tcp.SUM_OFFSET, headers, size);
  return header;
}

/** The packets that a TUN write becomes: segmented where it is a TCP super-packet, summed. */
export function fromTun(header: Uint8Array, packet: Uint8Array): Uint8Array[] {
  const gso = vnet.gsoType(header, 0) & ~vnet.ECN;
  if (gso === vnet.TCPV4) return segmentTcp(packet, vnet.gsoSize(header, 0));
  if ((vnet.flags(header, 0) & vnet.NEEDS_CSUM) === 0) return [packet];
  const whole = packet.slice();
  const start = vnet.checksumStart(header, 0);
  const field = start + vnet.checksumOffset(header, 0);
  const sum = checksum.complement(checksum.sum(whole, start, whole.length - start));
  write16(whole, field, udp.encodeSum(sum));
  return [whole];
}

/** A packet that was not super with its checksum finished, as its device would have done it. */
export function finished(packet: Uint8Array): Uint8Array {
  const header = toTun(packet, packet.length);
  return header === undefined ? packet : fromTun(header, packet)[0]!;
}

/** TCP segmentation as the kernel does it (tcp_gso_segment): FIN and PSH last, CWR first. */
function segmentTcp(packet: Uint8Array, size: number): Uint8Array[] {
  const transport = ipv4.headerLength(packet, 0);
  const headers = transport + tcp.headerLength(packet, transport);
  const flags = tcp.flags(packet, transport);
  const segments: Uint8Array[] = [];
  for (let from = headers; from < packet.length; from += size) {
    const payload = packet.subarray(from, from + size);
    const segment = new Uint8Array(headers + payload.length);
    segment.set(packet.subarray(0, headers));
    segment.set(payload, headers);
    const first = from === headers;
    const last = from + size >= packet.length;
    const cleared = (last ? 0 : tcp.FIN | tcp.PSH) | (first ? 0 : tcp.CWR);
    ipv4.setTotalLength(segment, 0, segment.length);
    ipv4.setId(segment, 0, (ipv4.id(packet, 0) + segments.length) & 0xffff);
    ipv4.seal(segment, 0);
    tcp.setSequence(segment, transport, tcp.sequence(packet, transport) + from - headers);
    tcp.setFlags(segment, transport, flags & ~cleared);
    tcp.setSum(segment, transport, 0);
    const length = segment.length - transport;
    const sum = checksum.add(
      pseudoSum(segment, 0, length),
      checksum.sum(segment, transport, length),
    );
    tcp.setSum(segment, transport, checksum.complement(sum));
    segments.push(segment);
  }
  return segments;
}

/** Where the TCP or UDP checksum lies, when the packet has one that covers this packet alone. */
function sumField(bytes: Uint8Array, at: number): number | undefined {
  if (ipv4.isFragment(bytes, at)) return undefined;
  const transport = at + ipv4.headerLength(bytes, at);
  const end = at + ipv4.totalLength(bytes, at);
  switch (ipv4.protocol(bytes, at)) {
    case ipv4.TCP:
      return tcp.check(bytes, transport, end) ? transport + tcp.SUM_OFFSET : undefined;
    case ipv4.UDP:
      if (!udp.check(bytes, transport, end)) return undefined;
      // Trailing bytes behind the UDP datagram would not be under its checksum.
      return transport + udp.length(bytes, transport) === end
        ? transport + udp.SUM_OFFSET
        : undefined;
    default:
      return undefined;
  }
}

function pseudoSum(bytes: Uint8Array, at: number, length: number): number {
  const [source, destination] = [ipv4.source(bytes, at), ipv4.destination(bytes, at)];
  return checksum.pseudo(source, destination, ipv4.protocol(bytes, at), length);
}

function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}
