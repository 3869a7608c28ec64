/** How long an answer is waited for: longer from try to try, and by what the last one took. */
import type { Random } from '../runtime.js';

export class Patience {
  readonly #leastMs: number;
  readonly #mostMs: number;
  readonly #random: Random;
  #ms: number;

  /** Begins with `leastMs`, and never waits for more than `mostMs` and a fifth. */
  constructor(leastMs: number, mostMs: number, random: Random) {
    this.#leastMs = leastMs;
    this.#mostMs = mostMs;
    this.#random = random;
    this.#ms = leastMs;
  }

  /** The next deadline, in milliseconds, up to a fifth later, so that many hosts come apart. */
  next(): number {
    return Math.round(this.#ms * (1 + this.#random() / 5));
  }

  /** An answer came: three times as long is enough the next time. */
  took(ms: number): void {
    this.#ms = Math.min(Math.max(3 * ms, this.#leastMs), this.#mostMs);
  }

  /** None came in time. */
  overdue(): void {
    this.#ms = Math.min(2 * this.#ms, this.#mostMs);
  }
}
