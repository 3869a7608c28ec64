/**
 * etcd, with the keys and calls that flannel uses (its etcd v3 schema, flannel 0.18 and newer):
 *
 *     PREFIX/config            the network config, written by the operator
 *     PREFIX/subnets/KEY       one lease a host, on an etcd lease of 24 hours
 */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import type { IKeyValue } from 'etcd3/lib/rpc.js';
import { EtcdAlarms } from './etcd-alarms.js';
import type { Known, StoredEntry, StoredListing } from './etcd-applied.js';
import { follow, type Watched } from './etcd-follow.js';
import { hintForMissingConfig } from './etcd-hint.js';
import { keyBytes, keyText } from './etcd-key.js';
import { listPages, REVISION_GONE, type ReadRange, range } from './etcd-listing.js';
import { EtcdMembers, type EtcdMembersOptions } from './etcd-members.js';
import { tryWriting } from './etcd-trial.js';
import { type Condition, putIf, removeAt, type Transact } from './etcd-txn.js';
import {
  type Certificate,
  type Following,
  type LeaseStore,
  type Listener,
  type Looked,
  messageOf,
  type Store,
  type Written,
} from './store.js';

export interface EtcdOptions extends EtcdMembersOptions {
  /** As flanneld's -etcd-prefix: slashes too many are taken away, none is added in front. */
  readonly prefix: string;
  /** For messages: what etcdctl needs beside --endpoints. */
  readonly etcdctlFlags?: string;
  /** How often the leases are listed again although the watch lives. */
  readonly relistEveryMs?: number;
}

/** Mends what etcd itself lost (an event next to a compaction, a partitioned member). */
const RELIST_EVERY_MS = 300_000;

export class EtcdStore implements Store {
  readonly description: string;
  readonly configName: string;
  readonly network: string;
  readonly etcdctlFlags: string;
  readonly subnets = { kind: 'taken' } as const;
  readonly leases: LeaseStore = {
    look: (key) => this.#lookAt(key),
    create: (key, value, ttl) => this.#create(key, value, ttl),
    update: (key, value, ttl, revision) => this.#update(key, value, ttl, revision),
    remove: (key, revision) => this.#remove(key, revision),
    keepAlive: (lease) => this.#keepAlive(lease),
    granted: (lease) => this.#grants.has(lease),
    discard: (lease) => this.#discard(lease),
  };
  readonly writes = { kind: 'leased', keys: this.leases } as const;

  readonly #options: EtcdOptions;
  readonly #members: EtcdMembers;
  readonly #alarms: EtcdAlarms;
  /** What the names of all leases begin with. */
  readonly #folder: string;
  readonly #followings = new Set<Following>();
  /** The leases that we asked for: one at the start and one a renewal. */
  readonly #grants = new Set<bigint>();
  #shortLease: Store['shortLease'];
  /** One that a grant without an answer may have made. */
  #askedLease: bigint | undefined;
  /** One that a write without an answer may hang on; the next write takes it. */
  #spareLease: Granted | undefined;

  /** Throws when an endpoint is not well formed; does not connect yet. */
  constructor(options: EtcdOptions) {
    this.#options = options;
    this.#members = new EtcdMembers(options);
    this.#alarms = new EtcdAlarms(this.#members);
    this.configName = path.posix.join(options.prefix, 'config');
    this.#folder = path.posix.join(options.prefix, 'subnets/');
    const prefix = path.posix.dirname(this.configName);
    this.etcdctlFlags = options.etcdctlFlags ?? '';
    this.network = `etcd prefix ${prefix}`;
    this.description = `etcd at ${this.#members.endpoints.join(',')}, prefix ${prefix}`;
  }

  /** The cluster that was joined, in hex as etcdctl prints it. */
  get cluster(): string | undefined {
    return this.#members.cluster;
  }

  /** The cluster that was joined before this start. */
  expectCluster(id: string): void {
    this.#members.expectCluster(id);
  }

  get alarm(): string | undefined {
    return this.#alarms.raised;
  }

  get shortLease(): Store['shortLease'] {
    return this.#shortLease;
  }

  get certificates(): readonly Certificate[] {
    return this.#members.access.certificates;
  }

  get member(): string {
    return this.#members.endpoint;
  }

  async readConfig(): Promise<string | undefined> {
    return this.#read(this.configName);
  }

  hintForMissingConfig(): Promise<string | undefined> {
    return hintForMissingConfig({
      configKey: this.configName,
      endpoints: this.#members.endpoints,
      etcdctlFlags: this.etcdctlFlags,
      credentials: this.#members.access.get().credentials,
      read: (key) => this.#read(key),
    });
  }

