/**
 * What outbound has made in this batch: messages of one or more datagrams each, as rows in the
 * lane's memory. Order is kept. `flush` empties it, whatever the kernel answers:
 *
 *   taken             counted for its peer
 *   its socket full   dropped, as a full qdisc would drop it: nobody waits for one peer
 *   an ICMP error     told of an earlier datagram, and this message was not sent: it goes again
 *   UDP_SEGMENT fails its datagrams go one by one, and that peer's so for a while
 *   anything else     dropped
 *
 * So what stops a message costs that message, and its peer alone.
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
import { ECONNREFUSED } from '../io/native.js';
import { PacketPool } from '../io/pool.js';
import * as socketAddress from '../io/socket-address.js';
import { type PeerView, Seen } from '../routes/peer-rows.js';
import { Counter, type Counters } from './counters.js';
import { Drop } from './drops.js';
import type { SegmentSink } from './segment.js';
import { mayBeOfSegments, mayBeTold, reasonOf } from './send-errors.js';
import { type SeesOutbound, UNSEEN } from './tap/tap.js';

/** Bytes in one UDP_SEGMENT send: 65507 are taken, but over 65000 nothing merges again. */
const MESSAGE_BYTES = 65000;
/** Datagrams in one UDP_SEGMENT send: 64 is what every kernel since 4.18 takes. */
const MESSAGE_DATAGRAMS = 64;
/** Outer IPv4 and UDP headers, which a path's MTU counts and a datagram's size does not. */
const OUTER_HEADERS = 28;
/** Sends of one message at most, when each meets an error of an earlier one. */
const TRIES = 8;

export class SendQueue implements SegmentSink {
  /** Slots for the headers of segments; taken back when the queue is empty again. */
  readonly pool = new PacketPool(LAYOUT.headers, HEADER_SLOTS, HEADER_SLOT_SIZE);
  /** Whether several datagrams may leave by one UDP_SEGMENT send. */
  readonly udpSegment: boolean;
  readonly #memory: LaneMemory;
  readonly #underlay: Underlay;
  readonly #peers: PeerView;
  readonly #counters: Counters;
  readonly #tap: SeesOutbound;
  /** Each message's peer, datagrams, and inner bytes; those that have not left yet. */
  readonly #to = new Int32Array(MESSAGES);
  readonly #addresses = new Int32Array(MESSAGES);
  readonly #packets = new Int32Array(MESSAGES);
  readonly #payload = new Int32Array(MESSAGES);
  /** Bytes of each message's datagrams but the last, which may be shorter. */
  readonly #sizes = new Int32Array(MESSAGES);
  #rows = 0;
  #iovecs = 0;
  /** Where datagrams go from now on; peer 0: nowhere yet. */
  #peer = 0;
  #address = 0;
  #port = 0;
  #tos = 0;
  #cutByRoute = false;
  /** The longest datagram to there that may go by UDP_SEGMENT: never more than a message holds. */
  #longest = 0;
  /** The last message: its datagrams' size, its bytes, where its last iovec ends, may it grow? */
  #size = 0;
  #bytes = 0;
  #end = 0;
  #mayGrow = false;

  constructor(
    memory: LaneMemory,
    underlay: Underlay,
    peers: PeerView,
    counters: Counters,
    udpSegment: boolean,
    tap: SeesOutbound = UNSEEN,
  ) {
    this.#memory = memory;
    this.#underlay = underlay;
    this.#peers = peers;
    this.#counters = counters;
    this.#tap = tap;
    this.udpSegment = udpSegment;
  }

  /** Whether one more datagram would not fit. */
  get full(): boolean {
    return this.#rows === MESSAGES || this.#iovecs + 2 > SEND_IOVECS;
  }

