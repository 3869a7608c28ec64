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
 * 4 s the newest lease and their number are read, linearizable: a member that cannot answer
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
  Applied,
  type Known,
  revisionOf,
  type StoredChange,
  type StoredEntry,
  type StoredListing,
} from './etcd-applied.js';
import { clusterOf } from './etcd-listing.js';
import { Outage } from './outage.js';
import { Patience } from './patience.js';
import { type Following, type FollowState, type Listener, messageOf } from './store.js';

/** A watch stream that is open but not yet asked for anything. */
export interface Watched {
  readonly stream: WatchStream;
  readonly request: IWatchCreateRequest;
  entry(kv: IKeyValue): StoredEntry;
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

export interface Source {
  list(): Promise<StoredListing>;
  watch(revision: bigint): Promise<Watched>;
  /** Asks the member in use alone; when it does not answer in time, the next one is in use. */
  look(timeoutMs: number): Promise<Known>;
  /** The revision that a key was at when the store was at revision `at`. */
  past(key: string, at: bigint): Promise<bigint | 'absent' | 'compacted'>;
  readonly description: string;
  readonly relistEveryMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/**
 * How long etcd may take to confirm a watch, and to answer a look. A store two seconds away needs
 * eight times that for a new connection with TLS and a user.
 */
const LEAST_PATIENCE_MS = 3_000;
const MOST_PATIENCE_MS = 30_000;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1_000;
/** How often the member in use is asked, less up to a fifth of it. */
const LOOK_EVERY_MS = 4_000;
/** What the store has and we do not may be on its way: so it is compared again after this. */
const ON_ITS_WAY_MS = 500;

export function follow(source: Source, listener: Listener): Following {
  const { clock, random, log } = source;
  const applied = new Applied();
  const outage = new Outage(source);
  const confirmPatience = new Patience(LEAST_PATIENCE_MS, MOST_PATIENCE_MS, random);
  const lookPatience = new Patience(LEAST_PATIENCE_MS, MOST_PATIENCE_MS, random);
  let stopped = false;
  /** Ends what the loop waits for at the moment. */
  let wake = () => {};
  let pauseMs = FIRST_PAUSE_MS;
  let nextTryAt: number | undefined;
  /** The watch was given up because of what `look` told: what the next list finds, it had lost. */
  let doubted = false;
  let mended = 0;
  let answerMs: number | undefined;
  let lastMs = 0;

  async function run(): Promise<void> {
    while (!stopped) {
      try {
        const listing = await unlessStopped(listed());
        if (stopped || listing === undefined) return;
        tell(listing);
        if (!stopped) await watch(listing);
      } catch (error) {
        if (!stopped) await pause(error);
      }
    }
  }

  function unlessStopped<T>(promise: Promise<T>): Promise<T | undefined> {
    const halted = new Promise<undefined>((resolve) => {
      wake = () => resolve(undefined);
    });
    return Promise.race([promise, halted]);
  }

  async function listed(): Promise<StoredListing> {
    const listing = await source.list();
    return (await isReplaced(listing)) ? { ...listing, replaced: true } : listing;
  }

  async function isReplaced(listing: StoredListing): Promise<boolean> {
    if (applied.replacedBy(listing)) return true;
    const missing = applied.missing(listing);
    if (missing === undefined) return false;
    const past = await source.past(missing.key, missing.at);
    return past !== 'compacted' && past !== missing.revision;
  }

  function tell(listing: StoredListing): void {
    if (!listing.replaced && applied.lost(listing, doubted)) {
      mended++;
      log.warn(`${source.description}: the watch had missed changes; mended by listing again`);
    }
    doubted = false;
    applied.list(listing);
    listener.snapshot(listing);
  }

  /** Resolves when it is time to list again; rejects when the stream breaks. */
  async function watch({ revision, cluster }: StoredListing): Promise<void> {
    const first = revision + 1n;
    const confirmWithinMs = confirmPatience.next();
    const begun = clock.now();
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

    function read(response: IWatchResponse, watched: Watched): void {
      if (response.canceled) throw new Error(whyCancelled(response));
      if (response.created) confirmed(response, watched);
      const batch = changesOf(response, next, watched);
      const last = batch.at(-1);
      if (last === undefined) return;
      // Another fragment may go on within this revision.
      next = revisionOf(last) + (response.fragment ? 0n : 1n);
      applied.change(batch);
      listener.changes(batch);
    }

    function confirmed({ header }: IWatchResponse, watched: Watched): void {
      if (cluster !== undefined && header.cluster_id !== '0' && clusterOf(header) !== cluster) {
        watched.failed();
        throw new Error(`the watch is of cluster ${clusterOf(header)}, the list of ${cluster}`);
      }
      confirmPatience.took(clock.now() - begun);
      pauseMs = FIRST_PAUSE_MS;
      outage.end();
    }

    /** Asks the member whether what we know is all there is; `again` when it was not just now. */
    function lookAfter(ms: number, again: boolean, relist: () => void, fail: Fail): void {
      cancelLook = clock.after(ms, () => {
        look().then((known) => {
          if (over) return;
          if (applied.is(known)) lookAfter(lookEveryMs(), false, relist, fail);
          else if (!again) lookAfter(ON_ITS_WAY_MS, true, relist, fail);
          else {
            doubted = true;
            relist();
          }
        }, fail);
      });
    }

    const ended = new Promise<void>((resolve, reject) => {
      wake = resolve;
      cancelTimer = clock.after(confirmWithinMs, () => {
        confirmPatience.overdue();
        open?.failed();
        reject(new Error(`no watch within ${confirmWithinMs} ms`));
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
            read(response, watched);
            if (!response.created) return;
            cancelTimer();
            cancelTimer = clock.after(source.relistEveryMs, resolve);
            cancelLook();
            lookAfter(lookEveryMs(), false, resolve, reject);
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

  async function look(): Promise<Known> {
    const withinMs = lookPatience.next();
    const begun = clock.now();
    try {
      const known = await source.look(withinMs);
      const tookMs = clock.now() - begun;
      // What took long once may have met an outage.
      answerMs = Math.min(tookMs, lastMs);
      lastMs = tookMs;
      lookPatience.took(tookMs);
      return known;
    } catch (error) {
      if (clock.now() - begun >= withinMs) lookPatience.overdue();
      // Until another member answers, it is since then that none does.
      outage.since ??= begun;
      outage.reason ??= messageOf(error);
      throw error;
    }
  }

  function lookEveryMs(): number {
    return LOOK_EVERY_MS * (1 - random() / 5);
  }

  async function pause(error: unknown): Promise<void> {
    // A first failure is mostly one cut connection, mended by the next list.
    outage.failed(messageOf(error), pauseMs > FIRST_PAUSE_MS);
    const ms = pauseMs * (1 - random() / 5);
    nextTryAt = clock.now() + ms;
    await new Promise<void>((resolve) => {
      const cancel = clock.after(ms, resolve);
      wake = () => {
        cancel();
        resolve();
      };
    });
    nextTryAt = undefined;
    pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
  }

  const finished = run();
  return {
    get state(): FollowState {
      return { awaySince: outage.since, reason: outage.reason, nextTryAt, mended, answerMs };
    },
    async stop() {
      stopped = true;
      wake();
      await finished;
    },
  };
}

type Fail = (error: Error) => void;

function whyCancelled({ compact_revision, cancel_reason }: IWatchResponse): string {
  if (compact_revision === '0') return `etcd cancelled the watch: ${cancel_reason}`;
  return `etcd has forgotten what came before revision ${compact_revision} (compacted)`;
}

function changesOf(response: IWatchResponse, next: bigint, watched: Watched): StoredChange[] {
  return response.events
    .map(({ type, kv }): StoredChange => {
      const entry = watched.entry(kv);
      if (type === 'Put') return { type: 'put', entry };
      return { type: 'delete', key: entry.key, revision: entry.revision };
    })
    .filter((change) => revisionOf(change) >= next);
}
