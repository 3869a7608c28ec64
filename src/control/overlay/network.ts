/**
 * This host as a member of a flannel network. The daemon drives it:
 *
 *     const config = await overlay.waitForConfig();
 *     const own = await overlay.join(config, { publicIp, … });
 *     overlay.follow({ members, lost });
 *     …
 *     await overlay.stop();
 */
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import type { Clock, Log, Random } from '../runtime.js';
import { type Following, messageOf, type Store, StoreUnreachable } from '../store/store.js';
import { acquire, describeLease, type Identity, type OwnLease } from './acquire.js';
import { type Config, ConfigError, parseConfig } from './config.js';
import { LeaseHolder } from './hold.js';
import { formatLeaseValue, parseLeaseValue } from './lease-value.js';
import { type Membership, Peers } from './peers.js';
import { keyOf, parseKey } from './subnet.js';

export interface OverlayOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** How long before its end our lease is renewed, in minutes (1 to 1439, flannel: 60). */
  readonly renewMargin?: number;
}

export interface OverlayListener {
  /** The peers, first as a whole and then after each batch of changes. */
  members(membership: Membership): void;
  /** Our lease is gone or another's. Called once; the peers are still followed. */
  lost(reason: string): void;
}

/** flannel reads a missing or bad config again each second. */
const POLL_EVERY = 1_000;
/** Why it is missing is looked into less often, in turns. */
const HINT_EVERY = 10;

/** `stop` was called while something was still being waited for. */
export class OverlayStopped extends Error {
  override readonly name = 'OverlayStopped';
}

export class Overlay {
  private readonly options: OverlayOptions;
  private own: OwnLease | undefined;
  private identity: Identity | undefined;
  private following: Following | undefined;
  private holder: LeaseHolder | undefined;
  private peers: Peers | undefined;
  private stopped = false;
  private reason: string | undefined;
  private wake = () => {};

  constructor(options: OverlayOptions) {
    this.options = options;
  }

  /** What is waited for just now, and why, in the words of the log; undefined when nothing is. */
  get waitingFor(): string | undefined {
    return this.reason;
  }

  /** The etcd lease that holds our key now; undefined before `follow`. */
  get held(): LeaseHolder['held'] | undefined {
    return this.holder?.held;
  }

  /**
   * Reads the network config, and waits as long as there is none, it is bad, or the store is
   * away: one line of log when the waiting begins and one whenever the reason changes. Rejects
   * with a final ConfigError for a config that weft does not serve.
   */
  async waitForConfig(): Promise<Config> {
    const { store } = this.options;
    let hint = '';
    for (let turn = 0; ; turn++) {
      this.throwIfStopped();
      let now: string;
      try {
        const text = await store.readConfig();
        if (text !== undefined) {
          const config = parseConfig(text, store.configName);
          this.reason = undefined;
          return config;
        }
        if (turn % HINT_EVERY === 0 || hint === '') hint = await this.whyNoConfig();
        now = hint;
      } catch (error) {
        if (error instanceof ConfigError && error.final) throw error;
        now = messageOf(error);
      }
      this.waitFor(`waiting for the network config: ${now}`);
      await this.pause();
    }
  }

  /**
   * Gets our lease. Waits while the store is away; rejects with OutOfSubnets and whatever else
   * waiting does not mend. A store that is only read must hold an entry with our public IP.
   */
  async join(config: Config, identity: Identity): Promise<OwnLease> {
    const { store, log, random } = this.options;
    const { leases } = store;
    for (;;) {
      this.throwIfStopped();
      try {
        const own =
          leases === undefined
            ? await this.findOwn(config, identity)
            : await acquire({ store, leases, config, identity, random, log });
        log.info(
          `this host has ${describeLease(own)}, public IP ${formatAddress(identity.publicIp)}`,
        );
        this.own = own;
        this.identity = identity;
        this.reason = undefined;
        return own;
      } catch (error) {
        if (!(error instanceof StoreUnreachable)) throw error;
        this.waitFor(`waiting for a lease: ${error.message}`);
      }
      await this.pause();
    }
  }

  /** Keeps our lease and follows the peers from now on, through every outage of the store. */
  follow(listener: OverlayListener): void {
    const { store, clock, log, renewMargin = 60 } = this.options;
    const { own, identity } = this;
    if (own === undefined || identity === undefined) throw new Error('join the network first');
    const { publicIp } = identity;
    const holder = new LeaseHolder({
      store,
      own,
      publicIp,
      margin: renewMargin * 60_000,
      clock,
      log,
      lost: (reason) => listener.lost(reason),
    });
    const peers = new Peers({
      ownKey: own.key,
      ownSubnet: own.subnet,
      publicIp,
      log,
      update: (membership) => listener.members(membership),
    });
    this.holder = holder;
    this.peers = peers;
    this.following = store.follow({
      snapshot(listing) {
        holder.snapshot(listing);
        peers.snapshot(listing);
      },
      changes(batch) {
        holder.changes(batch);
        peers.changes(batch);
      },
    });
  }

  /**
   * The host has moved, and is reached at `publicIp` from now on. Our lease says so as soon as the
   * store takes it; connections to the store are made anew, since the old ones would go silent.
   */
  changePublicIp(publicIp: number): void {
    this.options.store.reconnect?.();
    if (this.identity === undefined || this.identity.publicIp === publicIp) return;
    this.identity = { ...this.identity, publicIp };
    this.peers?.changePublicIp(publicIp);
    this.holder?.changePublicIp(publicIp);
  }

  /** Stops following and renewing; the lease stays, as flannel leaves it. The store stays open. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.wake();
    this.holder?.stop();
    await this.following?.stop();
  }

  private async whyNoConfig(): Promise<string> {
    const { store } = this.options;
    const hint = await store.hintForMissingConfig();
    return `there is none at ${store.configName} (${store.description})${hint ? `: ${hint}` : ''}`;
  }

  /** Our entry in a store that is only read. */
  private async findOwn(config: Config, { publicIp }: Identity): Promise<OwnLease> {
    const { store } = this.options;
    const shown = formatAddress(publicIp);
    const { entries } = await store.list();
    for (const { key, value, revision } of entries) {
      const name = parseKey(key);
      if (name === undefined || key !== keyOf(name.subnet)) continue;
      let lease: ReturnType<typeof parseLeaseValue>;
      try {
        lease = parseLeaseValue(value);
      } catch {
        continue;
      }
      if (lease.publicIp !== publicIp) continue;
      if ('problem' in lease.vtep) {
        throw new Error(`${store.description}: our entry ${key}: ${lease.vtep.problem}`);
      }
      const { mac: vtepMac } = lease.vtep;
      return { key, subnet: name.subnet, vtepMac, value, revision, lease: 0n, ttl: 0 };
    }
    const example = formatLeaseValue(publicIp, config.backend.vni, EXAMPLE_MAC);
    throw new Error(
      `${store.description}: no entry under "subnets" has our public IP ${shown}; ` +
        `add one, such as "10.10.58.0-24": ${example}`,
    );
  }

  /** One line when the waiting begins, one whenever the reason changes. */
  private waitFor(reason: string): void {
    if (reason !== this.reason) this.options.log.warn(reason);
    this.reason = reason;
  }

  private pause(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.options.clock.after(POLL_EVERY, resolve);
      this.wake = () => {
        cancel();
        resolve();
      };
    });
  }

  private throwIfStopped(): void {
    if (this.stopped) throw new OverlayStopped('stopped before the network was joined');
  }
}

const EXAMPLE_MAC = Uint8Array.of(0x02, 0, 0, 0, 0, 0x0a);
