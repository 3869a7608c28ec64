/**
 * For each reason the head of a packet that was dropped of late, in the thread's row of the counters,
 * which that thread alone writes. At most one a second and reason is kept, the first of its second: any
 * other drop costs a comparison. Readers may meet one that is just being written: it is not told.
 */
import { DROP_NAMES, type DropName } from './drops.js';

/** Bytes that are kept: VXLAN, Ethernet, and an inner IPv4 and TCP header with some options. */
const KEPT = 96;

/** Doubles of a sample: the tick (routes/peer-rows.ts), from 1 up, 0 where there is none; … */
const WHEN = 0;
/** … the other end's address on the underlay, int32, 0 for none; … */
const ADDRESS = 1;
/** … whether it is a frame behind its VXLAN header, or an inner packet; … */
const IS_FRAME = 2;
/** … the bytes of the packet, and those that are kept; and these. */
const LENGTH = 3;
const CAPTURED = 4;
const BYTES = 5;
const COLUMNS = BYTES + KEPT / 8;

/** Doubles of a thread's samples. */
export const SAMPLES_LENGTH = DROP_NAMES.length * COLUMNS;

export interface DropSample {
  readonly reason: DropName;
  /** A frame behind its VXLAN header, as it is in a datagram; else an inner packet. */
  readonly isFrame: boolean;
  /** The other end's on the underlay, int32; 0 where there is none. */
  readonly address: number;
  /** Bytes of it, of which `bytes` are the first. */
  readonly length: number;
  readonly bytes: Uint8Array;
  readonly secondsAgo: number;
}

export class DropSamples {
  /** The tick; set once a turn. */
  now = 0;
  readonly #table: Float64Array;
  readonly #bytes: Uint8Array;

  /** @param table SAMPLES_LENGTH doubles that nobody else writes */
  constructor(table: Float64Array) {
    this.#table = table;
    this.#bytes = new Uint8Array(table.buffer, table.byteOffset, table.byteLength);
  }

  /** An inner packet of `length` bytes is dropped, the first `there` of which lie at `at`. */
  packet(reason: number, from: Uint8Array, at: number, there: number, length: number): void {
    if (this.#isDue(reason)) this.#keep(reason, 0, 0, from, at, there, length);
  }

  /** The same for a frame, from or to `address`. */
  frame(
    reason: number,
    address: number,
    from: Uint8Array,
    at: number,
    there: number,
    length: number,
  ): void {
    if (this.#isDue(reason)) this.#keep(reason, 1, address, from, at, there, length);
  }

  #isDue(reason: number): boolean {
    return this.#table[reason * COLUMNS + WHEN] !== this.now;
  }

  #keep(
    reason: number,
    isFrame: number,
    address: number,
    from: Uint8Array,
    at: number,
    there: number,
    length: number,
  ): void {
    const table = this.#table;
    const sample = reason * COLUMNS;
    const captured = Math.min(there, length, KEPT);
    table[sample + WHEN] = 0;
    table[sample + ADDRESS] = address;
    table[sample + IS_FRAME] = isFrame;
    table[sample + LENGTH] = length;
    table[sample + CAPTURED] = captured;
    const to = 8 * (sample + BYTES);
    for (let i = 0; i < captured; i += 1) this.#bytes[to + i] = from[at + i]!;
    table[sample + WHEN] = this.now;
  }
}

/** The last sample of each reason in all threads' tables, at tick `now`; in the order of the reasons. */
export function readSamples(tables: readonly Float64Array[], now: number): DropSample[] {
  return DROP_NAMES.flatMap((reason, number) => {
    const found = tables.flatMap((table) => readSample(table, reason, number, now) ?? []);
    return found.sort((a, b) => a.secondsAgo - b.secondsAgo).slice(0, 1);
  });
}

function readSample(
  table: Float64Array,
  reason: DropName,
  number: number,
  now: number,
): DropSample | undefined {
  const at = number * COLUMNS;
  const when = table[at + WHEN]!;
  if (when === 0) return undefined;
  const copy = table.slice(at, at + COLUMNS);
  // It was written anew meanwhile: there is one in the next second.
  if (table[at + WHEN] !== when || copy[WHEN] !== when) return undefined;
  return {
    reason,
    isFrame: copy[IS_FRAME] === 1,
    address: copy[ADDRESS]!,
    length: copy[LENGTH]!,
    bytes: new Uint8Array(copy.buffer, 8 * BYTES, copy[CAPTURED]!),
    secondsAgo: Math.max(0, now - when),
  };
}
