/** IPv4 packets as a TUN takes and gives them, made from scratch. */
import * as checksum from '../../../src/dataplane/wire/checksum.js';

/** A vnet header that promises nothing: no GSO, sums complete. */
export const PLAIN = Buffer.alloc(10);

/** An IPv4 packet; `transport` begins with its header, whose checksum is at `sumAt` (or -1). */
function ipv4Packet(
  protocol: number,
  source: number,
  destination: number,
  transport: Buffer,
  sumAt: number,
): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + transport.length, 2);
  header[8] = 64;
  header[9] = protocol;
  header.writeInt32BE(source | 0, 12);
  header.writeInt32BE(destination | 0, 16);
  header.writeUInt16BE(checksum.complement(checksum.sum(header, 0, 20)), 10);
  const pseudo = Buffer.alloc(12);
  header.copy(pseudo, 0, 12, 20);
  pseudo[9] = protocol;
  pseudo.writeUInt16BE(transport.length, 10);
  const all = Buffer.concat([pseudo, transport]);
  transport.writeUInt16BE(checksum.complement(checksum.sum(all, 0, all.length)), sumAt);
  return Buffer.concat([header, transport]);
}

export interface Flow {
  readonly source: number;
  readonly sourcePort: number;
  readonly destination: number;
  readonly destinationPort: number;
}

export function udpPacket(flow: Flow, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(flow.sourcePort, 0);
  header.writeUInt16BE(flow.destinationPort, 2);
  header.writeUInt16BE(8 + payload.length, 4);
  return ipv4Packet(17, flow.source, flow.destination, Buffer.concat([header, payload]), 6);
}

/** A TCP segment without payload; a SYN offers an MSS of 1460 and no window scale. */
export function tcpPacket(flow: Flow, flags: number, sequence: number, acknowledge: number) {
  const syn = (flags & 2) !== 0;
  const header = Buffer.alloc(syn ? 24 : 20);
  header.writeUInt16BE(flow.sourcePort, 0);
  header.writeUInt16BE(flow.destinationPort, 2);
  header.writeUInt32BE(sequence >>> 0, 4);
  header.writeUInt32BE(acknowledge >>> 0, 8);
  header[12] = (header.length / 4) << 4;
  header[13] = flags;
  header.writeUInt16BE(65535, 14);
  if (syn) header.set([2, 4, 1460 >> 8, 1460 & 0xff], 20);
  return ipv4Packet(6, flow.source, flow.destination, header, 16);
}

/** Source and destination of a packet and of its transport. */
export function flowOf(packet: Buffer): Flow {
  const transport = (packet[0]! & 15) * 4;
  return {
    source: packet.readInt32BE(12),
    destination: packet.readInt32BE(16),
    sourcePort: packet.readUInt16BE(transport),
    destinationPort: packet.readUInt16BE(transport + 2),
  };
}

export function reversed(flow: Flow): Flow {
  return {
    source: flow.destination,
    sourcePort: flow.destinationPort,
    destination: flow.source,
    destinationPort: flow.sourcePort,
  };
}
