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
import { INBOUND_ROWS, OUTBOUND_ROWS, OUTBOUND_SIZE } from './lane-control.js';

export interface Datagram {
  readonly payload: Uint8Array;
  /** The sender's, int32. */
  readonly address: number;
  readonly port: number;
  readonly tos: number;
}

export interface Batch {
  /** Inner IPv4 packets, and super-packets, that the host gave. */
  readonly packets: readonly Uint8Array[];
  /** What peers sent, a merged train cut into its datagrams. */
  readonly datagrams: readonly Datagram[];
}

/** Copies the batch; empty between two of them. `control`: the words of lane-control.ts. */
export function readBatch(memory: WebAssembly.Memory, control: Int32Array): Batch {
  const bytes = Buffer.from(memory.buffer);
  const words = new Int32Array(memory.buffer);
  const rows = (word: number) => Math.min(Math.max(Atomics.load(control, word), 0), BATCH);
  const size = Atomics.load(control, OUTBOUND_SIZE);
  const packets: Uint8Array[] = [];
  for (let row = 0; row < rows(OUTBOUND_ROWS); row += 1) {
    const at = (LAYOUT.packets >> 2) + row * PACKET_ROW.words;
    const packet = gather(
      bytes.subarray(0, OUTBOUND_END),
      words[at + PACKET_ROW.offset]!,
      words[at + PACKET_ROW.length]!,
      words[at + PACKET_ROW.gap]!,
      size,
    );
    if (packet !== undefined) packets.push(packet);
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
