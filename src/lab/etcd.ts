/**
 * An etcd in a namespace of its own, alone or a member of a cluster, and a small client for it:
 * the JSON gateway of etcd 3.4 and newer, so that `etcdctl` need not be installed.
 */
import type { Running } from './command.js';
import { leaseKey, leaseValue, type Peer, parseLease } from './lease.js';
import { type Holder, hold, Namespace, NETWORK_ONLY, type Registry } from './namespace.js';
import { plug, type Switch, withoutPrefix } from './switch.js';

export interface KeyValue {
  key: string;
  value: string;
}

/** flannel's lease time in seconds. */
const LEASE_TIME = 86_400;

export class Etcd extends Namespace {
  /** What goes into `-etcd-endpoints`. */
  readonly endpoint: string;
  /** The underlay address, without the prefix length. */
  readonly address: string;
  readonly #data: string;
  /** `name=URL,…` of all members; empty for one that is alone. */
  readonly #cluster: string;
  #process: Running | undefined;

  private constructor(
    lab: Registry,
    name: string,
    holder: Holder,
    address: string,
    cluster: string,
  ) {
    super(name, holder, NETWORK_ONLY);
    this.#data = lab.directory('etcd', name);
    this.address = withoutPrefix(address);
    this.endpoint = `http://${this.address}:2379`;
    this.#cluster = cluster;
  }

  /** Used by `Network.etcd`. Rejects when etcd does not answer within 15 s. */
  static async create(lab: Registry, into: Switch, name: string, address: string): Promise<Etcd> {
    const etcd = await Etcd.#plugged(lab, into, name, address, '');
    await etcd.launch();
    return etcd;
  }

  /** Used by `Network.etcdCluster`. Rejects when a member does not answer within 15 s. */
  static async createCluster(
    lab: Registry,
    into: Switch,
    addresses: readonly string[],
  ): Promise<Etcd[]> {
    const name = (i: number) => `etcd${i + 1}`;
    const cluster = addresses
      .map((address, i) => `${name(i)}=${peerUrl(withoutPrefix(address))}`)
      .join(',');
    const members: Etcd[] = [];
    for (const [i, address] of addresses.entries()) {
      members.push(await Etcd.#plugged(lab, into, name(i), address, cluster));
    }
    // Each waits for the others.
    await Promise.all(members.map((member) => member.launch()));
    return members;
  }

  static async #plugged(
    lab: Registry,
    into: Switch,
    name: string,
    address: string,
    cluster: string,
  ): Promise<Etcd> {
    const etcd = lab.add(new Etcd(lab, name, await hold(name, NETWORK_ONLY), address, cluster));
    await plug(etcd, 'eth0', into, { address });
    return etcd;
  }

  /** Whether packets between this member and others get lost, silently and both ways. */
  async cutOff(others: readonly Etcd[], off: boolean): Promise<void> {
    const verb = off ? 'add' : 'del';
    // An address that is not reached is then not heard either.
    await this.sysctl('net.ipv4.conf.all.rp_filter=1');
    const rest = others.filter((other) => other !== this);
    await this.ip(...rest.map(({ address }) => `route ${verb} blackhole ${address}/32`));
  }

  /** The server; `stop` it to see what happens without etcd, `launch` it again. */
  get process(): Running {
    if (this.#process === undefined) throw new Error('etcd was not started');
    return this.#process;
  }

  /** Starts the server, on the data of the last time, and waits until it answers. */
  async launch(): Promise<void> {
    const alone = this.#cluster === '';
    const peers = peerUrl(alone ? '127.0.0.1' : this.address);
    this.#process = this.start(
      [
        ...['etcd', '--name', this.name, '--data-dir', this.#data], // on tmpfs: no disk to wait for
        ...['--listen-client-urls', this.endpoint, '--advertise-client-urls', this.endpoint],
        ...['--listen-peer-urls', peers, '--initial-advertise-peer-urls', peers],
        ...['--initial-cluster', alone ? `${this.name}=${peers}` : this.#cluster],
      ],
      // etcd 3.4 refuses machines other than x64 without it.
      { name: this.name, env: { ETCD_UNSUPPORTED_ARCH: process.arch } },
    );
    await this.#ready(15_000);
  }

  async put(key: string, value: string, lease?: string): Promise<void> {
    await this.#call('kv/put', {
      key: encode(key),
      value: encode(value),
      ...(lease === undefined ? {} : { lease }),
    });
  }

