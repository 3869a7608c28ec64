/**
 * A Device and an Underlay without a kernel: packets are given in and taken out as arrays.
 * Replay and the tests run the real lane on them. (Unlike the real ones, these allocate.)
 */
import { HEADER as VNET } from '../wire/vnet.js';
import type { Device, Underlay } from './device.js';
import {
  ADDRESS_SIZE,
  BATCH,
  DATAGRAM_ROW,
  ENCAPSULATION,
  INBOUND_END,
  INBOUND_HEADROOM,
  IOVEC_ROW,
  LAYOUT,
  type LaneMemory,
  MESSAGE_ROW,
  OUTBOUND_END,
  OUTBOUND_HEADROOM,
  PACKET_ROW,
  WRITE_ROW,
} from './memory.js';
import * as socketAddress from './socket-address.js';

/** Where a batch puts its next packet: on a line of 64 bytes, plus the headroom. */
function placeAfter(cursor: number, headroom: number): number {
  return ((cursor + 63) & ~63) + headroom;
}

const PACKET_MAX = 65535;

/** What is longer than any IPv4 packet would be written over the next area. */
function checkLength(bytes: Uint8Array, what: string): void {
  if (bytes.length > PACKET_MAX) {
    throw new RangeError(`${what} has ${bytes.length} bytes; there can be ${PACKET_MAX}`);
  }
}

function gather(memory: LaneMemory, iovecs: number, first: number, count: number): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let i = first; i < first + count; i += 1) {
    const at = (iovecs >> 2) + i * IOVEC_ROW.words;
    const offset = memory.words[at + IOVEC_ROW.offset]!;
    parts.push(memory.bytes.subarray(offset, offset + memory.words[at + IOVEC_ROW.length]!));
  }
  return new Uint8Array(Buffer.concat(parts));
}

/** What was written to the device: the vnet header, and the packet. */
export interface WrittenPacket {
  readonly vnet: Uint8Array;
  readonly packet: Uint8Array;
}

export class MemoryDevice implements Device {
  /** What the lane wrote, oldest first; take it out as you please. */
  readonly written: WrittenPacket[] = [];
  /** When set, its answer for a packet is the errno of that write; 0 lets it pass. */
  refuse: ((packet: WrittenPacket) => number) | undefined;
  readonly #memory: LaneMemory;
  readonly #vnet: number;
  readonly #waiting: { packet: Uint8Array; vnet: Uint8Array }[] = [];
  #error = 0;

  /** @param hasVnet whether the lane writes a vnet header before each packet */
  constructor(memory: LaneMemory, hasVnet = true) {
    this.#memory = memory;
    this.#vnet = hasVnet ? VNET : 0;
  }

  /**
   * Queues an inner packet to be read, with its vnet header (10 bytes; zeros when not given).
   * Throws RangeError for a packet of more than 65,535 bytes, and for another vnet header.
   */
  push(packet: Uint8Array, vnet: Uint8Array = new Uint8Array(VNET)): void {
    checkLength(packet, 'the packet');
    if (vnet.length !== VNET) {
      throw new RangeError(`the vnet header has ${vnet.length} bytes, not ${VNET}`);
    }
    this.#waiting.push({ packet, vnet });
  }

  read(headers = 0, size = 0): number {
    const { bytes, words } = this.#memory;
    const first = size > 0 ? headers + size : PACKET_MAX;
    const gap = ENCAPSULATION + headers;
    const longest = PACKET_MAX + Math.ceil((PACKET_MAX - first) / Math.max(1, size)) * (gap + 1);
    let rows = 0;
    let cursor = LAYOUT.outbound;
    while (rows < BATCH && this.#waiting.length > 0) {
      const at = placeAfter(cursor, OUTBOUND_HEADROOM);
      if (at + longest > OUTBOUND_END) break;
      const { packet, vnet } = this.#waiting.shift()!;
      bytes.set(vnet, at - vnet.length);
      bytes.set(packet.subarray(0, first), at);
      cursor = at + Math.min(first, packet.length);
      for (let done = first; done < packet.length; done += size) {
        const piece = packet.subarray(done, done + size);
        bytes.set(piece, cursor + gap);
        cursor += gap + piece.length;
      }
      const row = (LAYOUT.packets >> 2) + rows * PACKET_ROW.words;
      words[row + PACKET_ROW.offset] = at;
      words[row + PACKET_ROW.length] = packet.length;
      words[row + PACKET_ROW.gap] = packet.length > first ? gap : 0;
      bytes.set(vnet, 4 * (row + PACKET_ROW.vnet));
      rows += 1;
    }
    return rows;
  }

