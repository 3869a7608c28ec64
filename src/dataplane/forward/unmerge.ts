/**
 * The way back from a merged packet (coalesce.ts) to the packets it was made of. Each still
 * lies where it was received, with room for a vnet header before it; only the first one's
 * headers were changed by the merge.
 */
import * as checksum from '../wire/checksum.js';
import * as ipv4 from '../wire/ipv4.js';
import * as tcp from '../wire/tcp.js';
import * as vnet from '../wire/vnet.js';

/** `at`: its vnet header; `length`: that header and the packet as it was, in bytes. */
export function restoreFirst(bytes: Uint8Array, at: number, length: number): void {
  const packet = at + vnet.HEADER;
  const transport = packet + ipv4.HEADER;
  ipv4.setTotalLength(bytes, packet, length - vnet.HEADER);
  ipv4.seal(bytes, packet);
  // A run goes on only behind a packet that has none of these; they came from the last one.
  tcp.setFlags(bytes, transport, tcp.flags(bytes, transport) & ~(tcp.PSH | tcp.FIN));
  // It was verified, or left to be finished: so the kernel may finish it.
  tcp.setSum(bytes, transport, pseudo(bytes, packet));
  writeSingle(bytes, at, true);
}

/** `at`: where the vnet header goes, just before a packet that the merge left as it was. */
export function restoreNext(bytes: Uint8Array, at: number): void {
  const packet = at + vnet.HEADER;
  writeSingle(bytes, at, tcp.sum(bytes, packet + ipv4.HEADER) === pseudo(bytes, packet));
}

function writeSingle(bytes: Uint8Array, at: number, partial: boolean): void {
  if (partial) {
    vnet.write(bytes, at, vnet.NEEDS_CSUM, vnet.NONE, 0, 0, ipv4.HEADER, tcp.SUM_OFFSET);
  } else {
    vnet.clear(bytes, at);
  }
}

function pseudo(bytes: Uint8Array, packet: number): number {
  return checksum.pseudo(
    ipv4.source(bytes, packet),
    ipv4.destination(bytes, packet),
    ipv4.TCP,
    ipv4.totalLength(bytes, packet) - ipv4.HEADER,
  );
}
