/**
 * Keeps what is done again and again a small part of one processor, however much there is to look
 * at: what took a while is not done again before some hundred times as long has passed. On a host of
 * a usual size that is less than the period anyway.
 *
 * Of the last few times the shortest counts, since others' work may be in the rest; until there were
 * so many, nothing is put off for long. Work that found something to do, or failed, is none that goes
 * on for ever: it is due again at once.
 */
import type { Clock } from '../runtime.js';

/** Each kind of look may take one part in so many: there are several, and together they count. */
const SHARE = 400;
/** So many times are looked back at. */
const TIMES = 5;
/** So many where it is told what they cost: it is theirs, whatever others do. */
const TIMES_TOLD = 2;
/** Nothing is put off for longer. */
const LONGEST_MS = 60_000;
/** The same, before the cost is known for sure. */
const EARLY_MS = 10_000;

/** Processor milliseconds so far, of all that a look makes work; undefined where nobody tells. */
export type Spent = () => number | undefined;

export interface PaceOptions {
  /** What costs less is never put off: whoever does it has a period of his own. */
  readonly freeMs?: number;
  /** What a look costs; how long it lasts unless told. */
  readonly spent?: Spent | undefined;
  readonly share?: number;
  readonly longestMs?: number;
  /** After so many times the cost is known for sure. */
  readonly sureAfter?: number;
}

export class Pace {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #options: PaceOptions;
  #costsMs: readonly number[] = [];
  #isTold = false;
  #notBefore = Number.NEGATIVE_INFINITY;

  constructor(clock: Pick<Clock, 'now'>, options: PaceOptions = {}) {
    this.#clock = clock;
    this.#options = options;
  }

  /** Whether it is time to do it again. */
  get isDue(): boolean {
    return this.#clock.now() >= this.#notBefore;
  }

  /** Does it, and takes what it cost where `isQuiet` says that nothing was to be done. */
  async run<T>(work: () => Promise<T>, isQuiet: (did: T) => boolean = () => true): Promise<T> {
    const { freeMs = 0, spent, share = SHARE } = this.#options;
    const [begun, before] = [this.#clock.now(), spent?.()];
    this.#notBefore = Number.NEGATIVE_INFINITY;
    const did = await work();
    const [ended, after] = [this.#clock.now(), spent?.()];
    if (!isQuiet(did)) return did;
    // Less than before: some of those that worked have been replaced.
    const isTold = before !== undefined && after !== undefined && after >= before;
    this.#isTold = isTold;
    const cost = isTold ? after - before : ended - begun;
    this.#costsMs = [...this.#costsMs, cost].slice(-TIMES);
    const costMs = Math.min(...this.#costsMs);
    if (costMs > freeMs) this.#notBefore = ended + Math.min(share * costMs, this.#longestMs);
    return did;
  }

  get #longestMs(): number {
    const { longestMs = LONGEST_MS } = this.#options;
    const { sureAfter = this.#isTold ? TIMES_TOLD : TIMES } = this.#options;
    return this.#costsMs.length < sureAfter ? Math.min(longestMs, EARLY_MS) : longestMs;
  }
}
