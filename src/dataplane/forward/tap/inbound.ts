/**
 * What inbound shows to who looks: the datagrams as they came, each of a train, and the inner
 * packets as they are written. Datagrams are copied before the lane changes them, and marked when
 * they come to nothing; the inner packet in a dropped one is shown, too, where there is one. Where
 * only dropped ones are wanted, nothing is copied before that.
 */
import {
  ADDRESS_SIZE,
  DATAGRAM_ROW,
  ENCAPSULATION,
  INBOUND_END,
  IOVEC_ROW,
  LAYOUT,
  type LaneMemory,
  WRITE_ROW,
  WRITES,
} from '../../io/memory.js';
import * as socketAddress from '../../io/socket-address.js';
import { FIRST_PEER } from '../../routes/peer.js';
import type { RouteReader } from '../../routes/reader.js';
import * as ethernet from '../../wire/ethernet.js';
import * as ipv4 from '../../wire/ipv4.js';
import * as vnet from '../../wire/vnet.js';
import * as vxlan from '../../wire/vxlan.js';
import { isOnePacket } from '../one-packet.js';
import type { Filter } from './filter.js';
import { GENERATED, INNER, OF_PEER, OUTER, RECORD, type Recorder } from './ring.js';

/** Datagrams of a batch that are kept apart, at most; what is beyond is missed. */
const FRAMES = 8192;

export class InboundTap {
  readonly #bytes: Buffer;
  readonly #words: Int32Array;
  readonly #routes: RouteReader;
  readonly #recorder: Recorder;
  readonly #filter: Filter;
  /** The rows of the batch in work. */
  #rows = 0;
  /** Where its frames lie, in order, and each one's record. */
  #frames = 0;
  readonly #places = new Int32Array(FRAMES);
  readonly #records = new Int32Array(FRAMES);
  /** The next one to be marked, and the row of the packet written last: both only go up. */
  #next = 0;
  #row = 0;
  /** The records of the packets to be written, or 0. */
  readonly #writes = new Int32Array(WRITES);

  constructor(memory: LaneMemory, routes: RouteReader, recorder: Recorder, filter: Filter) {
    this.#bytes = memory.bytes;
    this.#words = memory.words;
    this.#routes = routes;
    this.#recorder = recorder;
    this.#filter = filter;
  }

  /** A batch of `rows` was received. */
  datagrams(rows: number): void {
    const { outer, inbound, dropsOnly } = this.#filter;
    this.#rows = rows;
    this.#frames = 0;
    this.#next = 0;
    this.#row = 0;
    if (!outer || !inbound || dropsOnly) return;
    for (let row = 0; row < rows; row += 1) this.#train(row);
  }

