/**
 * One process's view of the etcd model, as `EtcdStore` gives it: requests that take time, are lost
 * on the way there or back, or take effect after the client gave up; and a follower that is told
 * some time after things happen, several in one batch, with a snapshot after each gap.
 *
 * Narrowed: a request takes effect at most once, and neither does that happen nor its answer come
 * after the server was replaced (its connection is gone then); giving an empty etcd lease back asks and revokes in one step.
 */
import {
  type Change,
  type Entry,
  type Following,
  type LeaseStore,
  type Listener,
  type Listing,
  type Looked,
  type Store,
  StoreError,
  StoreUnreachable,
  type Written,
} from '../../../../src/control/store/store.js';
import type { FakeClock } from '../../fakes.js';
import type { Author, AuthoredEntry, EtcdModel } from './etcd-model.js';

/** How the network between a process and etcd is. */
export type Weather = 'calm' | 'slow' | 'lossy' | 'away';

export interface Surroundings {
  readonly etcd: EtcdModel;
  readonly clock: FakeClock;
  readonly random: () => number;
  /** May change at any time. */
  readonly weather: () => Weather;
  readonly looksFail: () => boolean;
}

const GIVES_UP_AFTER = 3_000;
const LATEST = 10_000;

export class StoreModel implements Store {
  readonly description = 'etcd model';
  readonly network = 'model';
  readonly configName = '/net/config';
  readonly subnets: Store['subnets'] = { kind: 'taken' };
  readonly #on: Surroundings;
  readonly #by: Author;
  /** Names the process: its etcd leases are told by it. */
  readonly name: string;
  readonly #grants = new Set<bigint>();
  #spare: { readonly id: bigint; readonly endsAtMs: number } | undefined;
  #stopFollowing = () => {};
  #cutOff = () => {};
  /** The `seq` up to which this process was told, and the revision of it. */
  seen = 0;
  asOf = 0n;
  /** The `seq` as of which this process was last told that its key is there, as one of ours. */
  seenKey = 0;
  /** Asked for and not answered yet. */
  underWay = 0;
  requests = 0;
  closed = false;
  /** Called when a call begins. */
  onCall = (_what: string) => {};
  /** Called with what a look or a write tells of a key. */
  onTold = (_entry: Entry | undefined) => {};

  constructor(on: Surroundings, by: Author, name: string) {
    this.#on = on;
    this.#by = by;
    this.name = name;
  }

