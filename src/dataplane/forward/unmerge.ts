/**
 * The way back from a merged packet (coalesce.ts) to the packets it was made of. Each still
 * lies where it was received, with room for a vnet header before it; only the first one's
 * headers were changed by the merge.
 */
import * as checksum from '../wire/checksum.js';
import * as ipv4 from '../wire/ipv4.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import * as vnet from '../wire/vnet.js';

/** `at`: its vnet header; `length`: that header and the packet as it was, in bytes. */
export function restoreFirst(bytes: Uint8Array, at: number, length: number): void {
  const packet = at + vnet.HEADER;
  const transport = packet + ipv4.HEADER;
  ipv4.setTotalLength(bytes, packet, length - vnet.HEADER);
  ipv4.seal(bytes, packet);
  // The sum was verified, or left to be finished: so the kernel may finish it.
  if (isUdp(bytes, packet)) {
    udp.setLength(bytes, transport, length - vnet.HEADER - ipv4.HEADER);
    udp.setSum(bytes, transport, pseudo(bytes, packet));
  } else {
    // A run goes on only behind a packet that has none of these; they came from the last one.
    tcp.setFlags(bytes, transport, tcp.flags(bytes, transport) & ~(tcp.PSH | tcp.FIN));
    tcp.setSum(bytes, transport, pseudo(bytes, packet));
  }
  writeSingle(bytes, at, true);
}

/** `at`: where the vnet header goes, just before a packet that the merge left as it was. */
export function restoreNext(bytes: Uint8Array, at: number): void {
  const packet = at + vnet.HEADER;
  const transport = packet + ipv4.HEADER;
  const sum = isUdp(bytes, packet) ? udp.sum(bytes, transport) : tcp.sum(bytes, transport);
  writeSingle(bytes, at, sum === pseudo(bytes, packet));
}

function writeSingle(bytes: Uint8Array, at: number, partial: boolean): void {
  if (partial) {
    const field = isUdp(bytes, at + vnet.HEADER) ? udp.SUM_OFFSET : tcp.SUM_OFFSET;
    vnet.write(bytes, at, vnet.NEEDS_CSUM, vnet.NONE, 0, 0, ipv4.HEADER, field);
  } else {
    vnet.clear(bytes, at);
  }
}

function isUdp(bytes: Uint8Array, packet: number): boolean {
  return ipv4.protocol(bytes, packet) === ipv4.UDP;
}

function pseudo(bytes: Uint8Array, packet: number): number {
  return checksum.pseudo(
    ipv4.source(bytes, packet),
    ipv4.destination(bytes, packet),
    ipv4.protocol(bytes, packet),
    ipv4.totalLength(bytes, packet) - ipv4.HEADER,
  );
}
