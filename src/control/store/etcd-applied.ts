/**
 * What the listener was told, and what it says about the next listing: whether the watch had lost
 * changes, and whether the store is another one than before.
 *
 * In one history neither the store's revision nor that of a key goes back, and a listing of
 * revision R is the last word on everything that was written up to R. So a key that was made or
 * written at R or before, and was not so in that listing, is of another history: that of a store
 * that was restored from a backup or made anew, and has outgrown ours since. Its cluster id may
 * well be the same (etcd derives it from names and peer URLs).
 */
import type { Change, Entry, Listing } from './store.js';

/** An entry with the revision at which its key was made. */
export interface StoredEntry extends Entry {
  readonly created: bigint;
}

export type StoredChange =
  | { readonly type: 'put'; readonly entry: StoredEntry }
  | { readonly type: 'delete'; readonly key: string; readonly revision: bigint };

export interface StoredListing extends Listing {
  readonly entries: readonly StoredEntry[];
}

/** What a state can be told by: how many keys it has, and the revision of the newest. */
export interface Known {
  readonly count: number;
  readonly revision: bigint;
}

/** A key that we know and a listing does not have: in our history it was at `revision` at `at`. */
export interface Missing {
  readonly key: string;
  readonly revision: bigint;
  readonly at: bigint;
}

interface Revisions {
  readonly created: bigint;
  readonly revision: bigint;
}

export class Applied {
  readonly #keys = new Map<string, Revisions>();
  #cluster: string | undefined;
  #revision = 0n;
  /** The revision of the last listing. */
  #listedAt = 0n;
  #newest = 0n;

  list({ entries, revision, cluster }: StoredListing): void {
    this.#keys.clear();
    for (const entry of entries) this.#keys.set(entry.key, entry);
    this.#cluster = cluster;
    this.#revision = revision;
    this.#listedAt = revision;
    this.#findNewest();
  }

  change(batch: readonly StoredChange[]): void {
    for (const change of batch) {
      if (change.type === 'put') this.#keys.set(change.entry.key, change.entry);
      else this.#keys.delete(change.key);
      this.#revision = revisionOf(change);
    }
    this.#findNewest();
  }

  is({ count, revision }: Known): boolean {
    return count === this.#keys.size && revision === this.#newest;
  }

  /**
   * Whether changes were lost on the way here: those from before the last one that came, or any
   * at all when they had time enough (`all`).
   */
  lost({ entries }: Listing, all: boolean): boolean {
    if (all && entries.length !== this.#keys.size) return true;
    return entries.some(
      ({ key, revision }) =>
        this.#keys.get(key)?.revision !== revision && (all || revision <= this.#revision),
    );
  }

  /** Whether the listing cannot be of the history that we know. */
  replacedBy({ entries, revision, cluster }: StoredListing): boolean {
    const both = cluster !== undefined && this.#cluster !== undefined;
    return (
      (both && cluster !== this.#cluster) ||
      revision < this.#revision ||
      entries.some((entry) => this.#impossible(entry))
    );
  }

  /**
   * The newest key that we know and the listing lacks, or has as one that was made again. Either
   * it was removed, and nobody told us, or the store is another one: its past tells.
   */
  missing({ entries }: StoredListing): Missing | undefined {
    const there = new Map(entries.map(({ key, created }) => [key, created]));
    let newest: Missing | undefined;
    for (const [key, { created, revision }] of this.#keys) {
      if (there.get(key) === created || revision < (newest?.revision ?? 0n)) continue;
      newest = { key, revision, at: later(revision, this.#listedAt) };
    }
    return newest;
  }

  #impossible({ key, created, revision }: StoredEntry): boolean {
    const known = this.#keys.get(key);
    if (known !== undefined && revision < known.revision) return true;
    if (revision <= this.#listedAt) return revision !== known?.revision;
    return created <= this.#listedAt && created !== known?.created;
  }

  #findNewest(): void {
    this.#newest = 0n;
    for (const { revision } of this.#keys.values()) this.#newest = later(revision, this.#newest);
  }
}

export function revisionOf(change: Change): bigint {
  return change.type === 'put' ? change.entry.revision : change.revision;
}

function later(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
