/**
 * What outbound has made and the underlay has not taken yet: messages of one or more
 * datagrams each, as rows in the lane's memory. Order is kept; a message that a peer's fault
 * stops costs that message alone.
 */
import type { Underlay } from '../io/device.js';
import {
  ADDRESS_SIZE,
  ENCAPSULATION,
  HEADER_SLOT_SIZE,
  HEADER_SLOTS,
  IOVEC_ROW,
  LAYOUT,
  type LaneMemory,
  MESSAGE_ROW,
  MESSAGES,
  SEND_IOVECS,
} from '../io/memory.js';
import {
  EAGAIN,
  ECONNREFUSED,
  EHOSTUNREACH,
  EINVAL,
  EIO,
  EMSGSIZE,
  ENETUNREACH,
  EPERM,
} from '../io/native.js';
import { PacketPool } from '../io/pool.js';
import * as socketAddress from '../io/socket-address.js';
import { Counter, type Counters } from './counters.js';
import { Drop } from './drops.js';
import type { SegmentSink } from './segment.js';

/** Bytes in one UDP_SEGMENT send: 65507 are taken, but over 65000 nothing merges again. */
const MESSAGE_BYTES = 65000;
/** Datagrams in one UDP_SEGMENT send: 64 is what every kernel since 4.18 takes. */
const MESSAGE_DATAGRAMS = 64;

export class SendQueue implements SegmentSink {
  /** Slots for the headers of segments; taken back when the queue is empty again. */
  readonly pool = new PacketPool(LAYOUT.headers, HEADER_SLOTS, HEADER_SLOT_SIZE);
  readonly #memory: LaneMemory;
  readonly #underlay: Underlay;
  readonly #counters: Counters;
  /** Datagrams and inner bytes of each message that have not left yet. */
  readonly #packets = new Int32Array(MESSAGES);
  readonly #payload = new Int32Array(MESSAGES);
  /** Bytes of each message's datagrams but the last, which may be shorter. */
  readonly #sizes = new Int32Array(MESSAGES);
  #from = 0;
  #rows = 0;
  #iovecs = 0;
  /** Where datagrams go from now on. */
  #address = 0;
  #port = 0;
  #tos = 0;
  /** The last message: its datagrams' size, its bytes, where its last iovec ends, may it grow? */
  #size = 0;
  #bytes = 0;
  #end = 0;
  #mayGrow = false;
  /** The message that is on its second try. */
  #again = -1;
  #segments: boolean;

  constructor(memory: LaneMemory, underlay: Underlay, counters: Counters, segments: boolean) {
    this.#memory = memory;
    this.#underlay = underlay;
    this.#counters = counters;
    this.#segments = segments;
  }

  /** Whether several datagrams leave by one UDP_SEGMENT send. */
  get segments(): boolean {
    return this.#segments;
  }

