/** Reproducible randomness: WEFT_SEED=number repeats a run. */
import { randomInt } from 'node:crypto';
import process from 'node:process';

export class Random {
  readonly seed: number;
  #state: number;

  constructor(seed = Number(process.env.WEFT_SEED ?? randomInt(2 ** 31))) {
    this.seed = seed;
    this.#state = seed | 0;
  }

  /** 0 to 2^32 - 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** low to high, both included. */
  between(low: number, high: number): number {
    return low + (this.next() % (high - low + 1));
  }

  chance(oneIn: number): boolean {
    return this.next() % oneIn === 0;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.next() % list.length]!;
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i += 1) bytes[i] = this.next();
    return bytes;
  }
}
