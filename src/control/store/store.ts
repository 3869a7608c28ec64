/**
 * Where the network config and the leases live. One interface, so that the overlay does not
 * know whether it talks to etcd, to a file, or one day to Kubernetes.
 *
 * A key is the name of a lease, with etcd and a file that of its subnet (`10.5.52.0-24`); a value
 * is the text that flannel keeps there. Revisions and lease ids are etcd's 64-bit numbers; other
 * stores count in their own way, but a later state always has a greater revision. What a store
 * can and another cannot is said by `subnets` and `writes`, and by nothing else.
 */

/** One lease as the store has it. */
export interface Entry {
  readonly key: string;
  /** The name of its subnet as flannel writes it, where that is not the key itself. */
  readonly subnet?: string;
  readonly value: string;
  /** The revision of the last write of this key. */
  readonly revision: bigint;
  /** The etcd lease that the key hangs on; 0n = none, the key is a reservation. */
  readonly lease: bigint;
}

/** What happened to one key. */
export type Change =
  | { readonly type: 'put'; readonly entry: Entry }
  | { readonly type: 'delete'; readonly key: string; readonly revision: bigint };

/** Everything there is, and the revision it is of. */
export interface Listing {
  readonly entries: readonly Entry[];
  readonly revision: bigint;
  /**
   * The store is not the one of before: it was emptied, restored from a backup, or went back in
   * its revisions. What is missing from it was not removed by anybody.
   */
  readonly replaced?: boolean;
  /** Which cluster told it, in hex as etcdctl prints it; absent where a store has no such id. */
  readonly cluster?: string | undefined;
}

/** Who follows a store. The calls come one after the other, in the order of the revisions. */
export interface Listener {
  /** The whole state; whatever is not in it is gone. Comes first, and again after each gap. */
  snapshot(listing: Listing): void;
  /** What changed since the last call, oldest first. */
  changes(batch: readonly Change[]): void;
}

/** The outcome of a write. */
export interface Written {
  readonly revision: bigint;
  /** The fresh etcd lease of the key, 0n when it was written without one. */
  readonly lease: bigint;
  /** What the server granted, in seconds; 0 without a lease. */
  readonly ttl: number;
}

/** One key, and how long it still is there. */
export interface Looked {
  readonly entry: Entry | undefined;
  /** That of the store, as of which this is so. */
  readonly revision: bigint;
  /** Seconds that its etcd lease has left; 0 where the key hangs on none, or on one that is over. */
  readonly ttl: number;
}

/** Writes keys. All calls reject with StoreUnreachable or StoreError. */
export interface KeyStore {
  /** Reads one key, and asks how long it has left. */
  look(key: string): Promise<Looked>;
  /**
   * Writes a key that is not there yet, on a fresh lease of `ttl` seconds or, with `ttl`
   * undefined, without one. Undefined: it is there.
   */
  create(key: string, value: string, ttl: number | undefined): Promise<Written | undefined>;
  /**
   * Writes a key that is still at `revision`, on a fresh lease of `ttl` seconds or, with
   * `ttl` undefined, without one. Undefined: the key has another revision or is gone.
   */
  update(
    key: string,
    value: string,
    ttl: number | undefined,
    revision: bigint,
  ): Promise<Written | undefined>;
  /** Removes a key that is still at `revision`. Whether it is gone; false: it has another revision. */
  remove(key: string, revision: bigint): Promise<boolean>;
}

/** Writes keys that run out. */
export interface LeaseStore extends KeyStore {
  /**
   * Gives a lease its whole time again, without writing any key: it works in a store that is out
   * of space. The seconds left from now on; 0 when there is no such lease.
   */
  keepAlive(lease: bigint): Promise<number>;
  /** Whether this process asked for the lease; what hangs on another was written by somebody else. */
  granted(lease: bigint): boolean;
  /** Revokes a lease that no key hangs on any more; leaves it alone if one does. */
  discard(lease: bigint): Promise<void>;
}

