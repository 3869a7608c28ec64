/**
 * An echo request as a whole IPv4 packet, and what arrives on a raw ICMP socket: an answer to it,
 * or "unreachable" (RFC 792), of which "fragmentation needed" (RFC 1191) is one, with the start of
 * the packet that was not carried.
 *
 *     IPv4 header | type code sum | id sequence | data                       echo
 *     IPv4 header | type code sum | 0  MTU      | IPv4 header | 8 bytes …    unreachable
 */

const IPV4 = 20;
const ICMP = 8;
/** The least that an echo of ours has: both headers and a token. */
export const LEAST_ECHO = IPV4 + ICMP + 8;

const DONT_FRAGMENT = 0x4000;
const PROTOCOL_ICMP = 1;
const PROTOCOL_UDP = 17;
const ECHO_REPLY = 0;
const UNREACHABLE = 3;
export const FRAGMENTATION_NEEDED = 4;
const ECHO_REQUEST = 8;

/** What tells one echo from all others; nobody who does not see it can guess it. */
export interface EchoMark {
  /** 16 bits each. */
  readonly id: number;
  readonly sequence: number;
  /** 32 bits each, the first data. */
  readonly token: readonly [number, number];
}

/** `size` bytes in all, DF set; addresses are unsigned numbers. */
export function writeEcho(from: number, to: number, size: number, mark: EchoMark): Buffer {
  const packet = Buffer.alloc(size);
  packet[0] = 0x45;
  // Of the header the kernel writes length, id and checksum.
  packet.writeUInt16BE(size, 2);
  packet.writeUInt16BE(DONT_FRAGMENT, 6);
  packet[8] = 64;
  packet[9] = PROTOCOL_ICMP;
  packet.writeUInt32BE(from, 12);
  packet.writeUInt32BE(to, 16);
  packet[IPV4] = ECHO_REQUEST;
  packet.writeUInt16BE(mark.id, IPV4 + 4);
  packet.writeUInt16BE(mark.sequence, IPV4 + 6);
  packet.writeUInt32BE(mark.token[0], IPV4 + ICMP);
  packet.writeUInt32BE(mark.token[1], IPV4 + ICMP + 4);
  packet.writeUInt16BE(checksum(packet.subarray(IPV4)), IPV4 + 2);
  return packet;
}

/** What weft wants to know of a message; addresses are unsigned numbers. */
export type Heard =
  | { readonly kind: 'answer'; readonly from: number; readonly mark: EchoMark }
  | {
      readonly kind: 'echo not carried';
      /** Who says so. */
      readonly from: number;
      /** Of "unreachable": why; FRAGMENTATION_NEEDED is that it did not fit. */
      readonly code: number;
      /** The MTU it tells; 0: none. */
      readonly mtu: number;
      /** Of the packet that was not carried. */
      readonly source: number;
      readonly destination: number;
      /** The first 8 bytes behind its IPv4 header. */
      readonly quoted: Buffer;
    }
  | {
      readonly kind: 'datagram too big';
      readonly mtu: number;
      readonly source: number;
      readonly destination: number;
      readonly port: number;
    };

/** Undefined for all else. Keeps nothing of `packet`. */
export function readIcmp(packet: Buffer): Heard | undefined {
  const at = headerOf(packet, 0, PROTOCOL_ICMP);
  if (at === undefined || packet.length < at + ICMP) return undefined;
  const from = packet.readUInt32BE(12);
  if (packet[at] === ECHO_REPLY) {
    if (packet.length < at + ICMP + 8) return undefined;
    const token = [packet.readUInt32BE(at + ICMP), packet.readUInt32BE(at + ICMP + 4)] as const;
    const id = packet.readUInt16BE(at + 4);
    return { kind: 'answer', from, mark: { id, sequence: packet.readUInt16BE(at + 6), token } };
  }
  if (packet[at] !== UNREACHABLE) return undefined;
  const code = packet[at + 1]!;
  const mtu = packet.readUInt16BE(at + 6);
  const inner = at + ICMP;
  if (packet.length < inner + IPV4) return undefined;
  const protocol = packet[inner + 9];
  const behind = headerOf(packet, inner, protocol);
  if (behind === undefined || packet.length < behind + 8) return undefined;
  const source = packet.readUInt32BE(inner + 12);
  const destination = packet.readUInt32BE(inner + 16);
  if (protocol === PROTOCOL_UDP) {
    if (code !== FRAGMENTATION_NEEDED) return undefined;
    const port = packet.readUInt16BE(behind + 2);
    return { kind: 'datagram too big', mtu, source, destination, port };
  }
  if (protocol !== PROTOCOL_ICMP) return undefined;
  const quoted = Buffer.from(packet.subarray(behind, behind + 8));
  return { kind: 'echo not carried', from, code, mtu, source, destination, quoted };
}

/** What a router quotes of an echo that `writeEcho` wrote. */
export function quoteOf(echo: Buffer): Buffer {
  return echo.subarray(IPV4, IPV4 + 8);
}

/** Where the IPv4 header at `at` ends, if there is a whole one, of this protocol. */
function headerOf(packet: Buffer, at: number, protocol: number | undefined): number | undefined {
  if (packet.length < at + IPV4 || packet[at]! >> 4 !== 4) return undefined;
  const length = (packet[at]! & 15) * 4;
  if (length < IPV4 || packet[at + 9] !== protocol) return undefined;
  return at + length;
}

/** RFC 1071, for an even number of bytes or with a 0 behind. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 1) sum += i % 2 === 0 ? bytes[i]! << 8 : bytes[i]!;
  sum = (sum & 0xffff) + (sum >>> 16);
  return ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
}
