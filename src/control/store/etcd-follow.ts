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
 */
import type { IKeyValue, IWatchCreateRequest, IWatchRequest, IWatchResponse } from 'etcd3';
import type { Clock, Log } from '../runtime.js';
import {
  type Change,
  type Entry,
  type Following,
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

export interface Source {
  list(): Promise<Listing>;
  watch(revision: bigint): Promise<Watched>;
  readonly description: string;
  /** Milliseconds. */
  readonly relistEvery: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** How long etcd may take to confirm a watch, in milliseconds. */
const CONFIRM_WITHIN = 3_000;
const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 2_000;

export function follow(source: Source, listener: Listener): Following {
  const { clock, log } = source;
  let stopped = false;
  /** Ends what the loop waits for at the moment. */
  let wake = () => {};
  let pauseFor = FIRST_PAUSE;
  let down = false;

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
    if (listing !== undefined) listener.snapshot(listing);
    return listing;
  }

  /** Resolves when it is time to list again; rejects when the stream breaks. */
  async function watch(first: bigint): Promise<void> {
    let next = first;
    let open: Watched | undefined;
    let over = false;
    let cancelTimer = () => {};

    function close(): void {
      over = true;
      cancelTimer();
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
        listener.changes(batch);
      }
      return false;
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

  function confirmed(): void {
    pauseFor = FIRST_PAUSE;
    if (down) log.info(`${source.description}: answers again, the leases are being followed`);
    down = false;
  }

  async function pause(error: unknown): Promise<void> {
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
    async stop() {
      stopped = true;
      wake();
      await finished;
    },
  };
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
