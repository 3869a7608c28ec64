/**
 * This host as a member of a flannel network. The daemon drives it:
 *
 *     const config = await overlay.waitForConfig();
 *     const own = await overlay.join(config, { publicIp, … });
 *     overlay.follow({ members, lost });
 *     …
 *     await overlay.stop();
 *
 * With `saveTo` the network is saved as it is followed. A start while the store is away takes
 * config, lease and peers from there, and the store's word for all of it as soon as it answers.
 */
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import type { Clock, Fault, Log, Random } from '../runtime.js';
import type { StoreState } from '../store/state.js';
import { type Following, messageOf, type Store, StoreUnreachable } from '../store/store.js';
import { acquire, describeLease, type Identity, type OwnLease } from './acquire.js';
import type { HostAddress } from './admit.js';
import { findAssigned } from './assigned.js';
import { type Backend, type Config, ConfigError, parseConfig } from './config.js';
import { ConfigWatch } from './config-watch.js';
import { type Candidate, findFormerAddress } from './former-address.js';
import { type Drift, LeaseClock } from './lease/clock.js';
import { type Held, LeaseHolder } from './lease/holder.js';
import { LEASE_TTL } from './lease/known.js';
import { type Membership, Peers } from './peers.js';
import type { ReadNetwork } from './saved.js';
import { whyUnfit } from './saved-fit.js';
import { Saver } from './saver.js';
import { describeStore } from './store-state.js';
import type { Subnet } from './subnet.js';
import type { Unsound } from './unsound.js';

export interface OverlayOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** How long before its end our lease is renewed, in milliseconds (flannel: 60 minutes). */
  readonly renewMarginMs?: number;
  /** Write our key again when it was removed, rather than give the network up as flannel does. */
  readonly reacquire?: boolean;
  /** The folder where the network is saved for a start without the store; none: not saved. */
  readonly saveTo?: string;
  /** What no other host has, nor this one after a reboot; saved with the network. */
  readonly hostId?: string;
}

export interface OverlayListener {
  /** The peers, first as a whole and then after each batch of changes. */
  members(membership: Membership): void;
  /** Our lease is gone or another's. Called once; the peers are still followed. */
  lost(reason: string): void;
}

/** flannel reads a missing or bad config again each second. */
const POLL_EVERY_MS = 1_000;
const RENEW_MARGIN_MS = 3_600_000;
/** Why it is missing is looked into less often, in turns. */
const HINT_EVERY = 10;

/** `stop` was called while something was still being waited for. */
class OverlayStopped extends Error {
  override readonly name = 'OverlayStopped';
}

export class Overlay {
  readonly #options: OverlayOptions;
  /** None for a store that is only read: it is a file itself. */
  readonly #saver: Saver | undefined;
  #own: OwnLease | undefined;
  #identity: Identity | undefined;
  #backend: Backend['type'] = 'vxlan';
  #following: Following | undefined;
  #holder: LeaseHolder | undefined;
  #leaseClock: LeaseClock | undefined;
  #peers: Peers | undefined;
  #addresses: readonly HostAddress[] = [];
  /** The text of the config in force. */
  #configText = '';
  #config: Config | undefined;
  #configWatch: ConfigWatch | undefined;
  /** What an earlier run saved of this network, until the store has told our lease. */
  #saved: ReadNetwork | undefined;
  /** Whether `own` comes from there. */
  #fromSaved = false;
  /** It was found to be of no use here. */
  #unfit = false;
  #stopped = false;
  #reason: string | undefined;
  #wake = () => {};

  constructor(options: OverlayOptions) {
    this.#options = options;
    const { store, clock, log, saveTo } = options;
    if (saveTo === undefined || store.writes.kind === 'none') return;
    const { hostId } = options;
    this.#saver = new Saver({ directory: saveTo, network: store.configName, hostId, clock, log });
  }

  /** What is waited for just now, and why, in the words of the log; undefined when nothing is. */
  get waitingFor(): string | undefined {
    return this.#reason;
  }

  /** The etcd lease that holds our key now; undefined before `follow`. */
  get held(): Held | undefined {
    return this.#holder?.held;
  }

  /** Why the network is not saved as it is; undefined while it is. */
  get saveProblem(): Fault | undefined {
    return this.#saver?.problem;
  }

  /** How far the store's count of our lease has gone from ours; undefined where it has not. */
  get drift(): Drift | undefined {
    return this.#leaseClock?.drift;
  }

  /** Leases of others that are not as they should be. */
  get unsound(): readonly Unsound[] {
    return this.#peers?.unsound ?? [];
  }

  /** How it stands with the network config in the store; undefined before `join`. */
  get config(): Pick<ConfigWatch, 'change' | 'problem'> | undefined {
    return this.#configWatch;
  }