  /**
   * What is added from now on goes to `peer` at `address` (int32), with the TOS of its outer
   * header. A datagram that does not fit the path whole must not share a UDP_SEGMENT send: the
   * kernel numbers those packets so that the fragments of two could be taken for one's.
   */
  aim(peer: number, address: number, port: number, tos: number): void {
    if (peer === this.#peer && tos === this.#tos) return;
    this.#peer = peer;
    this.#address = address;
    this.#port = port;
    this.#tos = tos;
    this.#mayGrow = false;
    this.#cutByRoute = this.#peers.isCutByRoute(peer);
    const pathMtu = this.#peers.pathMtu(peer);
    const fits = pathMtu === 0 ? MESSAGE_BYTES : Math.min(pathMtu - OUTER_HEADERS, MESSAGE_BYTES);
    this.#longest = this.udpSegment && this.#peers.maySegment(peer) ? fits : 0;
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
   * least one, however long it is. Returns how many.
   */
  addRun(at: number, size: number, count: number): number {
    if (!this.#continues(size)) this.#begin(size);
    let taken = 1;
    if (size <= this.#longest && size === this.#size) {
      const room = MESSAGE_DATAGRAMS - this.#packets[this.#rows - 1]!;
      const fit = Math.floor((MESSAGE_BYTES - this.#bytes) / size);
      taken = Math.min(count, room, fit);
    }
    this.#piece(at, taken * size);
    this.#grow(size, taken);
    return taken;
  }

  /** Sends what is queued; the queue is empty afterwards. */
  flush(): void {
    if (this.#tap.on) this.#tap.messages(this.#rows, this.#packets);
    let row = 0;
    let tries = 0;
    while (row < this.#rows) {
      const sent = this.#underlay.send(row, this.#rows - row, this.#iovecs);
      if (sent > 0) {
        for (let one = row; one < row + sent; one += 1) this.#left(one);
        row += sent;
        tries = 0;
      }
      if (row === this.#rows) break;
      const errno = this.#underlay.lastError();
      tries += 1;
      if (this.#isToBeTriedAgain(row, errno, tries)) continue;
      if (this.#packets[row]! > 1 && mayBeOfSegments(errno)) this.#sendSingly(row);
      else this.#drop(row, errno);
      row += 1;
      tries = 0;
    }
    this.#rows = 0;
    this.#iovecs = 0;
    this.#peer = 0;
    this.#mayGrow = false;
    this.pool.reset();
  }

  /** Counts datagrams that were put into the last message. */
  #grow(size: number, datagrams: number): void {
    const last = this.#rows - 1;
    this.#packets[last]! += datagrams;
    this.#payload[last]! += datagrams * (size - ENCAPSULATION);
    this.#bytes += datagrams * size;
    this.#mayGrow = size <= this.#longest && size === this.#size;
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
    const { now } = this.#peers;
    const socket = this.#underlay.socketTo(this.#address, this.#port, this.#cutByRoute, now);
    words[at + MESSAGE_ROW.fd] = socket < 0 ? this.#underlay.sender : socket;
    words[at + MESSAGE_ROW.address] = socket < 0 ? row : -1;
    words[at + MESSAGE_ROW.segment] = 0;
    words[at + MESSAGE_ROW.tos] = this.#tos;
    words[at + MESSAGE_ROW.first] = this.#iovecs;
    words[at + MESSAGE_ROW.count] = 0;
    const destination = LAYOUT.destinations + row * ADDRESS_SIZE;
    socketAddress.writeIpv4(this.#memory.bytes, destination, this.#address, this.#port);
    this.#to[row] = this.#peer;
    this.#addresses[row] = this.#address;
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

  /**
   * After a UDP_SEGMENT send was refused: the message's datagrams leave one by one. If the first
   * does, then UDP_SEGMENT was at fault, and this peer goes without it for a while.
   */
  #sendSingly(row: number): void {
    const words = this.#memory.words;
    const at = this.#message(row);
    const size = this.#sizes[row]!;
    const end = words[at + MESSAGE_ROW.first]! + words[at + MESSAGE_ROW.count]!;
    let next = words[at + MESSAGE_ROW.first]!;
    let tries = 0;
    let isFirst = true;
    words[at + MESSAGE_ROW.segment] = 0;
    while (next < end) {
      let last = next;
      let length = words[this.#iovec(next) + IOVEC_ROW.length]!;
      while (length < size && last + 1 < end) {
        last += 1;
        length += words[this.#iovec(last) + IOVEC_ROW.length]!;
      }
      // What its last iovec has beyond it is of the datagrams after it.
      const iovec = this.#iovec(last);
      const beyond = Math.max(0, length - size);
      words[iovec + IOVEC_ROW.length]! -= beyond;
      words[at + MESSAGE_ROW.first] = next;
      words[at + MESSAGE_ROW.count] = last + 1 - next;
      while (this.#underlay.send(row, 1, this.#iovecs) < 1) {
        const errno = this.#underlay.lastError();
        tries += 1;
        if (!this.#isToBeTriedAgain(row, errno, tries)) {
          // The row is to have all that is lost.
          words[iovec + IOVEC_ROW.length]! += beyond;
          words[at + MESSAGE_ROW.count] = end - next;
          this.#drop(row, errno);
          return;
        }
      }
      if (isFirst) this.#segmentRefused(this.#to[row]!);
      isFirst = false;
      tries = 0;
      this.#counted(row, 1, length - beyond - ENCAPSULATION);
      this.#packets[row]! -= 1;
      if (beyond > 0) {
        words[iovec + IOVEC_ROW.offset]! += words[iovec + IOVEC_ROW.length]!;
        words[iovec + IOVEC_ROW.length] = beyond;
        next = last;
      } else {
        next = last + 1;
      }
    }
  }

  #segmentRefused(peer: number): void {
    this.#counters.add(Counter.segmentation_refused, 1);
    // Once for the messages of a batch, which were made before.
    if (this.#peers.maySegment(peer)) this.#peers.refuseSegment(peer);
  }

  #left(row: number): void {
    this.#counted(row, this.#packets[row]!, this.#payload[row]!);
  }

  #counted(row: number, packets: number, bytes: number): void {
    this.#counters.add(Counter.outbound_out_packets, packets);
    this.#counters.add(Counter.outbound_out_bytes, bytes);
    this.#counters.add(Counter.sends, 1);
    this.#peers.add(this.#to[row]!, Seen.sentPackets, packets);
    this.#peers.add(this.#to[row]!, Seen.sentBytes, bytes);
  }

  /**
   * Whether a send that met `errno` goes again: the errno may be what an ICMP message said of an
   * earlier datagram, told now, and then nothing was sent. Bounded, since it may be this one's.
   */
  #isToBeTriedAgain(row: number, errno: number, tries: number): boolean {
    if (!mayBeTold(errno)) return false;
    const refused = errno === ECONNREFUSED;
    if (refused) this.#counters.add(Counter.peer_refused, 1);
    this.#peers.add(this.#to[row]!, refused ? Seen.portUnreachable : Seen.otherErrors, 1);
    return tries < TRIES;
  }

  /** Counts what is left of a message that cannot be sent. */
  #drop(row: number, errno: number): void {
    const peer = this.#to[row]!;
    const packets = this.#packets[row]!;
    const reason = reasonOf(errno);
    this.#counters.drop(reason, packets);
    this.#sample(row, reason);
    if (this.#tap.on) this.#tap.unsent(row, packets, this.#sizes[row]!, reason);
    switch (reason) {
      case Drop.send_peer_full:
        this.#peers.add(peer, Seen.droppedFull, packets);
        this.#underlay.full(
          this.#addresses[row]!,
          this.#peers.get(peer, Seen.sentBytes),
          this.#peers.now,
        );
        break;
      case Drop.send_denied:
        this.#peers.add(peer, Seen.droppedDenied, packets);
        break;
      case Drop.send_peer_unreachable:
        this.#peers.add(peer, Seen.droppedUnreachable, packets);
        break;
      default:
        this.#peers.add(peer, Seen.droppedFailed, packets);
    }
  }

  /** Of its first datagram that does not leave. */
  #sample(row: number, reason: number): void {
    const { bytes, words } = this.#memory;
    const iovec = this.#iovec(words[this.#message(row) + MESSAGE_ROW.first]!);
    const at = words[iovec + IOVEC_ROW.offset]!;
    const there = words[iovec + IOVEC_ROW.length]!;
    const size = this.#sizes[row]!;
    this.#counters.samples.frame(reason, this.#addresses[row]!, bytes, at, there, size);
  }
}
