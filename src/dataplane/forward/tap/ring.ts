/**
 * Where a lane's thread leaves what it captures: a ring in the memory that it shares with the main
 * thread. The lane writes records and moves `head`, once a batch; the main thread takes them out
 * and moves `tail`. Neither waits for the other: where there is no room, or the lane has used up
 * what it may spend, the packet is not captured, and counted.
 *
 *     header, RING_HEADER bytes | records, RING_BYTES
 *
 * A record is RECORD_BYTES of words and what is kept of the packet, filled up to 8 bytes. None
 * lies over the ring's end: before one that would, a filler (kind 0) takes what is left.
 */
import { LAYOUT, RING_BYTES, RING_HEADER } from '../../io/memory.js';

/** Words of the ring's header. */
export const HEAD = 0;
export const TAIL = 1;
/** Bytes that the lane has spent since it began, and may spend; both wrap. */
const SPENT = 2;
const GRANTED = 3;
/** Packets not captured, two doubles: inner and outer. */
const MISSED = 4;
/** What is wanted, as filter.ts lays it out. */
export const WANTED = 8;

/** `head` and `tail` count these. */
const UNIT = 8;
const UNITS = RING_BYTES / UNIT;

/** Words of a record. */
export const RECORD = {
  /** Bytes, a multiple of 8, itself included. */
  size: 0,
  /** The bits below. */
  kind: 1,
  /** A double: milliseconds since 1970. */
  time: 2,
  /** Why it was dropped (drops.ts), and how many of its pieces were. */
  reason: 4,
  lost: 5,
  /** The other end's, on the underlay: int32, 0 where there is none. */
  address: 6,
  /** Its port, and in the upper half our own; 0 where it is not known. */
  ports: 7,
  /** Of the outer header. */
  tos: 8,
  /** Segments or datagrams that it stands for, and the payload of each; 1 and 0 for a single. */
  pieces: 9,
  pieceSize: 10,
  /** Bytes of the packet, and those that are kept. */
  length: 11,
  captured: 12,
  /** Its vnet header, 10 bytes. */
  vnet: 13,
} as const;
export const RECORD_BYTES = 64;

/** Kinds: what the bytes are. */
export const INNER = 1;
export const OUTER = 2;
/** No packet, but two doubles from word `reason` on: inner and outer packets not captured so far. */
export const COUNT = 3;
export const KIND_MASK = 3;
/** Beside it: on its way out; the other end is a peer; made by weft itself. */
export const OUTBOUND = 4;
export const OF_PEER = 8;
export const GENERATED = 16;

/** What a record costs beside its bytes, in bytes copied. */
const COST = 512;
/** Who had to leave out packets goes on with so much to spend, the longest packet, and so much taken out. */
const RESUME_COST = COST + 65_536;
const RESUME_UNITS = UNITS >> 1;

/** The lane's side. */
export class Recorder {
  readonly #bytes: Buffer;
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #header = LAYOUT.capture >> 2;
  /** Milliseconds since 1970, for the records to come. */
  #time = 0;
  #head = 0;
  #spent = 0;
  #snap = 0;
  #isLimited = false;
  #isOpen = true;
  #isFull = false;
  /** Where the open record's next byte goes, and where its bytes end. */
  #to = 0;
  #end = 0;

  constructor(bytes: Buffer, words: Int32Array) {
    this.#bytes = bytes;
    this.#words = words;
    this.#doubles = new Float64Array(words.buffer);
  }