  /** How it stands with the store; undefined before `follow`. */
  get storeState(): StoreState | undefined {
    const { store, clock } = this.#options;
    const savedAt = this.#fromSaved ? this.#saved?.savedAt : undefined;
    return this.#following && describeStore(store, this.#following.state, clock.now(), savedAt);
  }

  /**
   * Reads the network config, and waits as long as there is none, it is bad, or the store is
   * away: one line of log when the waiting begins and one whenever the reason changes. A store
   * that is away and whose network was saved is not waited for. Rejects with a final ConfigError
   * for a config that weft does not serve.
   */
  async waitForConfig(): Promise<Config> {
    const { store } = this.#options;
    let hint = '';
    this.#saved = this.#saver?.read();
    if (this.#saved?.cluster !== undefined) store.expectCluster?.(this.#saved.cluster);
    for (let turn = 0; ; turn++) {
      this.#throwIfStopped();
      let now: string;
      try {
        const text = await store.readConfig();
        if (text !== undefined) {
          const config = parseConfig(text, store.configName);
          this.#configText = text;
          this.#reason = undefined;
          return config;
        }
        if (turn % HINT_EVERY === 0 || hint === '') hint = await this.#whyNoConfig();
        now = hint;
      } catch (error) {
        if (error instanceof ConfigError && error.final) throw error;
        if (error instanceof StoreUnreachable && this.#saved !== undefined) {
          this.#options.log.warn(
            `${error.message}; taking the config saved ${this.#saved.savedAt}`,
          );
          this.#configText = this.#saved.config;
          return this.#saved.parsedConfig;
        }
        now = messageOf(error);
      }
      this.#waitFor(`waiting for the network config: ${now}`);
      await this.#pause();
    }
  }

  /** Which of these addresses, the best first, our own lease has; undefined: none that is known. */
  formerAddress(candidates: readonly Candidate[], previousSubnet?: Subnet) {
    const { store } = this.#options;
    return findFormerAddress({ store, candidates, previousSubnet, saved: this.#formerSelf });
  }

  /**
   * Gets our lease. Waits while the store is away and nothing fitting was saved; rejects with
   * OutOfSubnets and whatever else waiting does not mend. A store that is only read must hold an
   * entry with our public IP.
   */
  async join(config: Config, identity: Identity): Promise<OwnLease> {
    this.#backend = config.backend.type;
    this.#config = config;
    const [text, besideFlanneld] = [this.#configText, this.#isBesideFlanneld];
    this.#configWatch = new ConfigWatch({ ...this.#options, config, text, besideFlanneld });
    for (;;) {
      this.#throwIfStopped();
      try {
        const own = await this.#findOrAcquire(config, identity);
        this.#saved = undefined;
        this.#fromSaved = false;
        return this.#joined(own, identity);
      } catch (error) {
        if (!(error instanceof StoreUnreachable)) throw error;
        const own = this.#savedLease(identity);
        if (own !== undefined) return this.#joined(own, identity);
        this.#waitFor(`waiting for a lease: ${error.message}`);
      }
      await this.#pause();
    }
  }

  /** Whether flannelds read what we do: where hosts take their subnets themselves, from etcd. */
  get #isBesideFlanneld(): boolean {
    const { subnets, writes } = this.#options.store;
    return subnets.kind === 'taken' && writes.kind === 'leased';
  }

  async #findOrAcquire(config: Config, identity: Identity): Promise<OwnLease> {
    const { store, log, random } = this.#options;
    const saved = this.#saved;
    if (store.subnets.kind === 'assigned') return findAssigned({ store, config, identity, random });
    const { writes } = store;
    if (writes.kind === 'none') throw new Error(`${store.description} cannot be written`);
    if (saved !== undefined && (await store.readConfig()) !== this.#configText) {
      throw new Error(`the network config ${store.configName} is not the one in use; start again`);
    }
    const formerSelf = this.#formerSelf;
    const vtepMac = identity.vtepMac ?? saved?.vtepMac;
    return acquire({
      ...{ store, writes, config, random, log },
      identity: { ...identity, vtepMac, formerSelf },
    });
  }

  /** What this very host saved since its last boot. */
  get #formerSelf(): ReadNetwork | undefined {
    const { hostId } = this.#options;
    return hostId !== undefined && this.#saved?.hostId === hostId ? this.#saved : undefined;
  }

