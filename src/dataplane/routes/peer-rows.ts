/**
 * A row for each peer, in shared memory: what the daemon knows of it, for the lanes, and what the
 * lanes see of it, for the daemon. Each writes words of its own, and nobody waits.
 *
 *    known   PLACES x 5 int32               written by the daemon   see KNOWN
 *    seen    threads x PLACES x 24 doubles  written by the lanes    see SEEN
 *    ticks   1 int32                        written by the daemon   seconds since its start
 *
 * A peer's place in both is that in the table (places.ts), which it keeps while it is a peer. Only
 * what is touched takes memory. Peers beyond PLACES share the last row.
 */
import { FIRST_PEER } from './peer.js';

export const PLACES = 65_536;

/** Words of `known`. */
const KNOWN = {
  /** Its outer address. */
  address: 0,
  /** The first address of its subnet: the VTEP's own on the overlay. */
  overlay: 1,
  /** The longest outer IPv4 packet that reaches it whole, in bytes; 0: not known. */
  pathMtu: 2,
  /** 1: the route there has an MTU of its own, less than its device's, by which to cut. */
  cut: 3,
  /** How often the place was given away: what was seen in an earlier turn is another peer's. */
  turn: 4,
  words: 5,
} as const;

/** Columns of `seen`, all of them doubles. */
export const SEEN_NAMES = [
  // packets and their inner bytes that left for it, and that came from its address
  'sentPackets',
  'sentBytes',
  'receivedPackets',
  'receivedBytes',
  // sends that answered what an earlier datagram may have met: port unreachable, and all else; times
  'portUnreachable',
  'otherErrors',
  // packets that could not be sent: its socket full, no way there, forbidden here, anything else
  'droppedFull',
  'droppedUnreachable',
  'droppedDenied',
  'droppedFailed',
  // UDP_SEGMENT sends refused; times
  'segmentRefused',
  // inner senders told that their packets do not fit the path; times
  'tooBigTold',
  // packets that left longer than the path takes whole
  'inFragments',
] as const;

export type SeenName = (typeof SEEN_NAMES)[number];

/** Columns that no reader adds up: the tick of the last packet, and how UDP_SEGMENT stands. */
const LAST_HEARD = 13;
/** Without UDP_SEGMENT until this tick, the last time for so many ticks, in this turn. */
const SEGMENT_AGAIN = 14;
const SEGMENT_WAIT = 15;
const SEGMENT_TURN = 16;
/** Whole cache lines. */
const COLUMNS = 24;

/** A column of `seen`, by name. */
export const Seen = Object.fromEntries(SEEN_NAMES.map((name, index) => [name, index])) as {
  readonly [name in SeenName]: number;
};

/** Ticks that a peer goes without UDP_SEGMENT after a refusal: doubled each time, up to this. */
const LONGEST_SEGMENT_WAIT = 256;

/** For the workerData of a lane. */
export interface PeerRowsHandle {
  readonly known: SharedArrayBuffer;
  readonly seen: SharedArrayBuffer;
  readonly ticks: SharedArrayBuffer;
}

/** What the lanes have seen of a peer, since it is one. */
export interface PeerReport extends Readonly<Record<SeenName, number>> {
  /** Seconds since a packet came from it; undefined: none did. */
  readonly heardSecondsAgo: number | undefined;
  /** Seconds until UDP_SEGMENT is tried again towards it; 0: it is in use. */
  readonly segmentAgainIn: number;
  /** As the lanes know it; 0: not known. */
  readonly pathMtu: number;
}

/** The daemon's side. */
export class PeerRows {
  readonly handle: PeerRowsHandle;
  readonly #threads: number;
  readonly #known: Int32Array;
  readonly #seen: Float64Array;
  readonly #ticks: Int32Array;
  /** What each place had been counted when its peer came, by column. */
  readonly #before = new Map<number, Float64Array>();

  constructor(threads: number) {
    this.#threads = threads;
    this.handle = {
      known: new SharedArrayBuffer(PLACES * KNOWN.words * 4),
      seen: new SharedArrayBuffer(threads * PLACES * COLUMNS * 8),
      ticks: new SharedArrayBuffer(4),
    };
    this.#known = new Int32Array(this.handle.known);
    this.#seen = new Float64Array(this.handle.seen);
    this.#ticks = new Int32Array(this.handle.ticks);
    this.tick(1);
  }

