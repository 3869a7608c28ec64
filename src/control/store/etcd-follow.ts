/**
 * Follows the leases in etcd without missing a change:
 *
 *  1. list the keys, at revision R: a snapshot for the listener;
 *  2. watch from R + 1 on a stream of our own;
 *  3. on every end of the stream (cut, cancelled, compacted, or simply time to look again):
 *     back to 1.
 *
 * Always listing again costs one call and heals whatever was between: a compaction, a token
 * that a restarted etcd does not know any more, an event that etcd itself lost. etcd3's own
 * watcher is not used: it takes the `created` answer for progress and loses what came between.
 *
 * A watch on a member that is cut off from the quorum stays silent and looks healthy. So every
 * 10 s the newest lease and their number are read, linearizable: a member that cannot answer
 * that is left, and an answer that is not what we know makes us list again.
 */
import type {
  IKeyValue,
  IWatchCreateRequest,
  IWatchRequest,
  IWatchResponse,
} from 'etcd3/lib/rpc.js';
import type { Clock, Log, Random } from '../runtime.js';
import {
  type Change,
  type Entry,
  type Following,
  type FollowState,
  type Listener,
  type Listing,
  messageOf,
} from './store.js';

/** A watch stream that is open but not yet asked for anything. */
export interface Watched {
  readonly stream: WatchStream;
  readonly request: IWatchCreateRequest;
  entry(kv: IKeyValue): Entry;
  /** The endpoint of the stream is not to be used next. */
  failed(): void;
}

/** The part of etcd3's watch stream that is used. */
export interface WatchStream {
  write(request: IWatchRequest): void;
  end(): void;
  cancel(): void;
  on(event: 'data', call: (response: IWatchResponse) => void): unknown;
  on(event: 'end', call: () => void): unknown;
  on(event: 'error', call: (error: Error) => void): unknown;
}

/** What a state can be told by: how many keys it has, and the revision of the newest. */
export interface Known {
  readonly count: number;
  readonly revision: bigint;
}

