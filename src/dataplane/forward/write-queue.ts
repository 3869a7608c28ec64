/**
 * What inbound has made for the TUN in this batch: packets as rows in the lane's memory.
 * A merged packet that the kernel refuses to take is written again as the packets it was
 * merged from, which still lie where they were received (unmerge.ts).
 */
import type { Device } from '../io/device.js';
import {
  ENCAPSULATION,
  HEADER_SLOT_SIZE,
  HEADER_SLOTS,
  IOVEC_ROW,
  LAYOUT,
  type LaneMemory,
  WRITE_IOVECS,
  WRITE_ROW,
  WRITES,
} from '../io/memory.js';
import { EINVAL } from '../io/native.js';
import { PacketPool } from '../io/pool.js';
import * as vnet from '../wire/vnet.js';
import { Counter, type Counters } from './counters.js';
import { Drop } from './drops.js';
import type { SegmentSink } from './segment.js';
import { type SeesInbound, UNSEEN } from './tap/tap.js';
import { restoreFirst, restoreNext } from './unmerge.js';

/** Pieces of one packet: what one writev takes (UIO_MAXIOV). */
const ROW_IOVECS = 1024;
/** After so many merged packets refused, the kernel is asked no more. */
const REFUSALS = 4;

export class WriteQueue implements SegmentSink {
  /** Whether each packet is written behind a vnet header. */
  readonly vnet: boolean;
  /** Slots for the headers of segments; taken back by a flush. */
  readonly pool = new PacketPool(LAYOUT.inboundHeaders, HEADER_SLOTS, HEADER_SLOT_SIZE);
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #device: Device;
  readonly #counters: Counters;
  readonly #tap: SeesInbound;
  /** Datagrams and inner bytes that each row holds. */
  readonly #packets = new Int32Array(WRITES);
  readonly #payload = new Int32Array(WRITES);
  #rows = 0;
  #iovecs = 0;
  #refusals: number;

  /** `merges`: whether the kernel is to be asked to take merged packets. */
  constructor(
    memory: LaneMemory,
    device: Device,
    counters: Counters,
    hasVnet: boolean,
    merges = hasVnet,
    tap: SeesInbound = UNSEEN,
  ) {
    this.#refusals = merges ? 0 : REFUSALS;
    this.vnet = hasVnet;
    this.#bytes = memory.bytes;
    this.#words = memory.words;
    this.#device = device;
    this.#counters = counters;
    this.#tap = tap;
  }

  /** Whether one more packet of up to two pieces would not fit. */
  get full(): boolean {
    return this.#rows === WRITES || this.#iovecs + 2 > WRITE_IOVECS;
  }

  /** Whether the packet begun last may get one more piece. */
  get mayAppend(): boolean {
    return (
      this.merges &&
      this.#iovecs < WRITE_IOVECS &&
      this.#words[this.#row(this.#rows - 1) + WRITE_ROW.count]! < ROW_IOVECS
    );
  }

  /** Whether the kernel takes merged packets, as far as is known. */
  get merges(): boolean {
    return this.vnet && this.#refusals < REFUSALS;
  }

  /**
   * Begins a packet with its first piece at [at, at + length), whose vnet header lies before
   * it; ask `full` before.
   */
  begin(at: number, length: number): void {
    this.#begin(at, length);
    this.#packets[this.#rows - 1] = 1;
    this.#payload[this.#rows - 1] = length;
  }

  /** Appends a piece to the packet begun last, for one that had `inner` bytes; ask `mayAppend`. */
  append(at: number, length: number, inner: number): void {
    this.#append(at, length);
    this.#packets[this.#rows - 1]! += 1;
    this.#payload[this.#rows - 1]! += inner;
  }

  /** A segment of a packet that came as one and counts as one: see `countSegments`. */
  add(header: number, headerLength: number, payload: number, length: number): void {
    const at = header + ENCAPSULATION;
    vnet.clear(this.#bytes, at - vnet.HEADER);
    this.#begin(at, headerLength - ENCAPSULATION);
    this.#append(payload, length);
  }

  /** The packet whose segments were added last counts now, with its last segment. */
  countSegments(inner: number): void {
    this.#packets[this.#rows - 1]! += 1;
    this.#payload[this.#rows - 1]! += inner;
  }

  #begin(at: number, length: number): void {
    const row = this.#row(this.#rows);
    this.#words[row + WRITE_ROW.first] = this.#iovecs;
    this.#words[row + WRITE_ROW.count] = 0;
    this.#packets[this.#rows] = 0;
    this.#payload[this.#rows] = 0;
    this.#rows += 1;
    this.#append(at - this.#before, length + this.#before);
  }

