/**
 * The last senders that no lease names: a small table in the thread's row of the counters, which
 * that thread alone writes. Whoever was seen longest ago makes room for a new one. Readers may
 * meet a row that is just being written: it is told with a count too low, or not at all.
 */

/** Rows of one thread. */
const ROWS = 16;
/** Columns of a row, all doubles. */
const ADDRESS = 0;
const PACKETS = 1;
/** In ticks (routes/peer-rows.ts), from 1 up; 0: the row is free. */
const LAST = 2;
const COLUMNS = 3;

/** Doubles that the table takes. */
export const STRANGERS_LENGTH = ROWS * COLUMNS;

export interface Stranger {
  /** On the underlay, IPv4 as int32. */
  readonly address: number;
  readonly packets: number;
  readonly secondsAgo: number;
}

export class Strangers {
  readonly #table: Float64Array;

  /** @param table STRANGERS_LENGTH doubles that nobody else writes */
  constructor(table: Float64Array) {
    this.#table = table;
  }

  /** So many packets came from `address` at tick `now`. */
  note(address: number, packets: number, now: number): void {
    const table = this.#table;
    let oldest = 0;
    for (let at = 0; at < STRANGERS_LENGTH; at += COLUMNS) {
      if (table[at + LAST] !== 0 && table[at + ADDRESS] === address) {
        table[at + PACKETS]! += packets;
        table[at + LAST] = now;
        return;
      }
      if (isOlder(table, at, oldest)) oldest = at;
    }
    table[oldest + PACKETS] = 0;
    table[oldest + ADDRESS] = address;
    table[oldest + LAST] = now;
    table[oldest + PACKETS] = packets;
  }
}

/** Of two that were seen in the same second the one with fewer packets: a flood passes by. */
function isOlder(table: Float64Array, at: number, than: number): boolean {
  const last = table[at + LAST]!;
  const other = table[than + LAST]!;
  return last < other || (last === other && table[at + PACKETS]! < table[than + PACKETS]!);
}

/** The strangers of all threads' tables at tick `now`: each address once, the last first. */
export function readStrangers(tables: readonly Float64Array[], now: number): Stranger[] {
  const found = new Map<number, Stranger>();
  for (const table of tables) {
    for (let at = 0; at < STRANGERS_LENGTH; at += COLUMNS) {
      if (table[at + LAST] === 0 || table[at + PACKETS] === 0) continue;
      const address = table[at + ADDRESS]!;
      const other = found.get(address);
      const secondsAgo = Math.max(0, now - table[at + LAST]!);
      found.set(address, {
        address,
        packets: table[at + PACKETS]! + (other?.packets ?? 0),
        secondsAgo: Math.min(secondsAgo, other?.secondsAgo ?? secondsAgo),
      });
    }
  }
  return [...found.values()].sort((a, b) => a.secondsAgo - b.secondsAgo || b.packets - a.packets);
}
