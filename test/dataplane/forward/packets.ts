/**
 * Packets for the tests of the packet's way, built and read byte by byte, with a checksum of
 * their own: nothing here uses the code under test.
 */

export const US = 0xc0a84003 | 0; // 192.168.64.3, behind it 10.5.52.0/24
export const PEER_B = 0xc0a84004 | 0; // 192.168.64.4, behind it 10.5.72.0/24
export const PEER_C = 0xc0a84005 | 0; // 192.168.64.5, behind it 10.5.90.0/24
export const STRANGER = 0xc0a8404d | 0; // 192.168.64.77
export const OUR_MAC = [0x02, 0, 0, 0, 0, 0x0a];
export const MAC_B = [0x02, 0, 0, 0, 0, 0x0b];
export const MAC_C = [0x02, 0, 0, 0, 0, 0x0c];

/** VXLAN and Ethernet in front of an inner packet. */
export const OVERHEAD = 22;
export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;
export const URG = 32;
export const ECE = 64;
export const CWR = 128;
export const GSO_TCPV4 = 1;
export const GSO_UDP_L4 = 5;
export const NEEDS_CSUM = 1;

export const ip = (text: string): number =>
  text.split('.').reduce((all, part) => (all << 8) | Number(part), 0);

export const get16 = (bytes: Uint8Array, at: number): number => bytes[at]! * 256 + bytes[at + 1]!;
export const get32 = (bytes: Uint8Array, at: number): number =>
  get16(bytes, at) * 65536 + get16(bytes, at + 2);

export function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = (value >>> 8) & 255;
  bytes[at + 1] = value & 255;
}

export function put32(bytes: Uint8Array, at: number, value: number): void {
  put16(bytes, at, value >>> 16);
  put16(bytes, at + 2, value & 0xffff);
}

/** The ones'-complement sum of all bytes on top of `seed`, the slow way (RFC 1071). */
export function sumOf(bytes: Uint8Array, seed = 0): number {
  let total = seed;
  for (let i = 0; i < bytes.length; i += 1) total += i % 2 === 0 ? bytes[i]! * 256 : bytes[i]!;
  while (total > 0xffff) total = (total % 65536) + Math.floor(total / 65536);
  return total;
}

export const ihl = (packet: Uint8Array): number => (packet[0]! & 15) * 4;
export const thl = (packet: Uint8Array): number =>
  packet[9] === 17 ? 8 : (packet[ihl(packet) + 12]! >> 4) * 4;

/** The sum of the pseudo-header: addresses, protocol, transport length. */
export function pseudoOf(packet: Uint8Array): number {
  return sumOf(packet.subarray(12, 20), packet[9]! + packet.length - ihl(packet));
}

/** Where the transport checksum stands. */
export const sumAt = (packet: Uint8Array): number => ihl(packet) + (packet[9] === 17 ? 6 : 16);

/** Computes the header checksum anew, in place; returns the packet. */
export function seal(packet: Uint8Array): Uint8Array {
  put16(packet, 10, 0);
  put16(packet, 10, 0xffff - sumOf(packet.subarray(0, ihl(packet))));
  return packet;
}

/** Computes the transport checksum anew, in place; returns the packet. */
export function sealTransport(packet: Uint8Array): Uint8Array {
  put16(packet, sumAt(packet), 0);
  const sum = 0xffff - sumOf(packet.subarray(ihl(packet)), pseudoOf(packet));
  put16(packet, sumAt(packet), packet[9] === 17 && sum === 0 ? 0xffff : sum);
  return packet;
}

/** Leaves the transport checksum to whoever sends the packet on; returns the packet. */
export function leavePartial(packet: Uint8Array): Uint8Array {
  put16(packet, sumAt(packet), pseudoOf(packet));
  return packet;
}

export const headerSumIsRight = (packet: Uint8Array): boolean =>
  sumOf(packet.subarray(0, ihl(packet))) === 0xffff;
export const transportSumIsRight = (packet: Uint8Array): boolean =>
  sumOf(packet.subarray(ihl(packet)), pseudoOf(packet)) === 0xffff;