/** What hosts can write, and whether it stays. */
export type Writes =
  /** Nothing: the store is only read. */
  | { readonly kind: 'none' }
  /** Keys that stay until somebody removes them. */
  | { readonly kind: 'kept'; readonly keys: KeyStore }
  /** Keys that run out unless they are renewed. */
  | { readonly kind: 'leased'; readonly keys: LeaseStore };

/** How hosts come by their subnets. */
export type Subnets =
  /** Each takes a free one, by writing the key that names it. */
  | { readonly kind: 'taken' }
  /** Somebody gives each host one: its entry is there before the host. */
  | {
      readonly kind: 'assigned';
      /** The key of this host's entry; undefined: the entry with its public IP. */
      readonly ownKey?: string;
      /** What to do where there is none, given a value that would do and the name of a free subnet, if any. */
      readonly remedy: (example: string, free?: string) => string;
    };

export interface Store {
  /** For messages: `etcd at http://127.0.0.1:2379, prefix /coreos.com/network`. */
  readonly description: string;
  /** Which network this is, however it is reached: `etcd prefix /coreos.com/network`. */
  readonly network: string;
  /** What etcdctl needs beside --endpoints to get at it; absent where nothing, and of other stores. */
  readonly etcdctlFlags?: string;
  /** Where the network config is looked for, for messages. */
  readonly configName: string;
  readonly subnets: Subnets;
  readonly writes: Writes;
  /** The text of the network config; undefined when there is none. */
  readConfig(): Promise<string | undefined>;
  /** Why there may be no config, as a sentence with what to do; undefined when nothing is known. */
  hintForMissingConfig(): Promise<string | undefined>;
  /** All leases. */
  list(): Promise<Listing>;
  /** Follows the leases until `stop`, through every outage of the store. */
  follow(listener: Listener): Following;
  /** The server that is talked to just now; undefined where there is only one place. */
  readonly member?: string;
  /** The id of the cluster that was joined; undefined before it said so, and where there is none. */
  readonly cluster?: string | undefined;
  /** Alarms that keep it from taking writes, `NOSPACE`; undefined: none that is known of. */
  readonly alarm?: string | undefined;
  /** What the server granted last of the seconds that were asked for, where that was less. */
  readonly shortLease?: { readonly asked: number; readonly granted: number } | undefined;
  /** Those in its files just now. */
  readonly certificates?: readonly Certificate[];
  /** Asks for alarms, and rejects as a write of `key` would, which it does not make. */
  tryWriting?(key: string): Promise<void>;
  /** The cluster that an earlier run joined: only its word counts. */
  expectCluster?(cluster: string): void;
  /** Makes its connections anew: those from an address that this host has lost go silent. */
  reconnect?(): void;
  close(): Promise<void>;
}

/** The name of an entry's subnet as flannel writes it. */
export function subnetNameOf({ key, subnet = key }: Pick<Entry, 'key' | 'subnet'>): string {
  return subnet;
}

export interface Following {
  /** After this promise the listener is not called again. */
  stop(): Promise<void>;
  readonly state: FollowState;
}

/** How it stands with following. */
export interface FollowState {
  /** Since when the store does not answer, by the clock; undefined while it does. */
  readonly awaySince: number | undefined;
  /** Why it could not be followed the last time it was tried; undefined while it is. */
  readonly reason: string | undefined;
  /** When it is tried again, by the clock; undefined while it is followed or being tried. */
  readonly nextTryAt: number | undefined;
  /** How often listing again found what the watch had not told. */
  readonly mended: number;
  /** How long it took to answer a small question, twice at least; undefined: it was not asked. */
  readonly answerMs?: number | undefined;
}

/** What proves to the store who weft is, or to weft that it is the store. */
export interface Certificate {
  /** `-etcd-certfile=/etc/ssl/client.pem`. */
  readonly name: string;
  readonly begins: Date;
  readonly ends: Date;
}

/** The store does not answer; trying again later may help. */
export class StoreUnreachable extends Error {
  override readonly name = 'StoreUnreachable';
}

/** The store answers, and refuses. Trying again does not help before somebody acts. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
