/**
 * The addresses behind a name. The last good ones outlive the resolver: when it does not answer
 * any more, or knows the name no more, they go on being used. One look-up is under way at a
 * time, since each holds one of the few threads that also read files.
 */
import dns from 'node:dns/promises';
import net from 'node:net';
import type { Clock } from '../runtime.js';

export interface Names {
  /** Addresses for a name, never none; an address is its own. Rejects when none was ever known. */
  addresses(name: string): Promise<readonly string[]>;
}

export type Lookup = (name: string) => Promise<readonly string[]>;

/** How long a known address is held back for a fresh one, in milliseconds. */
const FRESH_WITHIN_MS = 1_000;
/** So often at most a name is looked up: when its addresses are known, and when not. */
const APART_MS = 10_000;
const APART_UNKNOWN_MS = 1_000;

interface Known {
  addresses: readonly string[];
  /** The look-up that is waited for or under way. */
  pending: Promise<void> | undefined;
  lookedUpAt: number;
  error: Error | undefined;
}

export class ResolvedNames implements Names {
  readonly #clock: Clock;
  readonly #lookup: Lookup;
  readonly #known = new Map<string, Known>();
  #last: Promise<void> = Promise.resolve();

  constructor(clock: Clock, lookup: Lookup = systemLookup) {
    this.#clock = clock;
    this.#lookup = lookup;
  }

  async addresses(name: string): Promise<readonly string[]> {
    if (net.isIP(name) !== 0) return [name];
    const known = this.#of(name);
    const apart = known.addresses.length > 0 ? APART_MS : APART_UNKNOWN_MS;
    if (known.pending === undefined && this.#clock.now() - known.lookedUpAt >= apart) {
      this.#look(name, known);
    }
    if (known.addresses.length === 0) await known.pending;
    else if (known.pending !== undefined) await this.#atMost(FRESH_WITHIN_MS, known.pending);
    if (known.addresses.length > 0) return known.addresses;
    throw known.error ?? new Error(`cannot resolve ${name}`);
  }

  #of(name: string): Known {
    let known = this.#known.get(name);
    if (known === undefined) {
      const lookedUpAt = Number.NEGATIVE_INFINITY;
      known = { addresses: [], pending: undefined, lookedUpAt, error: undefined };
      this.#known.set(name, known);
    }
    return known;
  }

  #look(name: string, known: Known): void {
    const look = async () => {
      try {
        const addresses = await this.#lookup(name);
        if (addresses.length > 0) known.addresses = addresses;
        known.error = undefined;
      } catch (error) {
        known.error = new Error(`cannot resolve ${name}: ${reasonOf(error)}`);
      }
      known.lookedUpAt = this.#clock.now();
      known.pending = undefined;
    };
    known.pending = this.#last = this.#last.then(look);
  }

  #atMost(ms: number, work: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(ms, resolve);
      void work.then(() => {
        cancel();
        resolve();
      });
    });
  }
}

async function systemLookup(name: string): Promise<string[]> {
  const found = await dns.lookup(name, { all: true, order: 'verbatim' });
  return found.map(({ address }) => address);
}

const REASONS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'there is no such name (ENOTFOUND)',
  EAI_AGAIN: 'the resolver does not answer (EAI_AGAIN)',
};

function reasonOf(error: unknown): string {
  const { code = '', message } = error as NodeJS.ErrnoException;
  return REASONS[code] ?? message;
}
