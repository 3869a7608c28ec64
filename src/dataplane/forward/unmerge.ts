/**
 * The way back from a merged packet (coalesce.ts) to the packets it was made of. Each still
 * lies where it was received, with room for a vnet header before it; only the first one's
 * headers were changed by the merge.
 */
import * as ipv4 from '../wire/ipv4.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import * as vnet from '../wire/vnet.js';
import { isPartial, sumOffset, writePartial } from './transport-sum.js';

/** `at`: its vnet header; `length`: that header and the packet as it was, in bytes. */
export function restoreFirst(bytes: Uint8Array, at: number, length: number): void {
  const packet = at + vnet.HEADER;
  const transport = packet + ipv4.HEADER;
  const total = length - vnet.HEADER;
  ipv4.setTotalLength(bytes, packet, total);
  ipv4.seal(bytes, packet);
  if (ipv4.protocol(bytes, packet) === ipv4.UDP) {
    udp.setLength(bytes, transport, total - ipv4.HEADER);
  } else {
    // A run goes on only behind a packet that has none of these; they came from the last one.
    tcp.setFlags(bytes, transport, tcp.flags(bytes, transport) & ~(tcp.PSH | tcp.FIN));
  }
  // The sum was verified, or left to be finished: so the kernel may finish it.
  writePartial(bytes, packet, total);
  vnet.writeSingle(bytes, at, ipv4.HEADER, sumOffset(bytes, packet));
}

/** `at`: where the vnet header goes, just before a packet that the merge left as it was. */
export function restoreNext(bytes: Uint8Array, at: number): void {
  const packet = at + vnet.HEADER;
  if (isPartial(bytes, packet, ipv4.totalLength(bytes, packet))) {
    vnet.writeSingle(bytes, at, ipv4.HEADER, sumOffset(bytes, packet));
  } else {
    vnet.clear(bytes, at);
  }
}