  /** Packets that wait for the underlay. */
  get queued(): number {
    let total = 0;
    for (let row = this.#from; row < this.#rows; row += 1) total += this.#packets[row]!;
    return total;
  }

  get empty(): boolean {
    return this.#from === this.#rows;
  }

  /** The descriptor whose buffer is full, while something waits. */
  get waitsFor(): number {
    return this.#memory.words[this.#message(this.#from) + MESSAGE_ROW.fd]!;
  }

  /** Whether one more datagram would not fit. */
  get full(): boolean {
    return this.#rows === MESSAGES || this.#iovecs + 2 > SEND_IOVECS;
  }

  /** What is added from now on goes to `address` (int32), with the TOS of its outer header. */
  aim(address: number, port: number, tos: number): void {
    if (address === this.#address && port === this.#port && tos === this.#tos) return;
    this.#address = address;
    this.#port = port;
    this.#tos = tos;
    this.#mayGrow = false;
  }

  /**
   * Queues a datagram of two pieces, which may lie side by side; ask `full` before. It joins the
   * message before it where one UDP_SEGMENT send may carry both: to the same socket with the
   * same TOS, no longer than the ones before, none of which was shorter.
   */
  add(header: number, headerLength: number, payload: number, length: number): void {
    const size = headerLength + length;
    if (!this.#continues(size)) this.#begin(size);
    if (header + headerLength === payload) {
      this.#piece(header, size);
    } else {
      this.#piece(header, headerLength);
      this.#piece(payload, length);
    }
    this.#grow(size, 1);
  }

  /**
   * Queues datagrams of `size` bytes that lie side by side from `at` on; ask `full` before. Takes
   * as many of the `count` as one more message, or the rest of the last one, has room for: at
   * least one. Returns how many.
   */
  addRun(at: number, size: number, count: number): number {
    if (!this.#continues(size)) this.#begin(size);
    let taken = 1;
    if (this.#segments && size === this.#size) {
      const room = MESSAGE_DATAGRAMS - this.#packets[this.#rows - 1]!;
      taken = Math.min(count, room, Math.floor((MESSAGE_BYTES - this.#bytes) / size));
    }
    this.#piece(at, taken * size);
    this.#grow(size, taken);
    return taken;
  }

  /** Sends what is queued. False when the underlay is full: flush again before the next batch. */
  flush(): boolean {
    while (this.#from < this.#rows) {
      const whole = this.#segments || this.#packets[this.#from]! === 1;
      if (!(whole ? this.#sendWhole() : this.#sendOne())) return false;
    }
    this.#from = 0;
    this.#rows = 0;
    this.#iovecs = 0;
    this.#mayGrow = false;
    this.#again = -1;
    this.pool.reset();
    return true;
  }

  /** Counts datagrams that were put into the last message. */
  #grow(size: number, datagrams: number): void {
    const last = this.#rows - 1;
    this.#packets[last]! += datagrams;
    this.#payload[last]! += datagrams * (size - ENCAPSULATION);
    this.#bytes += datagrams * size;
    this.#mayGrow = this.#segments && size === this.#size;
    // A message of one datagram goes without UDP_SEGMENT.
    if (this.#packets[last]! > 1) {
      this.#memory.words[this.#message(last) + MESSAGE_ROW.segment] = this.#size;
    }
  }

  #continues(size: number): boolean {
    return (
      this.#mayGrow &&
      size <= this.#size &&
      this.#bytes + size <= MESSAGE_BYTES &&
      this.#packets[this.#rows - 1]! < MESSAGE_DATAGRAMS
    );
  }

  #begin(size: number): void {
    const row = this.#rows;
    const words = this.#memory.words;
    const at = this.#message(row);
    const socket = this.#underlay.socketTo(this.#address, this.#port);
    words[at + MESSAGE_ROW.fd] = socket < 0 ? this.#underlay.sender : socket;
    words[at + MESSAGE_ROW.address] = socket < 0 ? row : -1;
    words[at + MESSAGE_ROW.segment] = 0;
    words[at + MESSAGE_ROW.tos] = this.#tos;
    words[at + MESSAGE_ROW.first] = this.#iovecs;
    words[at + MESSAGE_ROW.count] = 0;
    const destination = LAYOUT.destinations + row * ADDRESS_SIZE;
    socketAddress.writeIpv4(this.#memory.bytes, destination, this.#address, this.#port);
    this.#packets[row] = 0;
    this.#payload[row] = 0;
    this.#sizes[row] = size;
    this.#size = size;
    this.#bytes = 0;
    this.#end = 0;
    this.#rows = row + 1;
  }

  /** The first word of a message's row. */
  #message(row: number): number {
    return (LAYOUT.messages >> 2) + row * MESSAGE_ROW.words;
  }

  /** Adds [at, at + length) to the last message: to its last iovec where that ends at `at`. */
  #piece(at: number, length: number): void {
    const words = this.#memory.words;
    const iovec = this.#iovec(this.#iovecs);
    if (at === this.#end) {
      words[iovec - IOVEC_ROW.words + IOVEC_ROW.length]! += length;
    } else {
      words[iovec + IOVEC_ROW.offset] = at;
      words[iovec + IOVEC_ROW.length] = length;
      this.#iovecs += 1;
      words[this.#message(this.#rows - 1) + MESSAGE_ROW.count]! += 1;
    }
    this.#end = at + length;
  }

  /** The first word of an iovec's row. */
  #iovec(row: number): number {
    return (LAYOUT.sendIovecs >> 2) + row * IOVEC_ROW.words;
  }

  /** Sends messages as they are: without UDP_SEGMENT up to the next of several datagrams. */
  #sendWhole(): boolean {
    let rows = this.#rows - this.#from;
    if (!this.#segments) {
      rows = 0;
      while (this.#from + rows < this.#rows && this.#packets[this.#from + rows]! === 1) rows += 1;
    }
    const sent = this.#underlay.send(this.#from, rows, this.#iovecs);
    for (let row = this.#from; row < this.#from + sent; row += 1) this.#left(row);
    this.#from += sent;
    return sent === rows || this.#stopped(this.#underlay.lastError());
  }

  /** Without UDP_SEGMENT: the next datagram of a message leaves alone. */
  #sendOne(): boolean {
    const words = this.#memory.words;
    const row = this.#from;
    const at = this.#message(row);
    const size = this.#sizes[row]!;
    const first = words[at + MESSAGE_ROW.first]!;
    const count = words[at + MESSAGE_ROW.count]!;
    let pieces = 0;
    let length = 0;
    while (pieces < count && length < size) {
      length += words[this.#iovec(first + pieces) + IOVEC_ROW.length]!;
      pieces += 1;
    }
    // What its last iovec has beyond it is of the datagrams after it.
    const last = this.#iovec(first + pieces - 1);
    const beyond = Math.max(0, length - size);
    const datagram = length - beyond;
    words[last + IOVEC_ROW.length]! -= beyond;
    words[at + MESSAGE_ROW.segment] = 0;
    words[at + MESSAGE_ROW.count] = pieces;
    const sent = this.#underlay.send(row, 1, this.#iovecs);
    words[at + MESSAGE_ROW.count] = count;
    if (sent < 1) {
      words[last + IOVEC_ROW.length]! += beyond;
      return this.#stopped(this.#underlay.lastError());
    }
    this.#counters.add(Counter.outbound_out_packets, 1);
    this.#counters.add(Counter.outbound_out_bytes, datagram - ENCAPSULATION);
    this.#counters.add(Counter.sends, 1);
    this.#packets[row]! -= 1;
    this.#payload[row]! -= datagram - ENCAPSULATION;
    let gone = pieces;
    if (beyond > 0) {
      words[last + IOVEC_ROW.offset]! += words[last + IOVEC_ROW.length]!;
      words[last + IOVEC_ROW.length] = beyond;
      gone -= 1;
    }
    words[at + MESSAGE_ROW.first] = first + gone;
    words[at + MESSAGE_ROW.count] = count - gone;
    return true;
  }

  #left(row: number): void {
    this.#counters.add(Counter.outbound_out_packets, this.#packets[row]!);
    this.#counters.add(Counter.outbound_out_bytes, this.#payload[row]!);
    this.#counters.add(Counter.sends, 1);
  }

  /** What an errno at row `from` means. True: go on with the rows after it. */
  #stopped(errno: number): boolean {
    if (errno === EAGAIN) {
      this.#counters.add(Counter.underlay_full, 1);
      return false;
    }
    const words = this.#memory.words;
    const at = this.#message(this.#from);
    if (errno === EIO && words[at + MESSAGE_ROW.segment] !== 0) {
      // The route's device cannot do the checksums that segmentation needs (kernels before
      // 6.11): the tier is at fault, so the same message goes again datagram by datagram.
      this.#segments = false;
      this.#counters.add(Counter.segmentation_refused, 1);
      return true;
    }
    if (errno === ECONNREFUSED && this.#again !== this.#from) {
      // What an earlier datagram met, told now, and this one was not sent: it goes again.
      this.#again = this.#from;
      this.#counters.add(Counter.peer_refused, 1);
      return true;
    }
    this.#counters.drop(dropOf(errno), this.#packets[this.#from]!);
    this.#from += 1;
    return true;
  }
}

function dropOf(errno: number): number {
  switch (errno) {
    case EMSGSIZE:
      return Drop.send_too_long;
    case EPERM:
      return Drop.send_denied;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EINVAL: // what a blackhole route answers
      return Drop.send_peer_unreachable;
    default:
      return Drop.send_failed;
  }
}
