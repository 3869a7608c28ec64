/** A store in memory that behaves like etcd, with a hand on everything that can go wrong. */
import {
  type Change,
  type Entry,
  type Following,
  type LeaseStore,
  type Listener,
  type Listing,
  type Store,
  StoreError,
  StoreUnreachable,
  type Written,
} from '../../../src/control/store/store.js';

export class MemoryStore implements Store {
  readonly description = 'memory';
  readonly network = 'memory';
  readonly configName = '/net/config';
  readonly subnets: Store['subnets'] = { kind: 'taken' };
  config: string | undefined;
  hint: string | undefined;
  /** Calls reject while this is set. */
  away = false;
  /** Called before each write takes place, to let another host be faster. */
  beforeWrite = () => {};
  /** What is answered for the remaining time of any lease. */
  ttl = 86_400;
  /** Every write that succeeded, as `create KEY`, `update KEY`, `remove KEY`. */
  readonly written: string[] = [];
  readonly discarded: bigint[] = [];
  readonly keptAlive: bigint[] = [];
  /** Puts are refused while this is set, as etcd does when it is out of space. */
  full = false;
  /** Marks the next snapshots as those of another store. */
  replaced = false;
  readonly entries = new Map<string, Entry>();
  private revision = 1n;
  private nextLease = 100n;
  private readonly grants = new Set<bigint>();
  private readonly listeners = new Set<Listener>();

  readonly leases: LeaseStore = {
    look: async (key) => {
      this.reach();
      const entry = this.entries.get(key);
      const revision = entry === undefined ? 0n : entry.revision;
      return {
        entry,
        revision: revision > this.revision ? revision : this.revision,
        ttl: this.ttl,
      };
    },
    create: async (key, value, ttl) => {
      this.reach();
      this.refuse();
      this.beforeWrite();
      if (this.entries.has(key)) return undefined;
      this.written.push(`create ${key}`);
      return this.write(key, value, ttl);
    },
    update: async (key, value, ttl, revision) => {
      this.reach();
      this.refuse();
      this.beforeWrite();
      if (this.entries.get(key)?.revision !== revision) return undefined;
      this.written.push(`update ${key}`);
      return this.write(key, value, ttl);
    },
    remove: async (key, revision) => {
      this.reach();
      this.beforeWrite();
      if (this.entries.get(key)?.revision !== revision) return false;
      this.written.push(`remove ${key}`);
      this.delete(key);
      return true;
    },
    keepAlive: async (lease) => {
      this.reach();
      this.keptAlive.push(lease);
      return this.ttl;
    },
    granted: (lease) => this.grants.has(lease),
    discard: async (lease) => {
      this.reach();
      if (![...this.entries.values()].some((entry) => entry.lease === lease)) {
        this.discarded.push(lease);
      }
    },
  };

  readonly writes: Store['writes'] = { kind: 'leased', keys: this.leases };

  async readConfig(): Promise<string | undefined> {
    this.reach();
    return this.config;
  }

  async hintForMissingConfig(): Promise<string | undefined> {
    return this.hint;
  }

  async list(): Promise<Listing> {
    this.reach();
    return this.listing();
  }

  follow(listener: Listener): Following {
    this.listeners.add(listener);
    listener.snapshot(this.listing());
    return {
      state: { awaySince: undefined, reason: undefined, nextTryAt: undefined, mended: 0 },
      stop: async () => {
        this.listeners.delete(listener);
      },
    };
  }

  async close(): Promise<void> {}

  /** How often connections were made anew. */
  reconnects = 0;
  reconnect(): void {
    this.reconnects += 1;
  }

  /** Another's put, unconditional; `lease` 0n makes a reservation. */
  put(key: string, value: string, lease = this.nextLease++): Entry {
    const entry = { key, value, lease, revision: ++this.revision };
    this.entries.set(key, entry);
    this.tell({ type: 'put', entry });
    return entry;
  }

  delete(key: string): void {
    this.entries.delete(key);
    this.tell({ type: 'delete', key, revision: ++this.revision });
  }

  /** What a follower gets after an outage. */
  relist(): void {
    for (const listener of this.listeners) listener.snapshot(this.listing());
  }

  listing(): Listing {
    const listing = { entries: [...this.entries.values()], revision: this.revision };
    return this.replaced ? { ...listing, replaced: true } : listing;
  }

  private write(key: string, value: string, ttl: number | undefined): Written {
    const granted = ttl === undefined ? 0n : this.nextLease++;
    this.grants.add(granted);
    const { lease, revision } = this.put(key, value, granted);
    return { lease, revision, ttl: ttl ?? 0 };
  }

  private tell(...batch: Change[]): void {
    for (const listener of this.listeners) listener.changes(batch);
  }

  /** Another, empty store in the place of this one. */
  empty(): void {
    this.entries.clear();
    this.revision = 1n;
    this.replaced = true;
  }

  private refuse(): void {
    if (this.full) throw new StoreError('memory refuses to write: database space exceeded');
  }

  private reach(): void {
    if (this.away) throw new StoreUnreachable('memory does not answer');
  }
}
