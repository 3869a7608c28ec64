/**
 * A JSON file in place of etcd, read only:
 *
 *     {"config": {"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}},
 *      "subnets": {"10.5.52.0-24": {"PublicIP": "192.168.64.3", …}, …}}
 *
 * The values are the very ones that etcd would hold; a key may begin with `subnets/`, as in
 * etcd. The file is watched. While it is broken or away the last good state stays.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Clock, Log } from '../runtime.js';
import { isObject, parseJson } from './json.js';
import {
  type Entry,
  type Following,
  type Listener,
  type Listing,
  messageOf,
  type Store,
  StoreError,
  type Subnets,
} from './store.js';

export interface FileOptions {
  readonly file: string;
  readonly clock: Clock;
  readonly log: Log;
}

interface State {
  readonly config: string | undefined;
  readonly listing: Listing;
}

/** A replaced file is mostly several events; they are taken as one. */
const DEBOUNCE_MS = 50;
/** Where no event comes (network file systems, a directory that was replaced), this finds it. */
const POLL_EVERY_MS = 2_000;

export class FileStore implements Store {
  readonly description: string;
  readonly network: string;
  readonly configName: string;
  readonly writes = { kind: 'none' } as const;
  readonly subnets: Subnets = {
    kind: 'assigned',
    remedy: (example, free) =>
      free === undefined
        ? 'and all subnets of the network are taken: remove the entry of a host that has left'
        : `add one under "subnets", such as "${free}": ${example}`,
  };

  readonly #options: FileOptions;
  #state: State;
  #stamp: string;
  #problem = '';
  readonly #followings = new Set<Following>();

  /** Reads the file; throws a StoreError that names file and position when it cannot be used. */
  constructor(options: FileOptions) {
    this.#options = options;
    this.description = `file ${options.file}`;
    this.network = this.description;
    this.configName = `"config" in ${options.file}`;
    this.#stamp = stampOf(options.file);
    this.#state = this.#read(undefined);
  }

  async readConfig(): Promise<string | undefined> {
    this.#refresh();
    return this.#state.config;
  }

  async hintForMissingConfig(): Promise<string | undefined> {
    const example = '"config": {"Network": "10.10.0.0/16", "Backend": {"Type": "vxlan"}}';
    return `add it to the file, for example ${example}`;
  }

  async list(): Promise<Listing> {
    this.#refresh();
    return this.#state.listing;
  }

  follow(listener: Listener): Following {
    const { clock, log, file } = this.#options;
    let stopped = false;
    let cancelDebounce = () => {};
    let cancelPoll = () => {};
    let seen: bigint | undefined;

    const look = () => {
      if (stopped) return;
      this.#refresh();
      const { listing } = this.#state;
      if (listing.revision === seen) return;
      seen = listing.revision;
      listener.snapshot(listing);
    };
    const poll = () => {
      look();
      cancelPoll = clock.after(POLL_EVERY_MS, poll);
    };

    // The directory, since an editor puts a new file in the place of the old one.
    let watcher: fs.FSWatcher | undefined;
    try {
      watcher = fs.watch(path.dirname(file), (_event, name) => {
        if (name !== null && name !== path.basename(file)) return;
        cancelDebounce();
        cancelDebounce = clock.after(DEBOUNCE_MS, look);
      });
      watcher.on('error', () => watcher?.close());
    } catch (error) {
      log.debug(`${this.description}: no events, looking every 2 s: ${messageOf(error)}`);
    }
    cancelPoll = clock.after(0, poll);

    const following: Following = {
      state: { awaySince: undefined, reason: undefined, nextTryAt: undefined, mended: 0 },
      stop: async () => {
        stopped = true;
        watcher?.close();
        cancelDebounce();
        cancelPoll();
        this.#followings.delete(following);
      },
    };
    this.#followings.add(following);
    return following;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#followings].map((following) => following.stop()));
  }

  /** Takes the file's present state if it changed and is good; else says once what is wrong. */
  #refresh(): void {
    const { file, log } = this.#options;
    const stamp = stampOf(file);
    if (stamp === this.#stamp) return;
    this.#stamp = stamp;
    try {
      this.#state = this.#read(this.#state);
      if (this.#problem !== '') log.info(`${this.description}: can be read again`);
      this.#problem = '';
    } catch (error) {
      const problem = messageOf(error);
      if (problem !== this.#problem) log.error(`${problem}; the last good state stays in force`);
      this.#problem = problem;
    }
  }

  #read(before: State | undefined): State {
    const { file } = this.#options;
    try {
      return stateOf(parseJson(fs.readFileSync(file, 'utf8').replace(/^\uFEFF/, '')), before);
    } catch (error) {
      throw new StoreError(`${file}: ${describe(error)}`);
    }
  }
}

/** What is wrong with the file, with what to do where its text does not say so. */
function describe(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'ENOENT':
      return 'there is no such file; write one: {"config": {…}, "subnets": {"10.10.58.0-24": {…}}}';
    case 'EACCES':
    case 'EPERM':
      return 'it may not be read; give the user that runs weft the right to (chmod, chown)';
    case 'EISDIR':
      return 'it is a directory; name the file in it';
    default:
      return messageOf(error);
  }
}

/** What changes whenever the file does. */
function stampOf(file: string): string {
  const stat = fs.statSync(file, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? 'none' : `${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
}

/** The state in a parsed file; a value that did not change keeps its revision. */
function stateOf(root: unknown, before: State | undefined): State {
  if (!isObject(root)) throw new Error('must hold an object with "config" and "subnets"');
  const { config, subnets = {} } = root;
  if (!isObject(subnets)) throw new Error('"subnets" must be an object, one member a lease');
  const revision = (before?.listing.revision ?? 0n) + 1n;
  const known = new Map(before?.listing.entries.map((entry) => [entry.key, entry]));
  const entries = Object.entries(subnets).map(([name, content]): Entry => {
    const key = name.replace(/^subnets\//, '');
    const value = JSON.stringify(content);
    const old = known.get(key);
    return old?.value === value ? old : { key, value, revision, lease: 0n };
  });
  return {
    config: config === undefined ? undefined : JSON.stringify(config),
    listing: { entries, revision },
  };
}
