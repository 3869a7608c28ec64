/**
 * The outer headers of what a lane sent: the kernel writes them for a UDP socket, so the lane
 * never sees them. As flannel's kernel VTEPs have them: TTL 64, DF clear, a real checksum.
 */
import * as checksum from '../../dataplane/wire/checksum.js';
import * as ipv4 from '../../dataplane/wire/ipv4.js';
import * as udp from '../../dataplane/wire/udp.js';

const TTL = 64;

/** One outer packet's fields; addresses are int32. */
export interface Outer {
  readonly source: number;
  readonly sourcePort: number;
  readonly destination: number;
  readonly port: number;
  readonly tos: number;
  readonly id: number;
}

/** The first port of the range that RFC 7348 section 5 recommends. */
export const SOURCE_PORT = 49152;

export class OuterHeaders {
  readonly #source: number;
  #id = 0;

  /** @param source our address on the underlay, int32 */
  constructor(source: number) {
    this.#source = source;
  }

  /** One outer IPv4 packet around a UDP payload; each has the next id, counted from 0. */
  wrap(payload: Uint8Array, destination: number, port: number, tos: number): Uint8Array {
    const id = this.#id;
    this.#id = (id + 1) & 0xffff;
    const source = this.#source;
    return wrapUdp(payload, { source, sourcePort: SOURCE_PORT, destination, port, tos, id });
  }
}

/** An outer IPv4 and UDP header around a payload of at most 65,507 bytes, both sums right. */
export function wrapUdp(payload: Uint8Array, outer: Outer): Uint8Array {
  // Of these a capture makes many: all of it is written below.
  const packet = Buffer.allocUnsafe(ipv4.HEADER + udp.HEADER + payload.length);
  packet[0] = 0x45;
  packet[1] = outer.tos;
  packet.writeUInt16BE(packet.length, 2);
  packet.writeUInt16BE(outer.id, 4);
  packet.writeUInt16BE(0, 6);
  packet[8] = TTL;
  packet[9] = ipv4.UDP;
  packet.writeInt32BE(outer.source, 12);
  packet.writeInt32BE(outer.destination, 16);
  packet.writeUInt16BE(0, 10);
  ipv4.seal(packet, 0);

  const length = udp.HEADER + payload.length;
  packet.writeUInt16BE(outer.sourcePort, ipv4.HEADER);
  packet.writeUInt16BE(outer.port, ipv4.HEADER + 2);
  udp.setLength(packet, ipv4.HEADER, length);
  udp.setSum(packet, ipv4.HEADER, 0);
  packet.set(payload, ipv4.HEADER + udp.HEADER);
  const pseudo = checksum.pseudo(outer.source, outer.destination, ipv4.UDP, length);
  const sum = checksum.add(pseudo, checksum.sum(packet, ipv4.HEADER, length));
  udp.setSum(packet, ipv4.HEADER, udp.encodeSum(checksum.complement(sum)));
  return packet;
}