  readonly keys: LeaseStore = {
    look: (key) => this.#call('look', () => this.#look(key)),
    create: (key, value, ttl) =>
      this.#call('create', () => this.#writeOnLease(key, value, ttl, undefined)),
    update: (key, value, ttl, revision) =>
      this.#call('update', () => this.#writeOnLease(key, value, ttl, revision)),
    remove: (key, revision) =>
      this.#call('remove', () =>
        this.#request(() => {
          if (this.#on.etcd.entries.get(key)?.revision !== revision) return false;
          this.#on.etcd.delete(key);
          return true;
        }),
      ),
    keepAlive: (lease) =>
      this.#call('keep alive', () => this.#request(() => this.#on.etcd.keepAlive(lease))),
    granted: (lease) => this.#grants.has(lease),
    discard: (lease) => this.#call('discard', () => this.#discard(lease)),
  };
  readonly writes: Store['writes'] = { kind: 'leased', keys: this.keys };

  async readConfig(): Promise<string | undefined> {
    return undefined;
  }
  async hintForMissingConfig(): Promise<string | undefined> {
    return undefined;
  }
  async close(): Promise<void> {
    this.closed = true;
    this.#stopFollowing();
  }

  list(): Promise<Listing> {
    return this.#request(() => this.#listing());
  }

  /**
   * Whatever the follower was about to be told is gone with its connection; it lists again, as soon
   * as it can: call this also when the store can be reached again.
   */
  cut(): void {
    this.#cutOff();
  }

  follow(listener: Listener): Following {
    const { etcd, clock, random } = this.#on;
    /** Undefined while there is no watch. */
    let position: bigint | undefined;
    let last: Pick<Listing, 'revision' | 'cluster'> | undefined;
    let cancel = () => {};
    const unwatch = etcd.watch(() => {
      if (position !== undefined) deliverSoon();
    });
    const delay = () => pick(random, [0, 0, 5, 200, this.#weather === 'slow' ? 10_000 : 1_500]);
    let scheduled = false;
    const later = (ms: number, act: () => void) => {
      cancel();
      scheduled = true;
      cancel = clock.after(ms, () => {
        scheduled = false;
        act();
      });
    };
    const deliverSoon = () => {
      if (!scheduled) later(delay(), deliver);
    };
    const deliver = () => {
      if (this.#weather === 'away') return relist();
      const news = etcd.happened.filter(({ change }) => revisionOf(change) > position!);
      if (news.length === 0) return;
      const { change, seq } = news.at(-1)!;
      position = revisionOf(change);
      last = { ...last, revision: position };
      this.seen = Math.max(this.seen, seq);
      listener.changes(news.map((one) => one.change));
      if (position > this.asOf) this.asOf = position;
    };
    const relist = () => {
      position = undefined;
      cancel();
      scheduled = false;
      // It tries again and again; what counts is the first try that is answered.
      if (this.#weather === 'away') return;
      later(Math.floor(random() * 2_000), () => {
        if (this.#weather === 'away') return relist();
        const listing = this.#listing();
        const { seq } = etcd;
        position = listing.revision;
        later(pick(random, [0, 0, 20, 300]), () => {
          if (this.#weather === 'away') return relist();
          const replaced =
            last !== undefined &&
            (listing.revision < last.revision || listing.cluster !== last.cluster);
          last = listing;
          this.seen = Math.max(this.seen, seq);
          listener.snapshot(replaced ? { ...listing, replaced } : listing);
          if (replaced || listing.revision > this.asOf) this.asOf = listing.revision;
          deliverSoon();
        });
      });
    };
    this.#cutOff = relist;
    this.#stopFollowing = () => {
      unwatch();
      cancel();
      this.#cutOff = () => {};
    };
    relist();
    return {
      state: { awaySince: undefined, reason: undefined, nextTryAt: undefined, mended: 0 },
      stop: async () => this.#stopFollowing(),
    };
  }

  get #weather(): Weather {
    return this.#on.weather();
  }

  #listing(): Listing {
    const { entries, revision, cluster } = this.#on.etcd;
    return { entries: [...entries.values()].map(plain), revision, cluster: String(cluster) };
  }

  async #call<T>(what: string, act: () => Promise<T>): Promise<T> {
    this.onCall(what);
    this.underWay += 1;
    try {
      return await act();
    } finally {
      this.underWay -= 1;
    }
  }

  /** On a fresh etcd lease, or on that of an earlier write without an answer, as `EtcdStore` does. */
  async #writeOnLease(
    key: string,
    value: string,
    ttl: number | undefined,
    revision: bigint | undefined,
  ): Promise<Written | undefined> {
    const { clock } = this.#on;
    const { seenKey: seen } = this;
    if (ttl === undefined) {
      const written = await this.#write(key, value, 0n, revision, seen);
      return written === undefined ? undefined : { revision: written, lease: 0n, ttl: 0 };
    }
    const spare = this.#spare;
    const old = spare !== undefined && spare.endsAtMs - clock.now() > ttl * 500;
    const lease = old ? spare : await this.#grant(ttl);
    this.#spare = lease;
    let written: bigint | undefined;
    try {
      written = await this.#write(key, value, lease.id, revision, seen);
    } catch (error) {
      if (!/lease not found/.test(String(error))) throw error;
      this.#spare = undefined;
      if (!old) throw error;
      return this.#writeOnLease(key, value, ttl, revision);
    }
    this.#spare = undefined;
    if (written === undefined) {
      await this.#discard(lease.id);
      return undefined;
    }
    const left = Math.floor((lease.endsAtMs - clock.now()) / 1_000);
    return { revision: written, lease: lease.id, ttl: Math.max(left, 0) };
  }

  async #grant(ttl: number): Promise<{ id: bigint; endsAtMs: number }> {
    const { etcd, clock } = this.#on;
    const endsAtMs = clock.now() + ttl * 1_000;
    const id = await this.#request(() => {
      this.#refuseIfFull();
      return etcd.grant(ttl, this.name);
    });
    this.#grants.add(id);
    return { id, endsAtMs };
  }

  async #write(
    key: string,
    value: string,
    lease: bigint,
    condition: bigint | undefined,
    seen: number,
  ): Promise<bigint | undefined> {
    const { etcd } = this.#on;
    const answer = await this.#request(() => {
      this.#refuseIfFull();
      if (etcd.entries.get(key)?.revision !== condition) return undefined;
      const revision = etcd.put(key, value, lease, this.#by, seen);
      if (revision === undefined) throw new StoreError('etcd refuses: requested lease not found');
      return { revision, seq: etcd.seq };
    });
    if (answer === undefined) return undefined;
    const { revision, seq } = answer;
    this.#learn({ key, value, lease, revision }, revision, seq, undefined);
    return revision;
  }

  #learn(entry: Entry | undefined, revision: bigint, seq: number, asked: bigint | undefined): void {
    this.seen = Math.max(this.seen, seq);
    const wentBack = asked !== undefined && revision < asked;
    if (!wentBack && revision <= this.asOf) return;
    this.asOf = revision;
    this.onTold(entry);
  }

  async #look(key: string): Promise<Looked> {
    const { etcd, looksFail } = this.#on;
    const asked = this.asOf;
    const { entry, revision, seq } = await this.#request(() => {
      if (looksFail()) throw new StoreUnreachable('the look was not answered');
      return { entry: etcd.entries.get(key), revision: etcd.revision, seq: etcd.seq };
    });
    const lease = entry?.lease ?? 0n;
    const ttl = lease === 0n ? 0 : await this.#request(() => etcd.left(lease));
    this.#learn(entry, revision, seq, asked);
    return { entry: entry && plain(entry), revision, ttl };
  }

  #discard(lease: bigint): Promise<void> {
    const { etcd } = this.#on;
    return this.#request(() => {
      if (etcd.keysOn(lease).length === 0) etcd.revoke(lease);
    });
  }

  #refuseIfFull(): void {
    if (this.#on.etcd.full) throw new StoreError('etcd refuses: database space exceeded');
  }

  /** There and back through the weather; what becomes of it is drawn when it is sent. */
  async #request<T>(act: () => T): Promise<T> {
    const { etcd, clock, random } = this.#on;
    const { replacements } = etcd;
    this.requests += 1;
    if (this.closed) throw new StoreUnreachable('this process is over');
    const weather = this.#weather;
    const fate = weather === 'lossy' ? pick(random, FATES) : weather;
    const gone = () => new StoreUnreachable('etcd does not answer');
    const reach = () => {
      if (etcd.replacements !== replacements) throw gone();
      return act();
    };
    switch (fate) {
      case 'away':
        await this.#sleep(pick(random, [0, 10, GIVES_UP_AFTER]));
        throw gone();
      case 'late':
        clock.after(GIVES_UP_AFTER + Math.floor(random() * LATEST), () => {
          try {
            reach();
          } catch {
            // Nobody hears of it.
          }
        });
        await this.#sleep(GIVES_UP_AFTER);
        throw gone();
      case 'answer lost': {
        await this.#sleep(Math.floor(random() * 500));
        try {
          reach();
        } catch {
          // Nobody hears of it.
        }
        await this.#sleep(pick(random, [0, GIVES_UP_AFTER]));
        throw gone();
      }
      default: {
        const longest = fate === 'slow' ? 1_400 : pick(random, [0, 0, 0, 40]);
        await this.#sleep(Math.floor(random() * longest));
        const answer = reach();
        await this.#sleep(Math.floor(random() * longest));
        if (etcd.replacements !== replacements) throw gone();
        return answer;
      }
    }
  }

  #sleep(ms: number): Promise<void> | undefined {
    if (ms === 0) return undefined;
    return new Promise((resolve) => this.#on.clock.after(ms, resolve));
  }
}

const FATES = ['calm', 'calm', 'slow', 'away', 'answer lost', 'answer lost', 'late'] as const;

export function pick<T>(random: () => number, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)] as T;
}

function plain({ key, value, revision, lease }: AuthoredEntry): Entry {
  return { key, value, revision, lease };
}

function revisionOf(change: Change): bigint {
  return change.type === 'put' ? change.entry.revision : change.revision;
}