  async list(): Promise<StoredListing> {
    const read: ReadRange = (request) =>
      this.#members.read('list the leases', (client) => client.kv.range(request));
    const { kvs, revision, cluster } = await listPages(read, range(this.#folder));
    return { entries: kvs.map((kv) => this.#entry(kv)), revision, cluster };
  }

  follow(listener: Listener): Following {
    const { clock, log, relistEveryMs = RELIST_EVERY_MS, random = () => 0.5 } = this.#options;
    const following = follow(
      {
        list: () => this.list(),
        watch: (revision) => this.#watch(revision),
        look: (timeoutMs) => this.#look(timeoutMs),
        past: (key, at) => this.#past(key, at),
        description: this.description,
        relistEveryMs,
        clock,
        random,
        log,
      },
      listener,
    );
    this.#followings.add(following);
    return following;
  }

  tryWriting(key: string): Promise<void> {
    return tryWriting(this.#members, this.#alarms, this.#folder + key);
  }

  reconnect(): void {
    this.#members.reconnect();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#followings].map((following) => following.stop()));
    this.#members.close();
  }

  /** One linearizable read on the member in use: how many leases there are, and the newest; and its alarms. */
  async #look(timeoutMs: number): Promise<Known> {
    const asked = this.#members.probe(
      'look at the newest lease',
      (client) =>
        client.kv.range({
          ...range(this.#folder),
          sort_target: 'Mod',
          sort_order: 'Descend',
          limit: 1,
          keys_only: true,
        }),
      timeoutMs,
    );
    // Both at once: on a store that is far away a look takes no longer for it.
    const [newest] = await Promise.all([asked, this.#alarms.look(timeoutMs)]);
    const revision = BigInt(newest.kvs[0]?.mod_revision ?? 0);
    return { count: Number(newest.count), revision };
  }

  /** The revision that a key was at when the store was at revision `at`. */
  async #past(key: string, at: bigint): Promise<bigint | 'absent' | 'compacted'> {
    try {
      const { kvs } = await this.#members.read(`read ${key} as it was`, (client) =>
        client.kv.range({
          key: this.#bytesOf(key),
          revision: String(at),
          keys_only: true,
        }),
      );
      return kvs[0] === undefined ? 'absent' : BigInt(kvs[0].mod_revision);
    } catch (error) {
      if (REVISION_GONE.test(messageOf(error))) return 'compacted';
      throw error;
    }
  }

  async #create(key: string, value: string, ttl: number | undefined): Promise<Written | undefined> {
    return this.#writeOnLease(key, { target: 'Version', version: 0 }, value, ttl);
  }

  async #update(
    key: string,
    value: string,
    ttl: number | undefined,
    revision: bigint,
  ): Promise<Written | undefined> {
    const condition = { target: 'Mod', mod_revision: String(revision) } as const;
    return this.#writeOnLease(key, condition, value, ttl);
  }

  /**
   * On a fresh lease, or on that of an earlier write without an answer: were each to ask for one
   * of its own, a slow server would be left with a lease for each try.
   */
  async #writeOnLease(
    key: string,
    condition: Condition,
    value: string,
    ttl: number | undefined,
  ): Promise<Written | undefined> {
    const bytes = this.#bytesOf(key);
    const transact = this.#transact(`write ${key}`);
    const put = (lease: bigint) => putIf(transact, bytes, condition, { value, lease });
    if (ttl === undefined) {
      const revision = await put(0n);
      return revision === undefined ? undefined : { revision, lease: 0n, ttl: 0 };
    }
    const spare = this.#spareLease;
    const lease =
      spare !== undefined && this.#left(spare) > ttl / 2 ? spare : await this.#grant(ttl);
    this.#spareLease = lease;
    let revision: bigint | undefined;
    try {
      revision = await put(lease.id);
    } catch (error) {
      if (!LEASE_GONE.test(messageOf(error))) throw error;
      this.#spareLease = undefined;
      if (lease !== spare) throw error;
      return this.#writeOnLease(key, condition, value, ttl);
    }
    this.#spareLease = undefined;
    if (revision !== undefined) return { revision, lease: lease.id, ttl: this.#left(lease) };
    await this.#discard(lease.id);
    return undefined;
  }

  /** Seconds. */
  #left({ ttl, grantedAtMs }: Granted): number {
    return Math.max(ttl - Math.floor((this.#options.clock.now() - grantedAtMs) / 1_000), 0);
  }

  async #remove(key: string, revision: bigint): Promise<boolean> {
    return removeAt(this.#transact(`remove ${key}`), this.#bytesOf(key), revision);
  }

  async #lookAt(key: string): Promise<Looked> {
    const { kvs, header } = await this.#members.call(`look at ${key}`, (client) =>
      client.kv.range({ key: this.#bytesOf(key) }),
    );
    const [kv] = kvs;
    const entry = kv && this.#entry(kv);
    const ttl = entry && entry.lease !== 0n ? (await this.#timeToLive(entry.lease)).TTL : 0;
    return { entry, revision: BigInt(header.revision), ttl: Math.max(Number(ttl), 0) };
  }

  /** A key that was written meanwhile with this lease must not go: so ask first. */
  async #discard(lease: bigint): Promise<void> {
    const { TTL, keys } = await this.#timeToLive(lease);
    if (Number(TTL) < 0 || keys.length > 0) return;
    await this.#members.call('revoke an empty lease', (client) =>
      client.leaseClient.leaseRevoke({ ID: String(lease) }),
    );
  }

  #timeToLive(lease: bigint) {
    return this.#members.call('ask for the remaining time of a lease', (client) =>
      client.leaseClient.leaseTimeToLive({ ID: String(lease), keys: true }),
    );
  }

  /**
   * The id of a lease is chosen here, so that a grant without an answer is asked for again by the
   * same id, of the next member or in the next call, and leaves no lease on the server.
   */
  async #grant(ttl: number): Promise<Granted> {
    const grantedAtMs = this.#options.clock.now();
    const asked = this.#askedLease;
    const id = asked ?? freshLeaseId();
    this.#askedLease = id;
    let granted: string;
    let isAskedAgain = asked !== undefined;
    try {
      const { TTL } = await this.#members.call('grant a lease', (client) =>
        client.leaseClient.leaseGrant({ ID: String(id), TTL: String(ttl) }),
      );
      granted = TTL;
    } catch (error) {
      if (!LEASE_EXISTS.test(messageOf(error))) throw error;
      // By chance it is nobody else's.
      granted = (await this.#timeToLive(id)).TTL;
      isAskedAgain = true;
      this.#askedLease = undefined;
      // It has run out since.
      if (Number(granted) <= 0) return this.#grant(ttl);
    }
    this.#askedLease = undefined;
    this.#grants.add(id);
    // One that was asked for before has run since.
    const isShort = !isAskedAgain && Number(granted) < ttl;
    this.#shortLease = isShort ? { asked: ttl, granted: Number(granted) } : undefined;
    return { id, ttl: Number(granted), grantedAtMs };
  }