  /** Tells the lanes the time: seconds, from 1 up. */
  tick(seconds: number): void {
    Atomics.store(this.#ticks, 0, Math.max(1, Math.floor(seconds)));
  }

  /** The seconds that the lanes were told last. */
  get now(): number {
    return Atomics.load(this.#ticks, 0);
  }

  /** A peer has taken a place that was free. Addresses are int32. */
  begin(place: number, address: number, overlay: number): void {
    const row = rowOf(place);
    this.setPathMtu(place, 0);
    this.#known[row * KNOWN.words + KNOWN.turn]! += 1;
    this.#before.set(row, this.#sum(row));
    this.go(place, address, overlay);
  }

  /** The peer at a place goes on with these addresses. */
  go(place: number, address: number, overlay: number): void {
    const at = rowOf(place) * KNOWN.words;
    this.#known[at + KNOWN.address] = address;
    this.#known[at + KNOWN.overlay] = overlay;
  }

  /**
   * Tells the lanes the longest outer packet that reaches the peer whole (0: not known), and
   * whether longer ones are to be cut by the MTU of the route, which is less than its device's.
   */
  setPathMtu(place: number, mtu: number, cutByRoute = false): void {
    const at = rowOf(place) * KNOWN.words;
    this.#known[at + KNOWN.pathMtu] = mtu;
    this.#known[at + KNOWN.cut] = cutByRoute ? 1 : 0;
  }

  read(place: number): PeerReport {
    const row = rowOf(place);
    const sum = this.#sum(row);
    const before = this.#before.get(row);
    const now = this.now;
    const turn = this.#known[row * KNOWN.words + KNOWN.turn]!;
    let again = 0;
    for (let thread = 0; thread < this.#threads; thread += 1) {
      const at = seenAt(thread, row);
      if (this.#seen[at + SEGMENT_TURN] !== turn) continue;
      again = Math.max(again, this.#seen[at + SEGMENT_AGAIN]!);
    }
    const counts = SEEN_NAMES.map((name, i) => [name, sum[i]! - (before?.[i] ?? 0)] as const);
    const heard = sum[LAST_HEARD]!;
    const isHeard = sum[Seen.receivedPackets]! > (before?.[Seen.receivedPackets] ?? 0);
    return {
      ...(Object.fromEntries(counts) as Record<SeenName, number>),
      heardSecondsAgo: isHeard ? Math.max(0, now - heard) : undefined,
      segmentAgainIn: Math.max(0, again - now),
      pathMtu: this.#known[row * KNOWN.words + KNOWN.pathMtu]!,
    };
  }

  /** One count alone, for who looks at thousands each second: makes nothing. */
  count(place: number, name: SeenName): number {
    const row = rowOf(place);
    let sum = -(this.#before.get(row)?.[Seen[name]] ?? 0);
    for (let thread = 0; thread < this.#threads; thread += 1) {
      sum += this.#seen[seenAt(thread, row) + Seen[name]]!;
    }
    return sum;
  }

  /** The columns of all threads: added up, the last packet's tick the latest. */
  #sum(row: number): Float64Array {
    const sum = new Float64Array(COLUMNS);
    for (let thread = 0; thread < this.#threads; thread += 1) {
      const at = seenAt(thread, row);
      for (let i = 0; i < SEEN_NAMES.length; i += 1) sum[i]! += this.#seen[at + i]!;
      sum[LAST_HEARD] = Math.max(sum[LAST_HEARD]!, this.#seen[at + LAST_HEARD]!);
    }
    return sum;
  }
}

/** A lane thread's side. `peer` is what a look-up answers, from FIRST_PEER up. */
export class PeerView {
  readonly #known: Int32Array;
  readonly #seen: Float64Array;
  readonly #ticks: Int32Array;

  constructor({ known, seen, ticks }: PeerRowsHandle, thread: number) {
    const bytes = PLACES * COLUMNS * 8;
    this.#known = new Int32Array(known);
    this.#seen = new Float64Array(seen, thread * bytes, PLACES * COLUMNS);
    this.#ticks = new Int32Array(ticks);
  }

  /** Seconds, as the daemon tells them. */
  get now(): number {
    return this.#ticks[0]!;
  }

  overlay(peer: number): number {
    return this.#known[rowOf(peer - FIRST_PEER) * KNOWN.words + KNOWN.overlay]!;
  }

  /** The longest outer packet that reaches it whole, in bytes; 0: not known. */
  pathMtu(peer: number): number {
    return this.#known[rowOf(peer - FIRST_PEER) * KNOWN.words + KNOWN.pathMtu]!;
  }

  /** Whether packets that do not fit are to be cut by the route's MTU, not by the device's. */
  isCutByRoute(peer: number): boolean {
    return this.#known[rowOf(peer - FIRST_PEER) * KNOWN.words + KNOWN.cut] === 1;
  }

  get(peer: number, column: number): number {
    return this.#seen[rowOf(peer - FIRST_PEER) * COLUMNS + column]!;
  }

  add(peer: number, column: number, amount: number): void {
    this.#seen[rowOf(peer - FIRST_PEER) * COLUMNS + column]! += amount;
  }

  /** Packets came from its address, with so many inner bytes. */
  heard(peer: number, packets: number, bytes: number): void {
    const at = rowOf(peer - FIRST_PEER) * COLUMNS;
    this.#seen[at + Seen.receivedPackets]! += packets;
    this.#seen[at + Seen.receivedBytes]! += bytes;
    this.#seen[at + LAST_HEARD] = this.#ticks[0]!;
  }

  /** Whether UDP_SEGMENT may be tried towards it now. */
  maySegment(peer: number): boolean {
    const row = rowOf(peer - FIRST_PEER);
    const at = row * COLUMNS;
    const again = this.#seen[at + SEGMENT_AGAIN]!;
    return (
      again === 0 ||
      again <= this.#ticks[0]! ||
      this.#seen[at + SEGMENT_TURN] !== this.#known[row * KNOWN.words + KNOWN.turn]
    );
  }

  /** A UDP_SEGMENT send to it was refused: it goes without for a while, each time longer. */
  refuseSegment(peer: number): void {
    const row = rowOf(peer - FIRST_PEER);
    const at = row * COLUMNS;
    const seen = this.#seen;
    const turn = this.#known[row * KNOWN.words + KNOWN.turn]!;
    const before = seen[at + SEGMENT_TURN] === turn ? seen[at + SEGMENT_WAIT]! : 0;
    const wait = Math.min(Math.max(1, 2 * before), LONGEST_SEGMENT_WAIT);
    seen[at + SEGMENT_TURN] = turn;
    seen[at + SEGMENT_WAIT] = wait;
    seen[at + SEGMENT_AGAIN] = this.#ticks[0]! + wait;
    seen[at + Seen.segmentRefused]! += 1;
  }
}

function rowOf(place: number): number {
  return place < PLACES ? place : PLACES - 1;
}

function seenAt(thread: number, row: number): number {
  return (thread * PLACES + row) * COLUMNS;
}
