/**
 * Whether every lane's thread turns: the one verdict for the status, /healthz, /readyz and
 * systemd's watchdog. A thread that has nothing to do turns four times a second, so one that does
 * not turn from one sample to the next stands still, whatever keeps it.
 *
 * Samples are counted, not time: on a machine that was suspended, or in a control group that was
 * frozen, neither went on.
 */
import type { Clock, Log } from '../runtime.js';

/** Between two samples. */
const EVERY_MS = 1_000;
/** So many samples without a turn are a fault; and so many are the end. */
const FAULT = 3;
const END = 10;

/** A thread as it is now. */
export interface Turning {
  /** `lane 0`. */
  readonly name: string;
  /** Wraps; any other number than before is a turn. */
  readonly turns: number;
}

export interface LaneWatchOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** The threads that run; none while they are started anew. */
  readonly look: () => readonly Turning[];
  /** Called once, with what is wrong and the threads that stand still: they are given up. */
  readonly dead: (line: string, names: readonly string[]) => void;
}

interface Seen {
  readonly turns: number;
  /** Samples since it turned. */
  readonly still: number;
}

export class LaneWatch {
  readonly #options: LaneWatchOptions;
  #seen: ReadonlyMap<string, Seen> = new Map();
  #cancel: () => void;

  /** Watches from now on. */
  constructor(options: LaneWatchOptions) {
    this.#options = options;
    this.#cancel = options.clock.after(EVERY_MS, () => this.#sample());
  }

  /** A line for each thread that stands still: `lane 0 has not turned for 4 s`. */
  get faults(): readonly string[] {
    return this.#standing.map(([name, { still }]) => describe(name, still));
  }

  stop(): void {
    this.#cancel();
  }

  get #standing(): [string, Seen][] {
    return [...this.#seen].filter(([, { still }]) => still >= FAULT);
  }

  #sample(): void {
    const { clock, log, look, dead } = this.#options;
    const seen = new Map<string, Seen>();
    for (const { name, turns } of look()) {
      const before = this.#seen.get(name);
      const still = before?.turns === turns ? before.still + 1 : 0;
      seen.set(name, { turns, still });
      if (still === FAULT) log.warn(describe(name, still));
      if (still === 0 && (before?.still ?? 0) >= FAULT) log.info(`${name} turns again`);
    }
    this.#seen = seen;
    if ([...seen.values()].every(({ still }) => still < END)) {
      this.#cancel = clock.after(EVERY_MS, () => this.#sample());
      return;
    }
    const names = this.#standing.map(([name]) => name);
    dead(this.faults.join('; '), names);
  }
}

function describe(name: string, still: number): string {
  return `${name} has not turned for ${still} s`;
}