  /** Our lease as it was saved, if this host is still the one of then. */
  #savedLease({ publicIp, previousSubnet }: Identity): OwnLease | undefined {
    const saved = this.#saved;
    const { log } = this.#options;
    if (saved === undefined || this.#unfit) return undefined;
    this.#unfit = true;
    const { own, subnet, vtepMac, reserved } = saved;
    const unfit = whyUnfit(saved, { config: this.#configText, publicIp, previousSubnet });
    if (unfit !== undefined) {
      log.warn(`${unfit}: not used`);
      return undefined;
    }
    log.warn(
      `forwarding on the network saved ${saved.savedAt}, ${saved.leases.length - 1} leases of ` +
        'other hosts, until etcd answers',
    );
    this.#fromSaved = true;
    const { key, value } = own;
    const time = { revision: 0n, lease: 0n, ttl: LEASE_TTL };
    return { key, value, subnet, vtepMac, reserved, ...time };
  }

  #joined(own: OwnLease, identity: Identity): OwnLease {
    const shown = formatAddress(identity.publicIp);
    this.#options.log.info(`this host has ${describeLease(own)}, public IP ${shown}`);
    this.#own = own;
    this.#identity = identity;
    this.#reason = undefined;
    return own;
  }

  /** Keeps our lease and follows the peers from now on, through every outage of the store. */
  follow(listener: OverlayListener): void {
    const { store, clock, random, log, reacquire = false } = this.#options;
    const { renewMarginMs: marginMs = RENEW_MARGIN_MS } = this.#options;
    const [own, identity] = [this.#own, this.#identity];
    if (own === undefined || identity === undefined) throw new Error('join the network first');
    const { publicIp } = identity;
    const holder = new LeaseHolder({
      ...{ store, own, publicIp, marginMs, reacquire, clock, random, log },
      unverified: this.#fromSaved,
      lost: (reason) => {
        this.#saver?.forget();
        listener.lost(reason);
      },
    });
    const peers = new Peers({
      ...{ ownKey: own.key, ownSubnet: own.subnet, publicIp, clock, log },
      addresses: this.#addresses,
      backend: this.#backend,
      besideFlanneld: this.#isBesideFlanneld
        ? { network: this.#config, vtepMac: own.vtepMac }
        : undefined,
      update: (membership) => listener.members(membership),
    });
    this.#holder = holder;
    const { writes } = store;
    if (writes.kind === 'leased') {
      this.#leaseClock = new LeaseClock({
        ...{ clock, log, held: () => holder.held, look: () => writes.keys.look(own.key) },
        tell: (lease, ttl) => holder.tellTime(lease, ttl),
      });
    }
    this.#peers = peers;
    if (this.#fromSaved) {
      const leases = this.#saved?.leases ?? [];
      const entries = leases.map((lease) => ({ ...lease, revision: 0n, lease: 0n }));
      peers.snapshot({ entries, revision: 0n });
    }
    this.#configWatch?.start();
    const saver = this.#saver;
    saver?.begin({ config: this.#configText, publicIp, own });
    this.#following = store.follow({
      snapshot: (listing) => {
        if (this.#fromSaved) this.#verified();
        saver?.snapshot({ cluster: store.cluster, ...listing });
        holder.snapshot(listing);
        peers.snapshot(listing);
      },
      changes(batch) {
        saver?.changes(batch);
        holder.changes(batch);
        peers.changes(batch);
      },
    });
  }

  /** The store answers, so its word counts, and not what was saved; but for the config in force. */
  #verified(): void {
    this.#fromSaved = false;
    this.#saved = undefined;
    void this.#configWatch?.look();
  }

  /** Talks to the store over new connections, which lists all leases again; and reads the config. */
  reconnect(): void {
    this.#options.store.reconnect?.();
    if (this.#following !== undefined) void this.#configWatch?.look();
  }

  /**
   * The host has moved, and is reached at `publicIp` from now on. Our lease says so as soon as the
   * store takes it; connections to the store are made anew, since the old ones would go silent.
   */
  changePublicIp(publicIp: number): void {
    this.reconnect();
    const [identity, own] = [this.#identity, this.#own];
    if (identity === undefined || own === undefined || identity.publicIp === publicIp) return;
    this.#identity = { ...identity, publicIp };
    this.#saver?.begin({ config: this.#configText, publicIp, own });
    this.#peers?.changePublicIp(publicIp);
    this.#holder?.changePublicIp(publicIp);
  }

  /** The addresses that this host has from now on: no other host is reached at one of them. */
  changeAddresses(addresses: readonly HostAddress[]): void {
    this.#addresses = addresses;
    this.#peers?.changeAddresses(addresses);
  }

  /** Stops following and renewing; the lease stays, as flannel leaves it. The store stays open. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake();
    this.#holder?.stop();
    this.#leaseClock?.stop();
    this.#configWatch?.stop();
    this.#peers?.stop();
    this.#saver?.stop();
    await this.#following?.stop();
  }

  async #whyNoConfig(): Promise<string> {
    const { store } = this.#options;
    const hint = await store.hintForMissingConfig();
    return `there is none at ${store.configName} (${store.description})${hint ? `: ${hint}` : ''}`;
  }

  /** One line when the waiting begins, one whenever the reason changes. */
  #waitFor(reason: string): void {
    if (reason !== this.#reason) this.#options.log.warn(reason);
    this.#reason = reason;
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(POLL_EVERY_MS, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  #throwIfStopped(): void {
    if (this.#stopped) throw new OverlayStopped('stopped before the network was joined');
  }
}
