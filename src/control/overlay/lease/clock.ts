/**
 * Whether our lease runs down in the store as it does by our clock: now and then the store is asked
 * how long it has left, and its word counts. A host that was suspended has a clock that stood still,
 * and so has a guest whose processor time was taken away; a clock may also simply be fast. Without
 * this the lease would end before it is renewed, and the other hosts would forget this one.
 *
 * The store counts whole seconds, and gives a lease its full time again when it gets another leader.
 */
import type { Clock, Log } from '../../runtime.js';
import type { Looked } from '../../store/store.js';
import type { Held } from './holder.js';

export interface LeaseClockOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly held: () => Pick<Held, 'lease' | 'endsIn'>;
  /** Asks the store for our key and the time it has left. */
  readonly look: () => Promise<Looked>;
  /** Takes the seconds that a lease has left. */
  readonly tell: (lease: bigint, ttl: number) => void;
}

/** How far the store's count of our lease has gone from ours. */
export interface Drift {
  /** Above 0: there is less left than by our clock. */
  readonly seconds: number;
  /** By our clock. */
  readonly overSeconds: number;
}

/** The first answer is only what others are compared with. */
const FIRST_MS = 5_000;
const EVERY_MS = 30_000;
/** What is compared is not older than that, so that a jump is told no longer. */
const WINDOW_MS = 600_000;
/** Less may be rounding, and an answer that was under way. */
const TOLERATED_SECONDS = 5;

/** What the store said, and when. */
interface Said {
  readonly lease: bigint;
  readonly ttl: number;
  readonly atMs: number;
}

export class LeaseClock {
  readonly #options: LeaseClockOptions;
  #first: Said | undefined;
  #last: Said | undefined;
  #cancel: () => void;
  #stopped = false;

  /** Asks from now on. */
  constructor(options: LeaseClockOptions) {
    this.#options = options;
    this.#cancel = options.clock.after(FIRST_MS, () => void this.#ask());
  }

  /** Undefined while there is none worth telling. */
  get drift(): Drift | undefined {
    const [first, last] = [this.#first, this.#last];
    if (first === undefined || last === undefined) return undefined;
    const overSeconds = (last.atMs - first.atMs) / 1_000;
    const seconds = first.ttl - last.ttl - overSeconds;
    return Math.abs(seconds) > TOLERATED_SECONDS ? { seconds, overSeconds } : undefined;
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }

  async #ask(): Promise<void> {
    const { clock, held, look } = this.#options;
    if (held().lease !== 0n) {
      const begun = clock.now();
      // What the store does not answer now, it is asked again.
      const looked = await look().catch(() => undefined);
      if (this.#stopped) return;
      // Of an answer that was long on its way nobody knows when it was so.
      const isFresh = clock.now() - begun < TOLERATED_SECONDS * 500;
      if (looked?.entry !== undefined && isFresh) this.#take(looked.entry.lease, looked.ttl);
    }
    this.#cancel = clock.after(EVERY_MS, () => void this.#ask());
  }

  #take(lease: bigint, ttl: number): void {
    const { clock, log, held, tell } = this.#options;
    const { lease: ours, endsIn } = held();
    if (lease === 0n || lease !== ours || endsIn === undefined) return;
    const said = { lease, ttl, atMs: clock.now() };
    const [first, last] = [this.#first, this.#last];
    const isOther = last?.lease !== lease || ttl > last.ttl;
    const isOld = first === undefined || said.atMs - first.atMs > WINDOW_MS;
    if (isOther || isOld) this.#first = isOther ? said : last;
    this.#last = said;
    // Where there is more left than we count, to renew it early does no harm.
    const lessSeconds = endsIn / 1_000 - ttl;
    if (lessSeconds <= TOLERATED_SECONDS) return;
    tell(lease, ttl);
    log.info(`our lease has ${Math.round(lessSeconds)} s less left in etcd than by our clock`);
  }
}
