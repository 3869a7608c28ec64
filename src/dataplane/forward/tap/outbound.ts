/**
 * What outbound shows to who looks: the inner packets as they were read, super-packets as such, and
 * the datagrams as they leave. Both are copied before the lane changes them, and marked when they
 * come to nothing. Where only dropped ones are wanted, nothing is copied before that.
 */
import {
  ADDRESS_SIZE,
  BATCH,
  ENCAPSULATION,
  IOVEC_ROW,
  LAYOUT,
  type LaneMemory,
  MESSAGE_ROW,
  MESSAGES,
  OUTBOUND_END,
  PACKET_ROW,
} from '../../io/memory.js';
import * as socketAddress from '../../io/socket-address.js';
import { FIRST_PEER } from '../../routes/peer.js';
import type { RouteReader } from '../../routes/reader.js';
import * as ipv4 from '../../wire/ipv4.js';
import * as tcp from '../../wire/tcp.js';
import * as udp from '../../wire/udp.js';
import * as vnet from '../../wire/vnet.js';
import type { Filter } from './filter.js';
import { INNER, OF_PEER, OUTBOUND, OUTER, RECORD, type Recorder } from './ring.js';

/** Datagrams of one message, at most (send-queue.ts). */
const MESSAGE_DATAGRAMS = 64;

export class OutboundTap {
  readonly #bytes: Buffer;
  readonly #words: Int32Array;
  readonly #routes: RouteReader;
  readonly #recorder: Recorder;
  readonly #filter: Filter;
  /** The rows of the batch in work, the size they were read for, and each one's record or 0. */
  #rows = 0;
  #size = 0;
  readonly #packets = new Int32Array(BATCH);
  /** The records of all queued datagrams, or 0; and where those of each message begin. */
  readonly #datagrams = new Int32Array(MESSAGES * MESSAGE_DATAGRAMS);
  readonly #first = new Int32Array(MESSAGES + 1);
  /** Whether no datagram that is queued has a record. */
  #areMissed = false;
  /** A message's bytes that were not passed yet: where, up to its iovec's end, and which that is. */
  #at = 0;
  #left = 0;
  #iovec = 0;

  constructor(memory: LaneMemory, routes: RouteReader, recorder: Recorder, filter: Filter) {
    this.#bytes = memory.bytes;
    this.#words = memory.words;
    this.#routes = routes;
    this.#recorder = recorder;
    this.#filter = filter;
  }

  /** A batch of `rows` was read, for segments of `size` bytes. */
  packets(rows: number, size: number): void {
    const { inner, outbound, dropsOnly } = this.#filter;
    this.#rows = rows;
    this.#size = size;
    const isWanted = inner && outbound && !dropsOnly;
    if (isWanted && this.#recorder.missesAll) {
      this.#recorder.miss(INNER, rows);
      this.#packets.fill(0, 0, rows);
      return;
    }
    for (let row = 0; row < rows; row += 1) {
      this.#packets[row] = isWanted ? this.#packet(row) : 0;
    }
  }

  /** The packet of `row` is dropped before it was made into datagrams. */
  refused(row: number, reason: number): void {
    const { inner, outbound, dropsOnly } = this.#filter;
    const isLate = inner && outbound && dropsOnly && this.#filter.takesReason(reason);
    const record = isLate ? this.#packet(row) : this.#packets[row]!;
    if (record !== 0) this.#recorder.mark(record, reason, this.#words[record + RECORD.pieces]!);
  }

  /** So many messages are queued and about to leave, each of so many datagrams. */
  messages(rows: number, counts: Int32Array): void {
    const { outer, outbound, dropsOnly } = this.#filter;
    if (!outer || !outbound || dropsOnly) return;
    this.#areMissed = this.#recorder.missesAll;
    if (this.#areMissed) {
      for (let row = 0; row < rows; row += 1) this.#recorder.miss(OUTER, counts[row]!);
      return;
    }
    let entry = 0;
    for (let row = 0; row < rows; row += 1) {
      this.#first[row] = entry;
      const message = this.#message(row);
      let left = this.#begin(message, this.#words[message + MESSAGE_ROW.count]!);
      const size = this.#words[message + MESSAGE_ROW.segment]! || left;
      for (; left > 0; left -= size) {
        this.#datagrams[entry] = this.#datagram(row, Math.min(size, left), OUTER);
        entry += 1;
      }
    }
    this.#first[rows] = entry;
  }

