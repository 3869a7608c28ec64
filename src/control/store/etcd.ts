/**
 * etcd, with the keys and calls that flannel uses (its etcd v3 schema, flannel 0.18 and newer):
 *
 *     PREFIX/config            the network config, written by the operator
 *     PREFIX/subnets/KEY       one lease a host, on an etcd lease of 24 hours
 *
 * One client an endpoint and our own choice among them: the one in use stays in use until a
 * call or the watch on it fails, then it is the next one's turn. etcd3's own retries and
 * breakers are off, since they hide an outage for seconds.
 */
import path from 'node:path';
import { noop } from 'cockatiel';
import { Etcd3, type IKeyValue, type IOptions, isRecoverableError } from 'etcd3';
import type { Clock, Log } from '../runtime.js';
import { checkEndpoints } from './endpoints.js';
import { follow, type Watched } from './etcd-follow.js';
import { hintForMissingConfig } from './etcd-hint.js';
import {
  type Entry,
  type Following,
  type LeaseStore,
  type Listener,
  type Listing,
  messageOf,
  type Store,
  StoreError,
  StoreUnreachable,
  type Written,
} from './store.js';

export interface EtcdOptions {
  /** `http://host:port` or `https://host:port`, all of one scheme. */
  readonly endpoints: readonly string[];
  /** As flanneld's -etcd-prefix: slashes too many are taken away, none is added in front. */
  readonly prefix: string;
  readonly clock: Clock;
  readonly log: Log;
  /** PEM texts for https. */
  readonly credentials?: NonNullable<IOptions['credentials']>;
  readonly auth?: { readonly username: string; readonly password: string };
  /** How long one call may take on one endpoint, in milliseconds. */
  readonly callTimeout?: number;
  /** How often the leases are listed again although the watch lives, in milliseconds. */
  readonly relistEvery?: number;
}

const CALL_TIMEOUT = 5_000;
/** Mends what etcd itself lost (an event next to a compaction, a partitioned member). */
const RELIST_EVERY = 300_000;

/** etcd answers "too many pings" when asked more often than every 5 s. */
const CHANNEL = {
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 3_000,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 500,
};

export class EtcdStore implements Store {
  readonly description: string;
  readonly configName: string;
  readonly leases: LeaseStore = {
    create: (key, value, ttl) => this.create(key, value, ttl),
    update: (key, value, ttl, revision) => this.update(key, value, ttl, revision),
    remove: (key, revision) => this.remove(key, revision),
    remainingTtl: (lease) => this.remainingTtl(lease),
    discard: (lease) => this.discard(lease),
  };

  private readonly options: EtcdOptions;
  private readonly endpoints: readonly string[];
  private readonly clients: readonly Etcd3[];
  private readonly subnets: string;
  private readonly followings = new Set<Following>();
  private current = 0;

  /** Throws when an endpoint is not well formed; does not connect yet. */
  constructor(options: EtcdOptions) {
    this.options = options;
    this.endpoints = checkEndpoints(options.endpoints);
    this.configName = path.posix.join(options.prefix, 'config');
    this.subnets = path.posix.join(options.prefix, 'subnets/');
    const prefix = path.posix.dirname(this.configName);
    this.description = `etcd at ${this.endpoints.join(',')}, prefix ${prefix}`;
    const { credentials, auth } = options;
    this.clients = this.endpoints.map(
      (hosts) =>
        new Etcd3({
          hosts,
          grpcOptions: CHANNEL,
          faultHandling: { host: () => noop, global: noop },
          ...(credentials && { credentials }),
          ...(auth && { auth }),
        }),
    );
  }

  /** The endpoint in use. */
  get endpoint(): string {
    return this.endpoints[this.current] as string;
  }

  async readConfig(): Promise<string | undefined> {
    return this.read(this.configName);
  }

  hintForMissingConfig(): Promise<string | undefined> {
    const { configName: configKey, endpoints } = this;
    const { credentials } = this.options;
    return hintForMissingConfig({ configKey, endpoints, credentials, read: (k) => this.read(k) });
  }

  async list(): Promise<Listing> {
    const { header, kvs } = await this.call('list the leases', (client) =>
      client.kv.range(range(this.subnets)),
    );
    return { entries: kvs.map((kv) => this.entry(kv)), revision: BigInt(header.revision) };
  }

  follow(listener: Listener): Following {
    const { clock, log, relistEvery = RELIST_EVERY } = this.options;
    const following = follow(
      {
        list: () => this.list(),
        watch: (revision) => this.watch(revision),
        description: this.description,
        relistEvery,
        clock,
        log,
      },
      listener,
    );
    this.followings.add(following);
    return following;
  }

  async close(): Promise<void> {
    await Promise.all([...this.followings].map((following) => following.stop()));
    for (const client of this.clients) client.close();
  }

  private async create(key: string, value: string, ttl: number): Promise<Written | undefined> {
    const granted = await this.grant(ttl);
    const written = await this.write(
      key,
      { target: 'Version', version: 0 },
      { value, lease: granted.lease },
    );
    if (written !== undefined) return { ...granted, revision: written };
    await this.discard(granted.lease);
    return undefined;
  }

  private async update(
    key: string,
    value: string,
    ttl: number | undefined,
    revision: bigint,
  ): Promise<Written | undefined> {
    const granted = ttl === undefined ? { lease: 0n, ttl: 0 } : await this.grant(ttl);
    const written = await this.write(
      key,
      { target: 'Mod', mod_revision: String(revision) },
      { value, lease: granted.lease },
    );
    if (written !== undefined) return { ...granted, revision: written };
    if (granted.lease !== 0n) await this.discard(granted.lease);
    return undefined;
  }