  #append(at: number, length: number): void {
    const iovec = this.#iovec(this.#iovecs);
    this.#words[iovec + IOVEC_ROW.offset] = at;
    this.#words[iovec + IOVEC_ROW.length] = length;
    this.#words[this.#row(this.#rows - 1) + WRITE_ROW.count]! += 1;
    this.#iovecs += 1;
  }

  /** Writes all of it; a packet that the TUN refuses (it is down: EIO) is counted. */
  flush(): void {
    if (this.#tap.on) this.#tap.writes(this.#rows, this.#before);
    let from = 0;
    while (from < this.#rows) {
      const written = this.#device.write(from, this.#rows - from, this.#iovecs);
      for (let row = from; row < from + written; row += 1) {
        this.#counters.add(Counter.inbound_out_packets, this.#packets[row]!);
        this.#counters.add(Counter.inbound_out_bytes, this.#payload[row]!);
      }
      this.#counters.add(Counter.writes, written);
      from += written;
      if (from < this.#rows) {
        this.#refused(from);
        from += 1;
      }
    }
    this.#rows = 0;
    this.#iovecs = 0;
    this.pool.reset();
  }

  /**
   * Some kernels take the vnet header and then refuse merged packets with EINVAL. A peer's
   * super-packet is lost with it; from the fourth on they are cut before (inbound.ts).
   */
  #refused(row: number): void {
    const header = this.#words[this.#iovec(this.#words[this.#row(row)]!)]!;
    const isSuper = this.vnet && vnet.gsoType(this.#bytes, header) !== vnet.NONE;
    const refused = isSuper && this.#device.lastError() === EINVAL;
    if (refused) {
      this.#refusals += 1;
      this.#counters.add(Counter.merging_refused, 1);
    }
    if (refused && this.#packets[row]! > 1) this.#writeSingly(row);
    else this.#drop(row, this.#packets[row]!);
  }

  /** Writes the packets that a merged one was made of, in their order. */
  #writeSingly(row: number): void {
    const words = this.#words;
    const at = this.#row(row);
    const first = words[at + WRITE_ROW.first]!;
    const pieces = words[at + WRITE_ROW.count]!;
    const begin = words[this.#iovec(first) + IOVEC_ROW.offset]!;
    const headers = vnet.HEADER + vnet.headerLength(this.#bytes, begin);
    words[at + WRITE_ROW.count] = 1;
    for (let piece = first; piece < first + pieces; piece += 1) {
      const iovec = this.#iovec(piece);
      if (piece === first) {
        restoreFirst(this.#bytes, begin, words[iovec + IOVEC_ROW.length]!);
      } else {
        words[iovec + IOVEC_ROW.offset]! -= headers;
        words[iovec + IOVEC_ROW.length]! += headers;
        restoreNext(this.#bytes, words[iovec + IOVEC_ROW.offset]!);
      }
      words[at + WRITE_ROW.first] = piece;
      if (this.#device.write(row, 1, this.#iovecs) === 1) {
        this.#counters.add(Counter.inbound_out_packets, 1);
        this.#counters.add(
          Counter.inbound_out_bytes,
          words[iovec + IOVEC_ROW.length]! - vnet.HEADER,
        );
        this.#counters.add(Counter.writes, 1);
      } else {
        this.#drop(row, 1);
      }
    }
  }

  #drop(row: number, packets: number): void {
    this.#counters.drop(Drop.tun_refused, packets);
    const iovec = this.#iovec(this.#words[this.#row(row) + WRITE_ROW.first]!);
    const at = this.#words[iovec + IOVEC_ROW.offset]! + this.#before;
    const there = this.#words[iovec + IOVEC_ROW.length]! - this.#before;
    this.#counters.samples.packet(Drop.tun_refused, this.#bytes, at, there, there);
    if (this.#tap.on) this.#tap.unwritten(row, packets, this.#before, Drop.tun_refused);
  }

  /** Bytes before each packet. */
  get #before(): number {
    return this.vnet ? vnet.HEADER : 0;
  }

  #row(row: number): number {
    return (LAYOUT.writes >> 2) + row * WRITE_ROW.words;
  }

  #iovec(row: number): number {
    return (LAYOUT.writeIovecs >> 2) + row * IOVEC_ROW.words;
  }
}
