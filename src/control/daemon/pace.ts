/**
 * Keeps what is done again and again a small part of one processor, however much there is to look
 * at: what took a while is not done again before a hundred times as long has passed. On a host of
 * a usual size that is less than the period anyway.
 *
 * Of the last few times the shortest counts, since the others may have waited for other work. Work that
 * found something to do, or failed, is none that goes on for ever: it is due again at once.
 */
import type { Clock } from '../runtime.js';

const SHARE = 100;
/** So many times must have been long. */
const TIMES = 5;
/** Nothing is put off for longer. */
const LONGEST_MS = 60_000;

export class Pace {
  readonly #clock: Clock;
  readonly #freeMs: number;
  #tookMs: readonly number[] = [];
  #notBefore = Number.NEGATIVE_INFINITY;

  /** What takes less than `freeMs` is never put off: whoever does it has a period of his own. */
  constructor(clock: Clock, freeMs = 0) {
    this.#clock = clock;
    this.#freeMs = freeMs;
  }

  /** Whether it is time to do it again. */
  get isDue(): boolean {
    return this.#clock.now() >= this.#notBefore;
  }

  /** Does it, and takes the time where `isQuiet` says that nothing was to be done. */
  async run<T>(work: () => Promise<T>, isQuiet: (did: T) => boolean): Promise<T> {
    const begun = this.#clock.now();
    this.#notBefore = Number.NEGATIVE_INFINITY;
    const did = await work();
    const ended = this.#clock.now();
    if (!isQuiet(did)) return did;
    this.#tookMs = [...this.#tookMs, ended - begun].slice(-TIMES);
    const costMs = this.#tookMs.length < TIMES ? 0 : Math.min(...this.#tookMs);
    if (costMs > this.#freeMs) this.#notBefore = ended + Math.min(SHARE * costMs, LONGEST_MS);
    return did;
  }
}