  /** The frames of `size` bytes at [from, to), of the datagram of `row`, are dropped. */
  refused(row: number, from: number, to: number, size: number, reason: number): void {
    const { inner, outer, inbound, dropsOnly } = this.#filter;
    if (!inbound || !this.#filter.takesReason(reason)) return;
    let frame = from;
    do {
      const end = Math.min(frame + size, to);
      if (outer) {
        const record = dropsOnly ? this.#outer(row, frame, end) : this.#find(frame);
        if (record !== 0) this.#recorder.mark(record, reason, 1);
      }
      if (inner) this.#refusedInner(row, frame, end, reason);
      frame += size;
    } while (frame < to);
  }

  /** So many packets are queued and about to be written, each behind `before` bytes. */
  writes(rows: number, before: number): void {
    const { inner, inbound, dropsOnly } = this.#filter;
    const isWanted = inner && inbound && !dropsOnly;
    if (isWanted && this.#recorder.missesAll) {
      this.#recorder.miss(INNER, rows);
      this.#writes.fill(0, 0, rows);
      return;
    }
    for (let row = 0; row < rows; row += 1) {
      this.#writes[row] = isWanted ? this.#write(row, before) : 0;
    }
  }

  /** The packet of a row, or `lost` of those it was made of, is not taken by the TUN. */
  unwritten(row: number, lost: number, before: number, reason: number): void {
    const { inner, inbound, dropsOnly } = this.#filter;
    const isLate = inner && inbound && dropsOnly && this.#filter.takesReason(reason);
    const record = isLate ? this.#write(row, before) : this.#writes[row]!;
    if (record !== 0) this.#recorder.mark(record, reason, lost);
  }

  #train(row: number): void {
    const words = this.#words;
    const at = this.#datagramRow(row);
    const offset = words[at + DATAGRAM_ROW.offset]!;
    const length = words[at + DATAGRAM_ROW.length]!;
    const segment = words[at + DATAGRAM_ROW.segment]!;
    const isMerged = segment > 0 && segment < length;
    const isOne = !isMerged || isOnePacket(this.#bytes, offset, length, segment);
    const size = isOne ? length : segment;
    if (this.#recorder.missesAll) {
      this.#recorder.miss(OUTER, isOne ? 1 : Math.ceil(length / segment));
      return;
    }
    const end = offset + length;
    let frame = offset;
    do {
      if (this.#frames === FRAMES) {
        this.#recorder.miss(OUTER);
      } else {
        this.#places[this.#frames] = frame;
        this.#records[this.#frames] = this.#outer(row, frame, Math.min(frame + size, end));
        this.#frames += 1;
      }
      frame += size;
    } while (frame < end);
  }

  /** A datagram at [at, end), where it is wanted. */
  #outer(row: number, at: number, end: number): number {
    const inner = this.#hasPacket(at, end) ? at + ENCAPSULATION : end;
    if (!this.#filter.takes(inner, end, this.#sender(row))) return 0;
    const record = this.#recorder.open(OUTER, end - at);
    if (record === 0) return 0;
    this.#tellSender(record, row);
    this.#recorder.append(at, end - at);
    return record;
  }

  #refusedInner(row: number, at: number, end: number, reason: number): void {
    if (!this.#hasPacket(at, end)) return;
    const packet = at + ENCAPSULATION;
    if (!this.#filter.takes(packet, end, this.#sender(row))) return;
    const length = Math.min(ipv4.totalLength(this.#bytes, packet) || end - packet, end - packet);
    const record = this.#recorder.open(INNER, length);
    if (record === 0) return;
    this.#tellSender(record, row);
    this.#recorder.append(packet, length);
    this.#recorder.mark(record, reason, 1);
  }

  /** Whether an IPv4 packet can be seen in the frame at [at, end). */
  #hasPacket(at: number, end: number): boolean {
    return (
      end - at >= ENCAPSULATION + ipv4.HEADER &&
      vxlan.hasVniFlag(this.#bytes, at) &&
      ethernet.type(this.#bytes, at + vxlan.HEADER) === ethernet.IPV4
    );
  }

  /** The packet of a row of the write queue, where it is wanted. */
  #write(row: number, before: number): number {
    const words = this.#words;
    const at = (LAYOUT.writes >> 2) + row * WRITE_ROW.words;
    const first = words[at + WRITE_ROW.first]!;
    const end = first + words[at + WRITE_ROW.count]!;
    const begin = words[this.#iovec(first) + IOVEC_ROW.offset]!;
    const packet = begin + before;
    let length = -before;
    let from = -1;
    for (let iovec = first; iovec < end; iovec += 1) {
      const offset = words[this.#iovec(iovec) + IOVEC_ROW.offset]!;
      length += words[this.#iovec(iovec) + IOVEC_ROW.length]!;
      if (from < 0 && offset >= LAYOUT.inbound && offset < INBOUND_END) from = this.#rowOf(offset);
    }
    const headers = words[this.#iovec(first) + IOVEC_ROW.length]! - before;
    if (!this.#filter.takes(packet, packet + headers, from < 0 ? 0 : this.#sender(from))) return 0;
    const record = this.#recorder.open(INNER | (from < 0 ? GENERATED : 0), length);
    if (record === 0) return 0;
    if (from >= 0) this.#tellSender(record, from);
    if (before > 0) this.#tellOffload(record, begin, length);
    for (let iovec = first; iovec < end; iovec += 1) {
      const skipped = iovec === first ? before : 0;
      const offset = words[this.#iovec(iovec) + IOVEC_ROW.offset]!;
      const bytes = words[this.#iovec(iovec) + IOVEC_ROW.length]!;
      this.#recorder.append(offset + skipped, bytes - skipped);
    }
    return record;
  }

  /** The vnet header at `at`, and what it says. */
  #tellOffload(record: number, at: number, length: number): void {
    const words = this.#words;
    this.#bytes.copyWithin(4 * (record + RECORD.vnet), at, at + vnet.HEADER);
    const size = vnet.gsoSize(this.#bytes, at);
    if (vnet.gsoType(this.#bytes, at) === vnet.NONE || size === 0) return;
    const headers = vnet.headerLength(this.#bytes, at);
    words[record + RECORD.pieces] = Math.max(1, Math.ceil((length - headers) / size));
    words[record + RECORD.pieceSize] = size;
  }

  #tellSender(record: number, row: number): void {
    const words = this.#words;
    const at = this.#datagramRow(row);
    const from = LAYOUT.senders + words[at + DATAGRAM_ROW.address]! * ADDRESS_SIZE;
    const address = this.#sender(row);
    words[record + RECORD.address] = address;
    words[record + RECORD.ports] = address === 0 ? 0 : socketAddress.port(this.#bytes, from);
    words[record + RECORD.tos] = words[at + DATAGRAM_ROW.tos]!;
    if (this.#routes.peerByAddress(address) >= FIRST_PEER) words[record + RECORD.kind]! |= OF_PEER;
  }

  /** The outer source of a row, int32; 0 where it is none of IPv4. */
  #sender(row: number): number {
    const index = this.#words[this.#datagramRow(row) + DATAGRAM_ROW.address]!;
    const from = LAYOUT.senders + index * ADDRESS_SIZE;
    return socketAddress.isIpv4(this.#bytes, from)
      ? socketAddress.ipv4Address(this.#bytes, from)
      : 0;
  }

  /** The row of the datagram that has the byte at `at`; asked in the order of the rows. */
  #rowOf(at: number): number {
    while (
      this.#row + 1 < this.#rows &&
      this.#words[this.#datagramRow(this.#row + 1) + DATAGRAM_ROW.offset]! <= at
    ) {
      this.#row += 1;
    }
    return this.#row;
  }

  /** The record of the frame at `at`, or 0; asked in the order of the frames. */
  #find(at: number): number {
    while (this.#next < this.#frames && this.#places[this.#next]! < at) this.#next += 1;
    return this.#next < this.#frames && this.#places[this.#next] === at
      ? this.#records[this.#next]!
      : 0;
  }

  #datagramRow(row: number): number {
    return (LAYOUT.datagrams >> 2) + row * DATAGRAM_ROW.words;
  }

  #iovec(row: number): number {
    return (LAYOUT.writeIovecs >> 2) + row * IOVEC_ROW.words;
  }
}
