/** Whether a lane writes where it may not. */
import assert from 'node:assert/strict';
import type { LaneMemory } from '../../../src/dataplane/io/memory.js';

/**
 * Sees that, between what `take` gives and now, the bytes outside `ranges` are as they were.
 * `ranges` are [from, to), ascending.
 */
export class Untouched {
  readonly #memory: LaneMemory;
  #before: Buffer;

  constructor(memory: LaneMemory) {
    this.#memory = memory;
    this.#before = Buffer.from(memory.bytes);
  }

  take(): void {
    this.#memory.bytes.copy(this.#before);
  }

  check(ranges: readonly (readonly [number, number])[]): void {
    let from = 0;
    for (const [start, end] of [...ranges, [this.#before.length, this.#before.length] as const]) {
      if (start > from) {
        const same = this.#memory.bytes.compare(this.#before, from, start, from, start) === 0;
        assert.ok(same, `a byte in [${from}, ${start}) was written`);
      }
      from = Math.max(from, end);
    }
  }
}

/** [offset - before, offset + length) of each of the batch's rows. */
export function rowsOf(
  memory: LaneMemory,
  table: number,
  words: number,
  rows: number,
  before: number,
): [number, number][] {
  return Array.from({ length: rows }, (_, row) => {
    const at = (table >> 2) + row * words;
    return [memory.words[at]! - before, memory.words[at]! + memory.words[at + 1]!];
  });
}
