/**
 * What etcd does with a handful of keys, on a fake clock: one revision for all keys, etcd leases
 * that run out and take their keys along, conditional writes, and, of what an operator can do to
 * it, a backup put back, and another cluster in its place.
 *
 * It keeps who wrote what, which etcd does not: the model test judges by that.
 */
import type { Change, Entry } from '../../../../src/control/store/store.js';
import type { FakeClock } from '../../fakes.js';

export type Author = 'us' | 'clone' | 'twin' | 'operator' | 'foreign';

export interface AuthoredEntry extends Entry {
  readonly by: Author;
}

/** A write as it takes place. */
export interface Put {
  readonly before: AuthoredEntry | undefined;
  readonly after: AuthoredEntry;
  /** `seen` of whoever wrote, when it was decided. */
  readonly seen: number;
}

/** What happened, in the order of `seq`, which goes on when the revision goes back. */
export interface Happened {
  readonly seq: number;
  readonly change: Change;
}

interface ServerLease {
  readonly id: bigint;
  readonly ttl: number;
  readonly by: string;
  endsAtMs: number;
  cancel: () => void;
}

interface Backup {
  readonly entries: readonly AuthoredEntry[];
  readonly leases: readonly { readonly id: bigint; readonly ttl: number; readonly by: string }[];
  readonly revision: bigint;
}

export class EtcdModel {
  readonly #clock: FakeClock;
  readonly entries = new Map<string, AuthoredEntry>();
  readonly leases = new Map<bigint, ServerLease>();
  /** Since the state was last replaced. */
  happened: Happened[] = [];
  revision = 1n;
  /** Counts whatever happens. */
  seq = 0;
  /** The id of the cluster. */
  cluster = 1;
  /** How often the state was replaced: requests of before do not arrive any more. */
  replacements = 0;
  /** Out of space: refuses puts and grants. */
  full = false;
  #nextLease = 1_000n;
  readonly #watchers = new Set<() => void>();
  readonly #onPut: (put: Put) => void;
  readonly #onRunOut: (lost: readonly AuthoredEntry[]) => void;
  #backup: Backup;
  /**
   * Revisions that our key had: a store set back does not use them again. Nothing can tell a key
   * written then from the one of before with the same revision.
   */
  readonly #used = new Set<bigint>();

  constructor(
    clock: FakeClock,
    onPut: (put: Put) => void,
    onRunOut: (lost: readonly AuthoredEntry[]) => void,
  ) {
    this.#clock = clock;
    this.#onPut = onPut;
    this.#onRunOut = onRunOut;
    this.#backup = this.#copy();
  }

  watch(told: () => void): () => void {
    this.#watchers.add(told);
    return () => this.#watchers.delete(told);
  }

  grant(ttl: number, by: string): bigint {
    const id = this.#nextLease++;
    this.#addLease(id, ttl, by);
    return id;
  }

  /** Seconds from now on; 0 when there is no such lease. */
  keepAlive(id: bigint): number {
    const lease = this.leases.get(id);
    if (lease === undefined) return 0;
    lease.cancel();
    this.#addLease(id, lease.ttl, lease.by);
    return lease.ttl;
  }

  /** Whole seconds, rounded down as etcd does; 0 when there is no such lease. */
  left(id: bigint): number {
    const lease = this.leases.get(id);
    return lease === undefined ? 0 : Math.floor((lease.endsAtMs - this.#clock.now()) / 1_000);
  }

  keysOn(id: bigint): string[] {
    return [...this.entries.values()].flatMap(({ key, lease }) => (lease === id ? [key] : []));
  }

  revoke(id: bigint): void {
    this.leases.get(id)?.cancel();
    this.leases.delete(id);
    const keys = this.keysOn(id);
    if (keys.length > 0) this.#remove(keys);
  }

  /** Unconditional; false when there is no such lease. */
  put(key: string, value: string, lease: bigint, by: Author, seen = this.seq): bigint | undefined {
    if (lease !== 0n && !this.leases.has(lease)) return undefined;
    this.#advance();
    const after = { key, value, lease, revision: this.revision, by };
    if (by !== 'foreign') this.#used.add(this.revision);
    const before = this.entries.get(key);
    this.entries.set(key, after);
    this.#happen([{ type: 'put', entry: after }]);
    this.#onPut({ before, after, seen });
    return this.revision;
  }

  delete(key: string): void {
    if (this.entries.has(key)) this.#remove([key]);
  }

  backUp(): void {
    this.#backup = this.#copy();
  }

  /** State and revision go back; the etcd leases of then have their whole time again, as etcd does it. */
  restore(): void {
    this.#replaceBy(this.#backup);
  }

  /** Another cluster, with what an operator copied into it, or with nothing. */
  become(cluster: number, revision: bigint, withEntries: boolean): void {
    const entries = withEntries ? this.#copy().entries : [];
    this.cluster = cluster;
    this.#replaceBy({ entries: [], leases: [], revision });
    for (const entry of entries) {
      this.#advance();
      this.#used.add(this.revision);
      this.entries.set(entry.key, { ...entry, lease: 0n, revision: this.revision });
    }
  }

  #advance(): void {
    do this.revision += 1n;
    while (this.#used.has(this.revision));
  }

  #copy(): Backup {
    return {
      entries: [...this.entries.values()],
      leases: [...this.leases.values()].map(({ id, ttl, by }) => ({ id, ttl, by })),
      revision: this.revision,
    };
  }

  #replaceBy({ entries, leases, revision }: Backup): void {
    for (const { cancel } of this.leases.values()) cancel();
    this.leases.clear();
    this.entries.clear();
    for (const { id, ttl, by } of leases) this.#addLease(id, ttl, by);
    for (const entry of entries) this.entries.set(entry.key, entry);
    this.revision = revision;
    this.happened = [];
    this.seq += 1;
    this.replacements += 1;
  }

  #addLease(id: bigint, ttl: number, by: string): void {
    const endsAtMs = this.#clock.now() + ttl * 1_000;
    const cancel = this.#clock.after(ttl * 1_000, () => this.#runOut(id));
    this.leases.set(id, { id, ttl, by, endsAtMs, cancel });
  }

  #runOut(id: bigint): void {
    const lost = [...this.entries.values()].filter(({ lease }) => lease === id);
    this.revoke(id);
    this.#onRunOut(lost);
  }

  #remove(keys: readonly string[]): void {
    this.revision += 1n;
    for (const key of keys) this.entries.delete(key);
    this.#happen(keys.map((key) => ({ type: 'delete', key, revision: this.revision })));
  }

  #happen(changes: readonly Change[]): void {
    this.seq += 1;
    for (const change of changes) this.happened.push({ seq: this.seq, change });
    if (this.happened.length > 500) this.happened.splice(0, 250);
    for (const told of this.#watchers) told();
  }
}
