/**
 * The checksum of an inner TCP or UDP packet: complete and right, or only the pseudo-header's sum
 * ("partial"), to be finished by whoever sends the packet on. `total`: the IPv4 packet's length;
 * all of it is there, and it is no fragment.
 */
import * as checksum from '../wire/checksum.js';
import * as ipv4 from '../wire/ipv4.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';

/** The pseudo-header's sum of the packet at `at`, were it `total` bytes long. */
export function pseudoSum(bytes: Uint8Array, at: number, total: number): number {
  return checksum.pseudo(
    ipv4.source(bytes, at),
    ipv4.destination(bytes, at),
    ipv4.protocol(bytes, at),
    total - ipv4.headerLength(bytes, at),
  );
}

/** Whether the checksum field holds the pseudo-header's sum alone. */
export function isPartial(bytes: Uint8Array, at: number, total: number): boolean {
  const transport = at + ipv4.headerLength(bytes, at);
  const field = isUdp(bytes, at) ? udp.sum(bytes, transport) : tcp.sum(bytes, transport);
  return field === pseudoSum(bytes, at, total);
}

export function writePartial(bytes: Uint8Array, at: number, total: number): void {
  const transport = at + ipv4.headerLength(bytes, at);
  const value = pseudoSum(bytes, at, total);
  if (isUdp(bytes, at)) udp.setSum(bytes, transport, value);
  else tcp.setSum(bytes, transport, value);
}

/** Whether the checksum is complete and right. */
export function isRight(
  bytes: Uint8Array,
  at: number,
  total: number,
  sum: (at: number, length: number) => number,
): boolean {
  const start = ipv4.headerLength(bytes, at);
  return checksum.add(pseudoSum(bytes, at, total), sum(at + start, total - start)) === 0xffff;
}

/** Where the checksum stands in the transport header: what a vnet header says. */
export function sumOffset(bytes: Uint8Array, at: number): number {
  return isUdp(bytes, at) ? udp.SUM_OFFSET : tcp.SUM_OFFSET;
}

function isUdp(bytes: Uint8Array, at: number): boolean {
  return ipv4.protocol(bytes, at) === ipv4.UDP;
}
