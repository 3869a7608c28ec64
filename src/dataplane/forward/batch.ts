/**
 * The batch that a lane's thread has in hand, read from outside out of the memory that it shares:
 * what is kept of a lane that stands still. The thread may write there at the same time, so every
 * word is checked, and what cannot be a packet is left out.
 */
import {
  ADDRESS_SIZE,
  BATCH,
  DATAGRAM_ROW,
  ENCAPSULATION,
  INBOUND_END,
  LAYOUT,
  OUTBOUND_END,
  PACKET_ROW,
} from '../io/memory.js';
import * as socketAddress from '../io/socket-address.js';
import * as ipv4 from '../wire/ipv4.js';
import * as udp from '../wire/udp.js';
import * as vnet from '../wire/vnet.js';
import { INBOUND_ROWS, OUTBOUND_ROWS, OUTBOUND_SIZE } from './lane-control.js';

/** An IPv4 packet has no more bytes. */
const PACKET_MAX = 65_535;

export interface Datagram {
  readonly payload: Uint8Array;
  /** The sender's, int32. */
  readonly address: number;
  readonly port: number;
  readonly tos: number;
}

/** An inner IPv4 packet, or super-packet, that the host gave. */
export interface Given {
  readonly packet: Uint8Array;
  /** Its vnet header; zeros where the TUN has none. */
  readonly vnet: Uint8Array;
}

export interface Batch {
  readonly packets: readonly Given[];
  /** What peers sent, a merged train cut into its datagrams. */
  readonly datagrams: readonly Datagram[];
}

/** Copies the batch; empty between two of them. `control`: the words of lane-control.ts. */
export function readBatch(memory: WebAssembly.Memory, control: Int32Array): Batch {
  const bytes = Buffer.from(memory.buffer);
  const words = new Int32Array(memory.buffer);
  const rows = (word: number) => Math.min(Math.max(Atomics.load(control, word), 0), BATCH);
  const size = Atomics.load(control, OUTBOUND_SIZE);
  const packets: Given[] = [];
  for (let row = 0; row < rows(OUTBOUND_ROWS); row += 1) {
    const at = (LAYOUT.packets >> 2) + row * PACKET_ROW.words;
    const packet = gather(
      bytes.subarray(0, OUTBOUND_END),
      words[at + PACKET_ROW.offset]!,
      words[at + PACKET_ROW.length]!,
      words[at + PACKET_ROW.gap]!,
      size,
    );
    if (packet === undefined) continue;
    const header = Uint8Array.from(
      bytes.subarray(4 * (at + PACKET_ROW.vnet)).subarray(0, vnet.HEADER),
    );
    const before = words[at + PACKET_ROW.offset]! - vnet.HEADER;
    const isStamped = !bytes.subarray(before, before + vnet.HEADER).equals(header);
    if (vnet.gsoType(header, 0) !== vnet.NONE) mend(packet, isStamped);
    packets.push({ packet, vnet: header });
  }
  const datagrams: Datagram[] = [];
  for (let row = 0; row < rows(INBOUND_ROWS); row += 1) {
    datagrams.push(...readTrain(bytes, words, row));
  }
  return { packets, datagrams };
}

/**
 * One packet in one piece. With a `gap` it was read for segments of `size` bytes: their headers'
 * room is before each but the first (see native/tun.c).
 */
function gather(
  area: Buffer,
  offset: number,
  length: number,
  gap: number,
  size: number,
): Uint8Array | undefined {
  if (offset < LAYOUT.outbound || length <= 0 || offset + length > area.length) return undefined;
  if (gap === 0) return Uint8Array.from(area.subarray(offset, offset + length));
  if (gap < ENCAPSULATION || size <= 0) return undefined;
  const packet = new Uint8Array(length);
  let piece = Math.min(gap - ENCAPSULATION + size, length);
  let from = offset;
  for (let to = 0; to < length; piece = Math.min(size, length - to)) {
    if (from + piece > area.length) return undefined;
    packet.set(area.subarray(from, from + piece), to);
    to += piece;
    from += piece + gap;
  }
  return packet;
}

/**
 * The lane takes a super-packet's own headers to pieces (segment.ts), and its template lies over the
 * vnet header. What can be told from the rest is put back: the lengths, and the IPv4 checksum; id,
 * sequence number and flags may be 0, and the transport's checksum is to be made by whoever cuts it.
 */
function mend(packet: Uint8Array, isStamped: boolean): void {
  if (packet.length < ipv4.HEADER || packet.length > PACKET_MAX) return;
  if (!isStamped && ipv4.totalLength(packet, 0) !== 0) return;
  const header = ipv4.headerLength(packet, 0);
  if (header < ipv4.HEADER || header + udp.HEADER > packet.length) return;
  ipv4.setTotalLength(packet, 0, packet.length);
  ipv4.seal(packet, 0);
  if (ipv4.protocol(packet, 0) === ipv4.UDP) udp.setLength(packet, header, packet.length - header);
}

function readTrain(bytes: Buffer, words: Int32Array, row: number): Datagram[] {
  const at = (LAYOUT.datagrams >> 2) + row * DATAGRAM_ROW.words;
  const offset = words[at + DATAGRAM_ROW.offset]!;
  const length = words[at + DATAGRAM_ROW.length]!;
  const segment = words[at + DATAGRAM_ROW.segment]!;
  const index = words[at + DATAGRAM_ROW.address]!;
  const tos = words[at + DATAGRAM_ROW.tos]! & 0xff;
  if (index < 0 || index >= BATCH) return [];
  if (offset < LAYOUT.inbound || length < 0 || offset + length > INBOUND_END) return [];
  const sender = LAYOUT.senders + index * ADDRESS_SIZE;
  if (!socketAddress.isIpv4(bytes, sender)) return [];
  const address = socketAddress.ipv4Address(bytes, sender);
  const port = socketAddress.port(bytes, sender);
  // Of a peer's UDP super-packet the kernel tells the inner segment size: it is one datagram.
  const inner = offset + ENCAPSULATION;
  const whole =
    length >= ENCAPSULATION + ipv4.HEADER &&
    ipv4.totalLength(bytes, inner) + ENCAPSULATION === length;
  const size = segment > 0 && !whole ? segment : Math.max(length, 1);
  const train: Datagram[] = [];
  for (let from = offset; from < offset + length || train.length === 0; from += size) {
    const payload = Uint8Array.from(bytes.subarray(from, Math.min(from + size, offset + length)));
    train.push({ payload, address, port, tos });
  }
  return train;
}