  /** The value of a key, or undefined when there is none. */
  async get(key: string): Promise<string | undefined> {
    const found = await this.#call('kv/range', { key: encode(key) });
    return keyValues(found)[0]?.value;
  }

  /** All keys that begin with `prefix`, with their values, in the order of the keys. */
  async list(prefix: string): Promise<KeyValue[]> {
    const end = prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
    return keyValues(await this.#call('kv/range', { key: encode(prefix), range_end: encode(end) }));
  }

  /** Forgets all revisions before the present one. */
  async compact(): Promise<void> {
    const { header } = (await this.#call('kv/range', { key: encode('x') })) as {
      header: { revision: string };
    };
    await this.#call('kv/compaction', { revision: header.revision, physical: true });
  }

  async delete(key: string): Promise<void> {
    await this.#call('kv/deleterange', { key: encode(key) });
  }

  /** Writes the lease of a peer as flannel does: its value, for 24 hours. */
  async register(prefix: string, peer: Peer & { vni?: number }): Promise<void> {
    const granted = (await this.#call('lease/grant', { TTL: LEASE_TIME })) as { ID: string };
    await this.put(`${prefix}/subnets/${leaseKey(peer)}`, leaseValue(peer), granted.ID);
  }

  /** The etcd lease that a key hangs on, in seconds; zeros for a key without one. */
  async timeToLive(key: string): Promise<{ granted: number; remaining: number }> {
    const { kvs = [] } = (await this.#call('kv/range', { key: encode(key) })) as {
      kvs?: { lease?: string }[];
    };
    const lease = kvs[0]?.lease;
    if (lease === undefined) return { granted: 0, remaining: 0 };
    const { grantedTTL = '0', TTL = '0' } = (await this.#call('lease/timetolive', {
      ID: lease,
    })) as { grantedTTL?: string; TTL?: string };
    return { granted: Number(grantedTTL), remaining: Number(TTL) };
  }

  /** The leases below a prefix, as peers. */
  async peers(prefix: string): Promise<Peer[]> {
    const leases = await this.list(`${prefix}/subnets/`);
    return leases.map(({ key, value }) => parseLease(key, value));
  }

  async #ready(ms: number): Promise<void> {
    const deadline = Date.now() + ms;
    for (;;) {
      if (this.process.code !== undefined) {
        throw new Error(`etcd ended with code ${this.process.code}:\n${this.process.tail(10)}`);
      }
      try {
        await this.get('ready');
        return;
      } catch (error) {
        if (Date.now() > deadline) {
          throw new Error(
            `etcd did not answer at ${this.endpoint} within ${ms} ms` +
              ` (${(error as Error).message}):\n${this.process.tail(10)}`,
          );
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  async #call(method: string, body: object): Promise<object> {
    const url = `${this.endpoint}/v3/${method}`;
    const answer = await fetch(url, {
      method: 'POST',
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(5_000),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`etcd answered ${method} with ${answer.status}: ${text}`);
    return JSON.parse(text) as object;
  }
}

function peerUrl(address: string): string {
  return `http://${address}:2380`;
}

function encode(text: string): string {
  return Buffer.from(text).toString('base64');
}

function keyValues(range: object): KeyValue[] {
  const { kvs = [] } = range as { kvs?: { key: string; value?: string }[] };
  const decode = (text = '') => Buffer.from(text, 'base64').toString();
  return kvs.map(({ key, value }) => ({ key: decode(key), value: decode(value) }));
}
