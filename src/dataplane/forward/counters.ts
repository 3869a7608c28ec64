/**
 * The counters of a lane's thread: one row of doubles in shared memory (int32 byte counts wrap in
 * seconds), with its table of strangers and its samples of drops behind them. Only that thread writes its row; readers add
 * the rows up.
 *
 * A packet is what travels on the underlay: a super-packet from the TUN counts as the
 * segments it is cut into, a merged train from the socket as its datagrams. So in each
 * direction: in + generated = out + dropped, where what weft generates goes inbound (too-big.ts).
 * Bytes are those of the inner packets; inbound_in_bytes has whatever lies behind one in its frame,
 * too.
 */
import { DropSamples, SAMPLES_LENGTH } from './drop-samples.js';
import { DROP_NAMES } from './drops.js';
import { STRANGERS_LENGTH } from './strangers.js';

export const COUNTER_NAMES = [
  'outbound_in_packets',
  'outbound_in_bytes',
  'outbound_out_packets',
  'outbound_out_bytes',
  'inbound_in_packets',
  'inbound_in_bytes',
  'inbound_out_packets',
  'inbound_out_bytes',
  // written to the TUN beside what came in
  'generated_packets',
  // notes: no packet is lost by these
  'sends',
  'writes',
  'receives',
  'reads',
  'read_errors',
  'receive_errors',
  'reserved_bits_seen',
  'segmentation_refused',
  'peer_refused',
  'merging_refused',
] as const;

export type CounterName = (typeof COUNTER_NAMES)[number];

export const Counter = Object.fromEntries(COUNTER_NAMES.map((name, index) => [name, index])) as {
  readonly [name in CounterName]: number;
};

const DROPS = COUNTER_NAMES.length;
const STRANGERS = DROPS + DROP_NAMES.length;
const SAMPLES = STRANGERS + STRANGERS_LENGTH;
const ROW_LENGTH = SAMPLES + SAMPLES_LENGTH;

/** Shared memory for a row each of `threads`. */
export function createCounters(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer(threads * ROW_LENGTH * Float64Array.BYTES_PER_ELEMENT);
}

/** The row that one thread writes. */
export class Counters {
  readonly row: Float64Array;
  /** What was dropped of late: see drop-samples.ts. */
  readonly samples: DropSamples;

  constructor(shared: SharedArrayBuffer = createCounters(1), thread = 0) {
    this.row = new Float64Array(shared, thread * ROW_LENGTH * 8, SAMPLES);
    this.samples = new DropSamples(sampleTable(shared, thread));
  }

  /** The table of the last strangers: see strangers.ts. */
  get strangers(): Float64Array {
    return this.row.subarray(STRANGERS, SAMPLES);
  }

  add(counter: number, amount: number): void {
    this.row[counter]! += amount;
  }

  drop(reason: number, packets: number): void {
    this.row[DROPS + reason]! += packets;
  }

  dropped(reason: number): number {
    return this.row[DROPS + reason]!;
  }

  get(counter: number): number {
    return this.row[counter]!;
  }
}

export interface CounterTotals {
  readonly counters: Readonly<Record<CounterName, number>>;
  /** Only the reasons that occurred. */
  readonly drops: Readonly<Partial<Record<(typeof DROP_NAMES)[number], number>>>;
}

/** The sum of the rows of `threads` from `first` on, by name; of all unless told. */
export function readTotals(
  shared: SharedArrayBuffer,
  first = 0,
  threads = shared.byteLength / (ROW_LENGTH * 8) - first,
): CounterTotals {
  const all = new Float64Array(shared, first * ROW_LENGTH * 8, threads * ROW_LENGTH);
  const sumOf = (column: number): number => {
    let total = 0;
    for (let at = column; at < all.length; at += ROW_LENGTH) total += all[at]!;
    return total;
  };
  const counters = Object.fromEntries(COUNTER_NAMES.map((name, index) => [name, sumOf(index)]));
  const drops = Object.fromEntries(
    DROP_NAMES.map((name, index) => [name, sumOf(DROPS + index)] as const).filter(
      ([, packets]) => packets > 0,
    ),
  );
  return { counters: counters as Record<CounterName, number>, drops };
}

/** The tables of strangers of all threads. */
export function strangerTables(shared: SharedArrayBuffer): Float64Array[] {
  return threadsOf(shared).map((thread) => new Counters(shared, thread).strangers);
}

/** The samples of drops of all threads. */
export function sampleTables(shared: SharedArrayBuffer): Float64Array[] {
  return threadsOf(shared).map((thread) => sampleTable(shared, thread));
}

function sampleTable(shared: SharedArrayBuffer, thread: number): Float64Array {
  return new Float64Array(shared, (thread * ROW_LENGTH + SAMPLES) * 8, SAMPLES_LENGTH);
}

function threadsOf(shared: SharedArrayBuffer): number[] {
  return Array.from({ length: shared.byteLength / (ROW_LENGTH * 8) }, (_, thread) => thread);
}
