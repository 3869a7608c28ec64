/** The time in which a store is not followed, and what the log is told of it. */
import type { Clock, Log } from '../runtime.js';

/** Another reason is told when the last line is this old: twice as old from line to line. */
const FIRST_SILENCE_MS = 5_000;
const LONGEST_SILENCE_MS = 600_000;

interface Surroundings {
  /** Of the store, for the log. */
  readonly description: string;
  readonly clock: Clock;
  readonly log: Log;
}

export class Outage {
  /** By the clock; undefined when there is none. */
  since: number | undefined;
  /** The last one. */
  reason: string | undefined;
  readonly #around: Surroundings;
  /** The kind of the reason that the log was told; undefined when it was told none. */
  #told: string | undefined;
  #silentUntil = 0;
  #silenceMs = FIRST_SILENCE_MS;

  constructor(around: Surroundings) {
    this.#around = around;
    this.since = around.clock.now();
  }

  /** `tell`: it is worth a line. A reason of another kind than the last gets one too, but rarely. */
  failed(reason: string, tell: boolean): void {
    const { clock, log, description } = this.#around;
    const now = clock.now();
    this.since ??= now;
    this.reason = reason;
    const kind = reason.replaceAll(/\d+/g, '#');
    if (!tell || kind === this.#told || now < this.#silentUntil) return;
    const still = this.#told === undefined ? '' : 'still ';
    log.warn(`${description}: ${still}cannot follow the leases, keeping the peers: ${reason}`);
    this.#told = kind;
    this.#silentUntil = now + this.#silenceMs;
    this.#silenceMs = Math.min(2 * this.#silenceMs, LONGEST_SILENCE_MS);
  }

  end(): void {
    const { log, description } = this.#around;
    if (this.#told !== undefined) {
      log.info(`${description}: answers again, the leases are being followed`);
    }
    this.since = undefined;
    this.reason = undefined;
    this.#told = undefined;
    this.#silentUntil = 0;
    this.#silenceMs = FIRST_SILENCE_MS;
  }
}