  /** The last `count` datagrams, of `size` bytes, of a message do not leave: all that its row has. */
  unsent(row: number, count: number, size: number, reason: number): void {
    const { inner, outer, outbound, dropsOnly } = this.#filter;
    if (!outbound) return;
    if (dropsOnly) {
      if (!this.#filter.takesReason(reason)) return;
      if (outer) this.#recordLost(row, size, reason, OUTER);
      if (inner) this.#recordLost(row, size, reason, INNER);
      return;
    }
    if (outer && !this.#areMissed) {
      const end = this.#first[row + 1]!;
      for (let entry = end - count; entry < end; entry += 1) {
        const record = this.#datagrams[entry]!;
        if (record !== 0) this.#recorder.mark(record, reason, 1);
      }
    }
    if (inner) this.#markPackets(row, size, reason);
  }

  /** The inner packet of a row, where it is wanted and there is room; else 0. */
  #packet(row: number): number {
    const words = this.#words;
    const at = this.#packetRow(row);
    const offset = words[at + PACKET_ROW.offset]!;
    const length = words[at + PACKET_ROW.length]!;
    const gap = words[at + PACKET_ROW.gap]!;
    const peer = this.#peerOf(offset, length);
    const address = peer < FIRST_PEER ? 0 : this.#routes.address(peer);
    if (!this.#filter.takes(offset, offset + length, address)) return 0;
    const kind = INNER | OUTBOUND | (address === 0 ? 0 : OF_PEER);
    const record = this.#recorder.open(kind, length);
    if (record === 0) return 0;
    words[record + RECORD.address] = address;
    words[record + RECORD.ports] = address === 0 ? 0 : this.#routes.port(peer);
    for (let word = 0; word < 3; word += 1) {
      words[record + RECORD.vnet + word] = words[at + PACKET_ROW.vnet + word]!;
    }
    this.#countPieces(record, offset, length);
    let piece = gap === 0 ? length : gap - ENCAPSULATION + this.#size;
    for (let from = offset, left = length; left > 0; ) {
      this.#recorder.append(from, Math.min(piece, left));
      from += piece + gap;
      left -= piece;
      piece = this.#size;
    }
    return record;
  }

  #peerOf(at: number, length: number): number {
    if (length < ipv4.HEADER || ipv4.version(this.#bytes, at) !== 4) return 0;
    return this.#routes.lookup(ipv4.destination(this.#bytes, at));
  }

  /** How many segments the packet at `at` is to become. */
  #countPieces(record: number, at: number, length: number): void {
    const header = 4 * (record + RECORD.vnet);
    const size = vnet.gsoSize(this.#bytes, header);
    if (vnet.gsoType(this.#bytes, header) === vnet.NONE || size === 0) return;
    if (length < ipv4.HEADER + tcp.HEADER) return;
    const ip = ipv4.headerLength(this.#bytes, at);
    const isUdp = ipv4.protocol(this.#bytes, at) === ipv4.UDP;
    const headers = ip + (isUdp ? udp.HEADER : tcp.headerLength(this.#bytes, at + ip));
    this.#words[record + RECORD.pieces] = Math.max(1, Math.ceil((length - headers) / size));
    this.#words[record + RECORD.pieceSize] = size;
  }

  /** All that is left of a message, each datagram by itself. */
  #recordLost(row: number, size: number, reason: number, kind: number): void {
    const message = this.#message(row);
    let left = this.#begin(message, this.#words[message + MESSAGE_ROW.count]!);
    for (; left > 0; left -= size) {
      const record = this.#datagram(row, Math.min(size, left), kind);
      if (record !== 0) this.#recorder.mark(record, reason, 1);
    }
  }

  /** The next datagram of the message begun, or the inner packet in it, where it is wanted. */
  #datagram(row: number, length: number, kind: number): number {
    const words = this.#words;
    const destination = LAYOUT.destinations + row * ADDRESS_SIZE;
    const address = socketAddress.ipv4Address(this.#bytes, destination);
    const inner = this.#at + ENCAPSULATION;
    const skipped = kind === INNER ? ENCAPSULATION : 0;
    let record = 0;
    if (this.#filter.takes(inner, this.#at + Math.min(this.#left, length), address)) {
      record = this.#recorder.open(kind | OUTBOUND | OF_PEER, length - skipped);
    }
    if (record !== 0) {
      const port = socketAddress.port(this.#bytes, destination);
      words[record + RECORD.address] = address;
      words[record + RECORD.ports] = port | (this.#filter.ownPort << 16);
      words[record + RECORD.tos] = words[this.#message(row) + MESSAGE_ROW.tos]!;
    }
    this.#pass(skipped, false);
    this.#pass(length - skipped, record !== 0);
    return record;
  }

  /** Stands before the first byte of a message; returns how many it has. */
  #begin(message: number, count: number): number {
    const words = this.#words;
    const first = words[message + MESSAGE_ROW.first]!;
    let total = 0;
    for (let iovec = first; iovec < first + count; iovec += 1) {
      total += words[this.#iovecRow(iovec) + IOVEC_ROW.length]!;
    }
    this.#enter(first);
    return total;
  }

  #enter(iovec: number): void {
    this.#iovec = iovec;
    this.#at = this.#words[this.#iovecRow(iovec) + IOVEC_ROW.offset]!;
    this.#left = this.#words[this.#iovecRow(iovec) + IOVEC_ROW.length]!;
  }

  /** Passes over `length` bytes, which the open record gets if `isKept`. */
  #pass(length: number, isKept: boolean): void {
    for (let left = length; left > 0; ) {
      if (this.#left === 0) this.#enter(this.#iovec + 1);
      const step = Math.min(left, this.#left);
      if (step <= 0) return;
      if (isKept) this.#recorder.append(this.#at, step);
      this.#at += step;
      this.#left -= step;
      left -= step;
    }
  }

  /** Marks the packets whose payload is in a message: it lies where it was read. */
  #markPackets(row: number, size: number, reason: number): void {
    const words = this.#words;
    const message = this.#message(row);
    const first = words[message + MESSAGE_ROW.first]!;
    const count = words[message + MESSAGE_ROW.count]!;
    for (let iovec = first; iovec < first + count; iovec += 1) {
      const at = words[this.#iovecRow(iovec) + IOVEC_ROW.offset]!;
      if (at < LAYOUT.outbound || at >= OUTBOUND_END) continue;
      const record = this.#packets[this.#rowOf(at)]!;
      const lost = Math.ceil(words[this.#iovecRow(iovec) + IOVEC_ROW.length]! / size);
      if (record !== 0) this.#recorder.mark(record, reason, lost);
    }
  }

  /** The row of the packet that `at` belongs to, be it to the headers before it. */
  #rowOf(at: number): number {
    let found = 0;
    for (let row = 1; row < this.#rows; row += 1) {
      const begin = this.#words[this.#packetRow(row) + PACKET_ROW.offset]! - ENCAPSULATION;
      if (begin <= at) found = row;
    }
    return found;
  }

  #packetRow(row: number): number {
    return (LAYOUT.packets >> 2) + row * PACKET_ROW.words;
  }

  #message(row: number): number {
    return (LAYOUT.messages >> 2) + row * MESSAGE_ROW.words;
  }

  #iovecRow(row: number): number {
    return (LAYOUT.sendIovecs >> 2) + row * IOVEC_ROW.words;
  }
}
