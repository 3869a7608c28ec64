/**
 * Keeps what is done again and again a small part of one processor, however much there is to look
 * at: what took a while is not done again before a hundred times as long has passed. On a host of
 * a usual size that is less than the period anyway.
 *
 * Of the last two times the shorter counts, since one may have waited for other work. Work that
 * found something to do, or failed, is none that goes on for ever: it is due again at once.
 */
import type { Clock } from '../runtime.js';

const SHARE = 100;
/** Nothing is put off for longer. */
const LONGEST_MS = 60_000;

export class Pace {
  readonly #clock: Clock;
  #tookMs = Number.POSITIVE_INFINITY;
  #notBefore = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
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
    const tookMs = ended - begun;
    this.#notBefore = ended + Math.min(SHARE * Math.min(tookMs, this.#tookMs), LONGEST_MS);
    this.#tookMs = tookMs;
    return did;
  }
}