  /**
   * Begins anew; nobody reads meanwhile. `snap`: bytes kept of each packet; `isOpen`: whatever is in
   * them, all packets are wanted.
   */
  begin(snap: number, isLimited: boolean, isOpen: boolean): void {
    this.#head = 0;
    this.#spent = 0;
    this.#snap = snap;
    this.#isLimited = isLimited;
    this.#isOpen = isOpen;
    this.#isFull = false;
    const header = this.#header;
    this.#words[header + SPENT] = 0;
    this.#doubles[(header + MISSED) >> 1] = 0;
    this.#doubles[((header + MISSED) >> 1) + 1] = 0;
    Atomics.store(this.#words, header + TAIL, 0);
    Atomics.store(this.#words, header + HEAD, 0);
  }

  /**
   * A record for a packet of `length` bytes, which `append` gives it. Returns the first of its
   * words, or 0: it is missed.
   */
  open(kind: number, length: number): number {
    const words = this.#words;
    const captured = Math.min(length, this.#snap);
    const need = (RECORD_BYTES + captured + UNIT - 1) >> 3;
    const at = this.#head & (UNITS - 1);
    const rest = at + need > UNITS ? UNITS - at : 0;
    if (this.#isFull || this.#used + rest + need > UNITS || !this.#mayCost(COST + captured)) {
      this.#isFull = true;
      this.miss(kind);
      return 0;
    }
    if (rest > 0) this.#place(at, rest, 0);
    const record = this.#place(rest > 0 ? 0 : at, need, kind);
    this.#doubles[(record + RECORD.time) >> 1] = this.#time;
    words[record + RECORD.reason] = 0;
    words[record + RECORD.lost] = 0;
    words[record + RECORD.address] = 0;
    words[record + RECORD.ports] = 0;
    words[record + RECORD.tos] = 0;
    words[record + RECORD.pieces] = 1;
    words[record + RECORD.pieceSize] = 0;
    words[record + RECORD.length] = length;
    words[record + RECORD.captured] = captured;
    words[record + RECORD.vnet] = 0;
    words[record + RECORD.vnet + 1] = 0;
    words[record + RECORD.vnet + 2] = 0;
    this.#to = 4 * record + RECORD_BYTES;
    this.#end = this.#to + captured;
    return record;
  }

  /** The open record's next bytes, from there; what it does not keep of them is left out. */
  append(at: number, length: number): void {
    const kept = Math.min(length, this.#end - this.#to);
    if (kept <= 0) return;
    this.#bytes.copyWithin(this.#to, at, at + kept);
    this.#to += kept;
  }

  /**
   * A batch begins, at `time`. Who could not take a packet takes none until there is room for many,
   * and then takes them in a row: to decide anew for each would cost as much as taking it.
   */
  batch(time: number): void {
    this.#time = time;
    if (!this.#isFull) return;
    const canPay = !this.#isLimited || this.#left >= RESUME_COST;
    this.#isFull = !canPay || this.#used > RESUME_UNITS;
  }

  /** Whether any packet is missed until the next batch, so that a count is all there is to do. */
  get missesAll(): boolean {
    return this.#isFull && this.#isOpen;
  }

  /** What it stands for is dropped: so many of its pieces. */
  mark(record: number, reason: number, lost: number): void {
    this.#words[record + RECORD.reason] = reason;
    this.#words[record + RECORD.lost]! += lost;
  }

  /** Counts packets that are not captured. */
  miss(kind: number, packets = 1): void {
    const inner = (this.#header + MISSED) >> 1;
    this.#doubles[inner + ((kind & KIND_MASK) === INNER ? 0 : 1)]! += packets;
  }

  /** What was recorded can be read from now on. */
  publish(): void {
    this.#words[this.#header + SPENT] = this.#spent;
    Atomics.store(this.#words, this.#header + HEAD, this.#head);
  }

  #mayCost(cost: number): boolean {
    if (!this.#isLimited) return true;
    if (this.#left < cost) return false;
    this.#spent = (this.#spent + cost) | 0;
    return true;
  }

  /** Units that nobody has taken out yet. */
  get #used(): number {
    return (this.#head - Atomics.load(this.#words, this.#header + TAIL)) >>> 0;
  }

  get #left(): number {
    return (Atomics.load(this.#words, this.#header + GRANTED) - this.#spent) | 0;
  }

  /** Takes `units` from place `at` of the ring. */
  #place(at: number, units: number, kind: number): number {
    const record = (LAYOUT.capture + RING_HEADER + UNIT * at) >> 2;
    this.#words[record + RECORD.size] = UNIT * units;
    this.#words[record + RECORD.kind] = kind;
    this.#head = (this.#head + units) | 0;
    return record;
  }
}

const NO_ROOM = Buffer.alloc(0);

/** Packets that were not captured. */
export interface Missed {
  readonly inner: number;
  readonly outer: number;
}

/** The main thread's side. */
export class CaptureRing {
  readonly #bytes: Buffer;
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;

  /** @param memory the lane's */
  constructor(memory: WebAssembly.Memory) {
    this.#bytes = Buffer.from(memory.buffer, LAYOUT.capture, RING_HEADER + RING_BYTES);
    const { buffer, byteOffset } = this.#bytes;
    this.#words = new Int32Array(buffer, byteOffset, RING_HEADER >> 2);
    this.#doubles = new Float64Array(buffer, byteOffset, RING_HEADER >> 3);
  }

  /** Sets what is wanted, while the lane does not look. */
  want(words: readonly number[]): void {
    this.#words.set(words, WANTED);
    this.#words[SPENT] = 0;
    Atomics.store(this.#words, GRANTED, 0);
  }

  /** Lets the lane spend so many bytes more; it saves up `most`. */
  grant(bytes: number, most: number): void {
    const left = (this.#words[GRANTED]! - this.#words[SPENT]!) | 0;
    const more = Math.max(0, Math.min(bytes, most - left));
    Atomics.store(this.#words, GRANTED, (this.#words[GRANTED]! + more) | 0);
  }

  /**
   * Takes out what was recorded so far: whole records, and fillers among them. They lie at the begin
   * of `room` where they fit, else in memory of their own.
   */
  read(room: Buffer = NO_ROOM): Buffer {
    const head = Atomics.load(this.#words, HEAD);
    const tail = this.#words[TAIL]!;
    const length = UNIT * ((head - tail) >>> 0);
    const from = RING_HEADER + UNIT * (tail & (UNITS - 1));
    const first = Math.min(length, RING_HEADER + RING_BYTES - from);
    const taken = length <= room.length ? room.subarray(0, length) : Buffer.allocUnsafe(length);
    this.#bytes.copy(taken, 0, from, from + first);
    this.#bytes.copy(taken, first, RING_HEADER, RING_HEADER + length - first);
    Atomics.store(this.#words, TAIL, head);
    return taken;
  }

  get missed(): Missed {
    return { inner: this.#doubles[MISSED >> 1]!, outer: this.#doubles[(MISSED >> 1) + 1]! };
  }
}