  private async remove(key: string, revision: bigint): Promise<boolean> {
    const bytes = Buffer.from(this.subnets + key);
    const { succeeded } = await this.call(`remove ${key}`, (client) =>
      client.kv.txn({
        compare: [{ key: bytes, target: 'Mod', result: 'Equal', mod_revision: String(revision) }],
        success: [{ request_delete_range: { key: bytes } }],
      }),
    );
    return succeeded;
  }

  private async remainingTtl(lease: bigint): Promise<number> {
    const { TTL } = await this.timeToLive(lease);
    return Number(TTL);
  }

  /** A key that was written meanwhile with this lease must not go: so ask first. */
  private async discard(lease: bigint): Promise<void> {
    const { TTL, keys } = await this.timeToLive(lease);
    if (Number(TTL) < 0 || keys.length > 0) return;
    await this.call('revoke an empty lease', (client) =>
      client.leaseClient.leaseRevoke({ ID: String(lease) }),
    );
  }

  private timeToLive(lease: bigint) {
    return this.call('ask for the remaining time of a lease', (client) =>
      client.leaseClient.leaseTimeToLive({ ID: String(lease), keys: true }),
    );
  }

  private async grant(ttl: number): Promise<{ lease: bigint; ttl: number }> {
    const { ID, TTL } = await this.call('grant a lease', (client) =>
      client.leaseClient.leaseGrant({ ID: '0', TTL: String(ttl) }),
    );
    return { lease: BigInt(ID), ttl: Number(TTL) };
  }

  /** Puts a key if the condition holds; gives the revision of the write. */
  private async write(
    key: string,
    condition: { target: 'Version'; version: number } | { target: 'Mod'; mod_revision: string },
    { value, lease }: { value: string; lease: bigint },
  ): Promise<bigint | undefined> {
    const bytes = Buffer.from(this.subnets + key);
    const put = { key: bytes, value: Buffer.from(value), lease: String(lease) };
    const { succeeded, header } = await this.call(`write ${key}`, (client) =>
      client.kv.txn({
        compare: [{ key: bytes, result: 'Equal', ...condition }],
        success: [{ request_put: put }],
      }),
    );
    return succeeded ? BigInt(header.revision) : undefined;
  }

  private async read(key: string): Promise<string | undefined> {
    const { kvs } = await this.call(`read ${key}`, (client) =>
      client.kv.range({ key: Buffer.from(key) }),
    );
    return kvs[0]?.value.toString();
  }

  private async watch(revision: bigint): Promise<Watched> {
    const index = this.current;
    const stream = await (this.clients[index] as Etcd3).watchClient.watch(REQUIRE_LEADER);
    return {
      stream,
      request: { ...range(this.subnets), start_revision: String(revision) },
      entry: (kv) => this.entry(kv),
      failed: () => this.leave(index),
    };
  }

  private entry({ key, value, mod_revision, lease }: IKeyValue): Entry {
    return {
      key: key.toString().slice(this.subnets.length),
      value: value.toString(),
      revision: BigInt(mod_revision),
      lease: BigInt(lease),
    };
  }

  /** Makes one call on the endpoint in use, or on the next ones when it does not answer. */
  private async call<T>(what: string, run: (client: Etcd3) => Promise<T>): Promise<T> {
    const reasons: string[] = [];
    for (let tried = 0; tried < this.endpoints.length; tried++) {
      const index = this.current;
      try {
        return await this.inTime(run(this.clients[index] as Etcd3));
      } catch (error) {
        const reason = messageOf(error);
        if (!(error instanceof Overdue || (error instanceof Error && isRecoverableError(error)))) {
          throw new StoreError(`${this.endpoints[index]} refuses to ${what}: ${reason}`);
        }
        reasons.push(`${this.endpoints[index]}: ${reason}`);
        this.leave(index);
      }
    }
    throw new StoreUnreachable(`etcd does not answer, cannot ${what} (${reasons.join('; ')})`);
  }

  private leave(index: number): void {
    if (this.current === index) this.current = (index + 1) % this.endpoints.length;
  }

  private inTime<T>(call: Promise<T>): Promise<T> {
    const { clock, callTimeout = CALL_TIMEOUT } = this.options;
    return new Promise<T>((resolve, reject) => {
      const overdue = () => reject(new Overdue(`no answer within ${callTimeout} ms`));
      const cancel = clock.after(callTimeout, overdue);
      call.then(resolve, reject).finally(cancel);
    });
  }
}

class Overdue extends Error {}

/** All keys that begin with `prefix`: up to the prefix with its last byte one higher. */
function range(prefix: string): { key: Buffer; range_end: Buffer } {
  const key = Buffer.from(prefix);
  const end = Buffer.from(key);
  end[end.length - 1] = (end[end.length - 1] as number) + 1;
  return { key, range_end: end };
}

type WatchOptions = NonNullable<Parameters<Etcd3['watchClient']['watch']>[0]>;
type Interceptor = NonNullable<WatchOptions['interceptors']>[number];

/** As flannel asks: a member without a leader ends the stream instead of going silent. */
const REQUIRE_LEADER: WatchOptions = {
  interceptors: [
    (options, nextCall) => {
      const call = nextCall(options) as ReturnType<Interceptor>;
      const start = call.start.bind(call);
      call.start = (metadata, listener) => {
        const own = metadata.clone();
        own.set('hasleader', 'true');
        start(own, listener);
      };
      return call;
    },
  ],
};