export interface Source {
  list(): Promise<Listing>;
  watch(revision: bigint): Promise<Watched>;
  /** Asks the member in use alone; when it does not answer in time, the next one is in use. */
  look(timeout: number): Promise<Known>;
  readonly description: string;
  /** Milliseconds. */
  readonly relistEvery: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** How long etcd may take to confirm a watch, in milliseconds. */
const CONFIRM_WITHIN = 3_000;
const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 1_000;
/** How often the member in use is asked, less up to a fifth of it, and how long it may take. */
const LOOK_EVERY = 10_000;
const LOOK_WITHIN = 3_000;
/** What the store has and we do not may be on its way: so it is compared again after this. */
const ON_ITS_WAY = 500;

export function follow(source: Source, listener: Listener): Following {
  const { clock, random, log } = source;
  const applied = new Applied();
  let stopped = false;
  /** Ends what the loop waits for at the moment. */
  let wake = () => {};
  let pauseFor = FIRST_PAUSE;
  let down = false;
  let awaySince: number | undefined = clock.now();
  /** The watch was given up because of what `look` told: what the next list finds, it had lost. */
  let doubted = false;
  let mended = 0;

  async function run(): Promise<void> {
    while (!stopped) {
      try {
        const listing = await listOrStop();
        if (listing === undefined) return;
        await watch(listing.revision + 1n);
      } catch (error) {
        if (!stopped) await pause(error);
      }
    }
  }

  async function listOrStop(): Promise<Listing | undefined> {
    const halted = new Promise<undefined>((resolve) => {
      wake = () => resolve(undefined);
    });
    const listing = await Promise.race([source.list(), halted]);
    if (stopped) return undefined;
    if (listing === undefined) return undefined;
    const replaced = applied.replacedBy(listing);
    if (!replaced && applied.lost(listing, doubted)) {
      mended++;
      log.warn(`${source.description}: the watch had missed changes; mended by listing again`);
    }
    doubted = false;
    applied.list(listing);
    listener.snapshot(replaced ? { ...listing, replaced } : listing);
    return listing;
  }

  /** Resolves when it is time to list again; rejects when the stream breaks. */
  async function watch(first: bigint): Promise<void> {
    let next = first;
    let open: Watched | undefined;
    let over = false;
    let cancelTimer = () => {};
    let cancelLook = () => {};

    function close(): void {
      over = true;
      cancelTimer();
      cancelLook();
      // Half-closed first, or etcd3 takes the cancellation for a failure of the host.
      open?.stream.end();
      open?.stream.cancel();
    }

    function read(response: IWatchResponse, watched: Watched): boolean {
      if (response.created) confirmed();
      if (response.canceled) {
        if (response.compact_revision !== '0') return true;
        throw new Error(`etcd cancelled the watch: ${response.cancel_reason}`);
      }
      const batch = changesOf(response, next, watched);
      if (batch.length > 0) {
        next = revisionOf(batch.at(-1) as Change) + 1n;
        applied.change(batch);
        listener.changes(batch);
      }
      return false;
    }

    /** Asks the member whether what we know is all there is; `again` when it was not just now. */
    function lookAfter(ms: number, again: boolean, relist: () => void, fail: Fail): void {
      cancelLook = clock.after(ms, () => {
        source.look(LOOK_WITHIN).then((known) => {
          if (over) return;
          if (applied.is(known)) lookAfter(lookEvery(), false, relist, fail);
          else if (!again) lookAfter(ON_ITS_WAY, true, relist, fail);
          else {
            doubted = true;
            relist();
          }
        }, fail);
      });
    }

    const ended = new Promise<void>((resolve, reject) => {
      wake = resolve;
      cancelTimer = clock.after(CONFIRM_WITHIN, () => {
        open?.failed();
        reject(new Error(`no watch within ${CONFIRM_WITHIN} ms`));
      });
      source.watch(first).then((watched) => {
        open = watched;
        if (over) return close();
        const broken = (error: Error) => {
          if (!over) watched.failed();
          reject(error);
        };
        watched.stream.on('error', broken);
        watched.stream.on('end', () => broken(new Error('etcd ended the watch')));
        watched.stream.on('data', (response) => {
          if (over || stopped) return;
          try {
            if (read(response, watched)) resolve();
            else if (response.created) {
              cancelTimer();
              cancelTimer = clock.after(source.relistEvery, resolve);
              cancelLook();
              lookAfter(lookEvery(), false, resolve, reject);
            }
          } catch (error) {
            reject(error);
          }
        });
        watched.stream.write({ create_request: watched.request });
      }, reject);
    });
    try {
      await ended;
    } finally {
      close();
    }
  }

  function lookEvery(): number {
    return LOOK_EVERY * (1 - random() / 5);
  }

  function confirmed(): void {
    pauseFor = FIRST_PAUSE;
    awaySince = undefined;
    if (down) log.info(`${source.description}: answers again, the leases are being followed`);
    down = false;
  }

  async function pause(error: unknown): Promise<void> {
    awaySince ??= clock.now();
    // A first failure is mostly one cut connection, mended by the next list.
    if (!down && pauseFor > FIRST_PAUSE) {
      down = true;
      const reason = messageOf(error);
      log.warn(`${source.description}: cannot follow the leases, keeping the peers: ${reason}`);
    }
    await new Promise<void>((resolve) => {
      const cancel = clock.after(pauseFor, resolve);
      wake = () => {
        cancel();
        resolve();
      };
    });
    pauseFor = Math.min(2 * pauseFor, LONGEST_PAUSE);
  }

  const finished = run();
  return {
    get state(): FollowState {
      return { awaySince, mended };
    },
    async stop() {
      stopped = true;
      wake();
      await finished;
    },
  };
}

type Fail = (error: Error) => void;

/** What the listener was told: the keys and the revisions of their last writes. */
class Applied {
  private readonly keys = new Map<string, bigint>();
  private revision = 0n;
  private newest = 0n;

  list({ entries, revision }: Listing): void {
    this.keys.clear();
    for (const entry of entries) this.keys.set(entry.key, entry.revision);
    this.revision = revision;
    this.findNewest();
  }

  change(batch: readonly Change[]): void {
    for (const change of batch) {
      if (change.type === 'put') this.keys.set(change.entry.key, change.entry.revision);
      else this.keys.delete(change.key);
      this.revision = revisionOf(change);
    }
    this.findNewest();
  }

  is({ count, revision }: Known): boolean {
    return count === this.keys.size && revision === this.newest;
  }

  /**
   * Whether changes were lost on the way here: those from before the last one that came, or any
   * at all when they had time enough (`all`).
   */
  lost({ entries }: Listing, all: boolean): boolean {
    if (all && entries.length !== this.keys.size) return true;
    return entries.some(
      ({ key, revision }) => this.keys.get(key) !== revision && (all || revision <= this.revision),
    );
  }

  /** In one store neither its revision nor that of a key ever goes back. */
  replacedBy({ entries, revision }: Listing): boolean {
    return (
      revision < this.revision ||
      entries.some((entry) => entry.revision < (this.keys.get(entry.key) ?? 0n))
    );
  }

  private findNewest(): void {
    this.newest = 0n;
    for (const revision of this.keys.values()) if (revision > this.newest) this.newest = revision;
  }
}

function changesOf(response: IWatchResponse, next: bigint, watched: Watched): Change[] {
  return response.events
    .map(({ type, kv }): Change => {
      const entry = watched.entry(kv);
      if (type === 'Put') return { type: 'put', entry };
      return { type: 'delete', key: entry.key, revision: entry.revision };
    })
    .filter((change) => revisionOf(change) >= next);
}

function revisionOf(change: Change): bigint {
  return change.type === 'put' ? change.entry.revision : change.revision;
}