export interface IpFields {
  readonly source?: string;
  readonly destination?: string;
  readonly protocol?: number;
  readonly id?: number;
  readonly tos?: number;
  readonly ttl?: number;
  /** The word of flags and offset; 0x4000 is DF. */
  readonly fragment?: number;
  readonly ipOptions?: Uint8Array;
}

/** An IPv4 packet from B's side to ours unless told otherwise. */
export function ipv4Packet(fields: IpFields, payload: Uint8Array): Uint8Array {
  const options = fields.ipOptions ?? new Uint8Array(0);
  const header = 20 + options.length;
  const packet = new Uint8Array(header + payload.length);
  packet[0] = 0x40 | (header / 4);
  packet[1] = fields.tos ?? 0;
  put16(packet, 2, packet.length);
  put16(packet, 4, fields.id ?? 0);
  put16(packet, 6, fields.fragment ?? 0);
  packet[8] = fields.ttl ?? 63;
  packet[9] = fields.protocol ?? 1;
  put32(packet, 12, ip(fields.source ?? '10.5.72.9'));
  put32(packet, 16, ip(fields.destination ?? '10.5.52.7'));
  packet.set(options, 20);
  packet.set(payload, header);
  return seal(packet);
}

export interface TcpFields extends IpFields {
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly sequence?: number;
  readonly acknowledgement?: number;
  readonly flags?: number;
  readonly window?: number;
  readonly urgent?: number;
  readonly options?: Uint8Array;
  readonly payload?: Uint8Array;
}

export function tcpPacket(fields: TcpFields): Uint8Array {
  const options = fields.options ?? new Uint8Array(0);
  const payload = fields.payload ?? new Uint8Array(0);
  const segment = new Uint8Array(20 + options.length + payload.length);
  put16(segment, 0, fields.sourcePort ?? 40000);
  put16(segment, 2, fields.destinationPort ?? 5201);
  put32(segment, 4, fields.sequence ?? 1);
  put32(segment, 8, fields.acknowledgement ?? 77);
  segment[12] = ((20 + options.length) / 4) << 4;
  segment[13] = fields.flags ?? ACK;
  put16(segment, 14, fields.window ?? 502);
  put16(segment, 18, fields.urgent ?? 0);
  segment.set(options, 20);
  segment.set(payload, 20 + options.length);
  return sealTransport(ipv4Packet({ ...fields, protocol: 6 }, segment));
}

export interface UdpFields extends IpFields {
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly payload?: Uint8Array;
}

export function udpPacket(fields: UdpFields): Uint8Array {
  const payload = fields.payload ?? new Uint8Array(0);
  const datagram = new Uint8Array(8 + payload.length);
  put16(datagram, 0, fields.sourcePort ?? 40002);
  put16(datagram, 2, fields.destinationPort ?? 7001);
  put16(datagram, 4, datagram.length);
  datagram.set(payload, 8);
  return sealTransport(ipv4Packet({ ...fields, protocol: 17 }, datagram));
}

export interface FrameFields {
  readonly vni?: number;
  readonly to?: readonly number[];
  readonly from?: readonly number[];
  readonly type?: number;
}

/** What B sends us for an inner packet: VXLAN, Ethernet, the packet. */
export function frame(packet: Uint8Array, fields: FrameFields = {}): Uint8Array {
  const payload = new Uint8Array(OVERHEAD + packet.length);
  payload[0] = 8;
  put32(payload, 4, (fields.vni ?? 1) << 8);
  payload.set(fields.to ?? OUR_MAC, 8);
  payload.set(fields.from ?? MAC_B, 14);
  put16(payload, 20, fields.type ?? 0x0800);
  payload.set(packet, OVERHEAD);
  return payload;
}

/** A vnet header: virtio_net_hdr, little-endian. */
export function vnetHeader(
  flags: number,
  gsoType = 0,
  headerLength = 0,
  gsoSize = 0,
  start = 0,
  offset = 0,
): Uint8Array {
  const header = new Uint8Array(10);
  header[0] = flags;
  header[1] = gsoType;
  for (const [i, value] of [headerLength, gsoSize, start, offset].entries()) {
    header[2 + 2 * i] = value & 255;
    header[3 + 2 * i] = value >>> 8;
  }
  return header;
}

export const concat = (parts: readonly Uint8Array[]): Uint8Array =>
  new Uint8Array(Buffer.concat(parts));
