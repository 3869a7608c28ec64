/**
 * Where the network config and the leases live. One interface, so that the overlay does not
 * know whether it talks to etcd, to a file, or one day to Kubernetes.
 *
 * A key is the name of a lease below `subnets/`, for example `10.5.52.0-24`; a value is the
 * text that flannel keeps there. Revisions and lease ids are etcd's 64-bit numbers; other
 * stores count in their own way, but a later state always has a greater revision.
 */

/** One lease as the store has it. */
export interface Entry {
  readonly key: string;
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
  /** Which cluster told it, in hex as etcdctl prints it; absent where a store has no such id. */
  readonly cluster?: string;
  /**
   * The store is not the one of before: it was emptied, restored from a backup, or went back in
   * its revisions. What is missing from it was not removed by anybody.
   */
  readonly replaced?: boolean;
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

/** The writing half of a store. All calls reject with StoreUnreachable or StoreError. */
export interface LeaseStore {
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
  /** Removes a key that is still at `revision`. False: it has another revision or is gone. */
  remove(key: string, revision: bigint): Promise<boolean>;
  /** Seconds left, as the server says; -1 when there is no such lease. */
  remainingTtl(lease: bigint): Promise<number>;
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

export interface Store {
  /** For messages: `etcd at http://127.0.0.1:2379, prefix /coreos.com/network`. */
  readonly description: string;
  /** Where the network config is looked for, for messages. */
  readonly configName: string;
  /** The text of the network config; undefined when there is none. */
  readConfig(): Promise<string | undefined>;
  /** Why there may be no config, as a sentence with what to do; undefined when nothing is known. */
  hintForMissingConfig(): Promise<string | undefined>;
  /** All leases. */
  list(): Promise<Listing>;
  /** Follows the leases until `stop`, through every outage of the store. */
  follow(listener: Listener): Following;
  /** Undefined for a store that is only read. */
  readonly leases?: LeaseStore;
  /** The server that is talked to just now; undefined where there is only one place. */
  readonly member?: string;
  /** Makes its connections anew: those from an address that this host has lost go silent. */
  reconnect?(): void;
  close(): Promise<void>;
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