  /** One message there and one back on a stream of its own. */
  async #keepAlive(lease: bigint): Promise<number> {
    return this.#members.call('keep a lease alive', async (client) => {
      const stream = await client.leaseClient.leaseKeepAlive();
      try {
        return await new Promise<number>((resolve, reject) => {
          stream.on('data', ({ TTL }) => resolve(Math.max(Number(TTL), 0)));
          stream.on('error', reject);
          stream.on('end', () => reject(new Error('etcd ended the stream without an answer')));
          stream.write({ ID: String(lease) });
        });
      } finally {
        stream.end();
      }
    });
  }

  #transact(what: string): Transact {
    return (request) => this.#members.call(what, (client) => client.kv.txn(request));
  }

  async #read(key: string): Promise<string | undefined> {
    const { kvs } = await this.#members.read(`read ${key}`, (client) =>
      client.kv.range({ key: Buffer.from(key) }),
    );
    return kvs[0]?.value.toString();
  }

  async #watch(revision: bigint): Promise<Watched> {
    const { stream, failed } = await this.#members.watch();
    return {
      stream,
      failed,
      request: { ...range(this.#folder), start_revision: String(revision), fragment: true },
      entry: (kv) => this.#entry(kv),
    };
  }

  #bytesOf(key: string): Buffer {
    return Buffer.concat([Buffer.from(this.#folder), keyBytes(key)]);
  }

  #entry({ key, value, create_revision, mod_revision, lease }: IKeyValue): StoredEntry {
    return {
      key: keyText(key.subarray(Buffer.byteLength(this.#folder))),
      value: value.toString(),
      created: BigInt(create_revision),
      revision: BigInt(mod_revision),
      lease: BigInt(lease),
    };
  }
}

/** etcd's words: it was revoked, or the store is not the one of then. */
const LEASE_GONE = /requested lease not found/;
const LEASE_EXISTS = /lease already exists/;

/** Positive, as etcd wants it: 63 bits by chance. */
function freshLeaseId(): bigint {
  return randomBytes(8).readBigUInt64BE() >> 1n || 1n;
}

/** A lease that the server gave. */
interface Granted {
  readonly id: bigint;
  /** Seconds, from `grantedAtMs` on. */
  readonly ttl: number;
  readonly grantedAtMs: number;
}
