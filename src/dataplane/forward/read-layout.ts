/**
 * How the next batch is read: a guess that its super-packets will be cut as the last ones were.
 * Then each segment's payload arrives with room for its headers in front, and a whole message
 * lies in one piece. The guess is taken only from a batch whose super-packets are all alike and
 * like those of the last batch that had any; a packet that it does not fit is moved together
 * again. Behind a batch without super-packets there is none, since so many pieces cost small
 * packets time.
 */
import type { Device } from '../io/device.js';
import { ENCAPSULATION, LAYOUT, type LaneMemory, PACKET_ROW } from '../io/memory.js';
import * as ipv4 from '../wire/ipv4.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import * as vnet from '../wire/vnet.js';
import type { Segmenter } from './segment.js';

/** Shorter segments are not worth a read in so many pieces. */
const LEAST_SIZE = 512;

export class ReadLayout {
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  /** How the batch in work was read, and how many packets it has. */
  #headers = 0;
  #size = 0;
  #rows = 0;
  /** The super-packets of the batch in work: the first one's shape, and whether all have it. */
  #seenHeaders = 0;
  #seenSize = 0;
  #alike = true;
  /** The shape of the last batch that had any. */
  #lastHeaders = 0;
  #lastSize = 0;

  constructor(memory: LaneMemory) {
    this.#bytes = memory.bytes;
    this.#words = memory.words;
  }

  /** The segment size that the batch in work was read for; 0: each packet in one piece. */
  get size(): number {
    return this.#size;
  }

  /** Reads a batch. */
  read(device: Device): number {
    if (this.#rows > 0) this.#guess();
    this.#rows = device.read(this.#headers, this.#size);
    return this.#rows;
  }

  /** What the batch just done says of the next. */
  #guess(): void {
    const trusted =
      this.#alike &&
      this.#seenHeaders === this.#lastHeaders &&
      this.#seenSize === this.#lastSize &&
      this.#seenSize >= LEAST_SIZE &&
      // So that every segment's headers lie on a word.
      ((ENCAPSULATION + this.#seenHeaders + this.#seenSize) & 3) === 0;
    this.#headers = trusted ? this.#seenHeaders : 0;
    this.#size = trusted ? this.#seenSize : 0;
    if (this.#seenSize > 0) {
      this.#lastHeaders = this.#alike ? this.#seenHeaders : 0;
      this.#lastSize = this.#alike ? this.#seenSize : 0;
    }
    this.#seenHeaders = 0;
    this.#seenSize = 0;
    this.#alike = true;
  }

  /** Takes note of a super-packet's shape. */
  learn(segmenter: Segmenter): void {
    if (this.#seenSize === 0) {
      this.#seenHeaders = segmenter.headers;
      this.#seenSize = segmenter.size;
    } else if (segmenter.headers !== this.#seenHeaders || segmenter.size !== this.#seenSize) {
      this.#alike = false;
    }
  }

  /**
   * The gap to cut the packet of `row` with, 0 when it lies in one piece; where the guess was
   * wrong it is brought into one. Its IPv4 header was checked.
   */
  settle(row: number, gsoType: number, gsoSize: number): number {
    const at = (LAYOUT.packets >> 2) + row * PACKET_ROW.words;
    const gap = this.#words[at + PACKET_ROW.gap]!;
    if (gap === 0) return 0;
    const packet = this.#words[at + PACKET_ROW.offset]!;
    if (gsoType !== vnet.NONE && gsoSize === this.#size && this.#fits(packet)) return gap;
    this.#gather(packet, this.#words[at + PACKET_ROW.length]!, gap);
    this.#words[at + PACKET_ROW.gap] = 0;
    return 0;
  }

  #fits(packet: number): boolean {
    const transport = packet + ipv4.headerLength(this.#bytes, packet);
    const length =
      ipv4.protocol(this.#bytes, packet) === ipv4.UDP
        ? udp.HEADER
        : tcp.headerLength(this.#bytes, transport);
    return transport + length === packet + this.#headers;
  }

  #gather(packet: number, length: number, gap: number): void {
    const end = packet + length;
    let to = packet + this.#headers + this.#size;
    for (let from = to + gap; to < end; from += this.#size + gap) {
      const piece = Math.min(this.#size, end - to);
      this.#bytes.copyWithin(to, from, from + piece);
      to += piece;
    }
  }
}
