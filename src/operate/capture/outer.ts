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
  const packet = Buffer.concat([outerHeaders(payload.length, outer), payload]);
  const length = udp.HEADER + payload.length;
  const pseudo = checksum.pseudo(outer.source, outer.destination, ipv4.UDP, length);
  const sum = checksum.add(pseudo, checksum.sum(packet, ipv4.HEADER, length));
  udp.setSum(packet, ipv4.HEADER, udp.encodeSum(checksum.complement(sum)));
  return packet;
}

/**
 * An outer IPv4 and UDP header for so many bytes of payload, at most 65,507, with 0 for the UDP
 * checksum: there is none (RFC 768).
 */
export function outerHeaders(payload: number, outer: Outer): Buffer {
  // Of these a capture makes many: all of it is written below.
  const headers = Buffer.allocUnsafe(ipv4.HEADER + udp.HEADER);
  headers[0] = 0x45;
  headers[1] = outer.tos;
  headers.writeUInt16BE(headers.length + payload, 2);
  headers.writeUInt16BE(outer.id, 4);
  headers.writeUInt16BE(0, 6);
  headers[8] = TTL;
  headers[9] = ipv4.UDP;
  headers.writeInt32BE(outer.source, 12);
  headers.writeInt32BE(outer.destination, 16);
  headers.writeUInt16BE(0, 10);
  ipv4.seal(headers, 0);

  headers.writeUInt16BE(outer.sourcePort, ipv4.HEADER);
  headers.writeUInt16BE(outer.port, ipv4.HEADER + 2);
  udp.setLength(headers, ipv4.HEADER, udp.HEADER + payload);
  udp.setSum(headers, ipv4.HEADER, 0);
  return headers;
}