  write(from: number, rows: number, _iovecRows: number): number {
    const { words } = this.#memory;
    for (let done = 0; done < rows; done += 1) {
      const row = (LAYOUT.writes >> 2) + (from + done) * WRITE_ROW.words;
      const first = words[row + WRITE_ROW.first]!;
      const all = gather(this.#memory, LAYOUT.writeIovecs, first, words[row + WRITE_ROW.count]!);
      const written = { vnet: all.slice(0, this.#vnet), packet: all.slice(this.#vnet) };
      this.#error = this.refuse?.(written) ?? 0;
      if (this.#error !== 0) return done;
      this.written.push(written);
    }
    return rows;
  }

  lastError(): number {
    return this.#error;
  }
}

/** A UDP datagram from a peer, or a train of them as UDP_GRO merges it. */
export interface ReceivedDatagram {
  readonly payload: Uint8Array;
  /** The sender's IPv4 address, int32. */
  readonly address: number;
  readonly port?: number;
  /** The TOS byte of the outer header. */
  readonly tos?: number;
  /** The segment size that UDP_GRO tells; 0 when nothing was merged. */
  readonly segment?: number;
}

/** One send: a datagram, or several of `segment` bytes (the last may be shorter). */
export interface SentMessage {
  readonly payload: Uint8Array;
  readonly address: number;
  readonly port: number;
  readonly tos: number;
  readonly segment: number;
}

export class MemoryUnderlay implements Underlay {
  readonly sender = 0;
  /** What the lane sent, oldest first; take it out as you please. */
  readonly sent: SentMessage[] = [];
  /** When set, its answer for a message is the errno of that send; 0 lets it pass. */
  refuse: ((message: SentMessage) => number) | undefined;
  readonly #memory: LaneMemory;
  readonly #waiting: ReceivedDatagram[] = [];
  #error = 0;

  constructor(memory: LaneMemory) {
    this.#memory = memory;
  }

  socketTo(_address: number, _port: number, _cutByRoute: boolean, _now: number): number {
    return -1;
  }

  /** When set, is told what the lane tells of a full socket. */
  told: ((address: number, bytes: number, now: number) => void) | undefined;

  full(address: number, bytes: number, now: number): void {
    this.told?.(address, bytes, now);
  }

  /** Queues a datagram to be received. Throws RangeError for more than 65,535 bytes. */
  push(datagram: ReceivedDatagram): void {
    checkLength(datagram.payload, 'the datagram');
    this.#waiting.push(datagram);
  }

  receive(): number {
    const { bytes, words } = this.#memory;
    let rows = 0;
    let cursor = LAYOUT.inbound;
    while (rows < BATCH && this.#waiting.length > 0) {
      const at = placeAfter(cursor, INBOUND_HEADROOM);
      if (at + PACKET_MAX > INBOUND_END) break;
      const { payload, address, port = 8472, tos = 0, segment = 0 } = this.#waiting.shift()!;
      bytes.set(payload, at);
      socketAddress.writeIpv4(bytes, LAYOUT.senders + rows * ADDRESS_SIZE, address, port);
      const row = (LAYOUT.datagrams >> 2) + rows * DATAGRAM_ROW.words;
      words[row + DATAGRAM_ROW.offset] = at;
      words[row + DATAGRAM_ROW.length] = payload.length;
      words[row + DATAGRAM_ROW.segment] = segment;
      words[row + DATAGRAM_ROW.address] = rows;
      words[row + DATAGRAM_ROW.tos] = tos;
      cursor = at + payload.length;
      rows += 1;
    }
    return rows;
  }

  send(from: number, rows: number, _iovecRows: number): number {
    const { bytes, words } = this.#memory;
    for (let done = 0; done < rows; done += 1) {
      const row = (LAYOUT.messages >> 2) + (from + done) * MESSAGE_ROW.words;
      const destination = LAYOUT.destinations + words[row + MESSAGE_ROW.address]! * ADDRESS_SIZE;
      const first = words[row + MESSAGE_ROW.first]!;
      const message = {
        payload: gather(this.#memory, LAYOUT.sendIovecs, first, words[row + MESSAGE_ROW.count]!),
        address: socketAddress.ipv4Address(bytes, destination),
        port: socketAddress.port(bytes, destination),
        tos: words[row + MESSAGE_ROW.tos]!,
        segment: words[row + MESSAGE_ROW.segment]!,
      };
      this.#error = this.refuse?.(message) ?? 0;
      if (this.#error !== 0) return done;
      this.sent.push(message);
    }
    return rows;
  }

  lastError(): number {
    return this.#error;
  }
}
