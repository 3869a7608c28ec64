/**
 * Holds our lease: writes it again, on a fresh etcd lease, one margin before the old one ends,
 * and notices when it is lost. Unlike flannel's, the renewal is conditional on the revision,
 * so a key that another host has taken is never overwritten.
 */
import { formatMac } from '../../dataplane/wire/ethernet.js';
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import type { Clock, Log } from '../runtime.js';
import {
  type Change,
  type Entry,
  type LeaseStore,
  type Listing,
  messageOf,
  type Store,
} from '../store/store.js';
import { discardQuietly, LEASE_TTL, type OwnLease } from './acquire.js';
import { type LeaseValue, parseLeaseValue, withPublicIp } from './lease-value.js';

export interface HoldOptions {
  readonly store: Store;
  readonly own: OwnLease;
  readonly publicIp: number;
  /** How long before the end a lease is renewed, in milliseconds (flannel: 60 minutes). */
  readonly margin: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Called once; the holder does nothing any more after it. */
  readonly lost: (reason: string) => void;
}

const RETRY_EVERY = 60_000;
/** For another public IP: at first, then doubled up to RETRY_EVERY. */
const PUBLISH_AGAIN_AFTER = 1_000;
/** No faster than this, whatever a server says of the time that is left. */
const SHORTEST_WAIT = 1_000;

export class LeaseHolder {
  private readonly options: HoldOptions;
  private readonly key: string;
  private publicIp: number;
  /** Those of before, as long as our key may still have them. */
  private readonly formerIps = new Set<number>();
  private value: string;
  private revision: bigint;
  private lease: bigint;
  /** By the clock, as the server last said it. */
  private ends = 0;
  private cancelTimer = () => {};
  private renewing = false;
  private over = false;

  constructor(options: HoldOptions) {
    this.options = options;
    const { key, value, revision, lease, ttl } = options.own;
    this.publicIp = options.publicIp;
    this.key = key;
    this.value = value;
    this.revision = revision;
    this.lease = lease;
    if (lease !== 0n) this.scheduleRenewal(ttl);
  }

  /** The etcd lease that holds our key now, 0n for none, and the milliseconds until it ends. */
  get held(): { readonly lease: bigint; readonly endsIn: number } {
    return { lease: this.lease, endsIn: Math.max(this.ends - this.options.clock.now(), 0) };
  }

  /** Takes a snapshot of the store. */
  snapshot({ entries, revision }: Listing): void {
    const entry = entries.find(({ key }) => key === this.key);
    if (entry === undefined) this.lose('was removed from the store, or has run out');
    else if (revision >= this.revision) this.observe(entry);
  }

  /** Takes the changes of the store. */
  changes(batch: readonly Change[]): void {
    for (const change of batch) {
      if (change.type === 'put' && change.entry.key === this.key) this.observe(change.entry);
      else if (change.type === 'delete' && change.key === this.key) {
        if (change.revision > this.revision)
          this.lose('was removed from the store, or has run out');
      }
    }
  }

  /** This host has another public IP: writes it into our key, as soon as the store takes it. */
  changePublicIp(publicIp: number): void {
    const { store, log } = this.options;
    this.formerIps.add(this.publicIp);
    this.publicIp = publicIp;
    if (store.leases === undefined) {
      log.warn(
        `${store.description} is only read: put the public IP ${formatAddress(publicIp)} into ` +
          `its entry ${this.key}`,
      );
      return;
    }
    this.value = withPublicIp(this.value, publicIp);
    void this.publish(publicIp, PUBLISH_AGAIN_AFTER);
  }

  /** The lease stays in the store, as flannel leaves it. */
  stop(): void {
    this.over = true;
    this.cancelTimer();
  }

  /** Takes a look at our key as the store has it. */
  private observe(entry: Entry): void {
    if (this.over || entry.revision <= this.revision) return;
    const { log } = this.options;
    const { publicIp } = this;
    let value: LeaseValue;
    try {
      value = parseLeaseValue(entry.value);
    } catch (error) {
      this.lose(`was overwritten with a value that cannot be read: ${messageOf(error)}`);
      return;
    }
    const before = value.publicIp !== publicIp;
    if (before && !this.formerIps.has(value.publicIp)) {
      this.lose(`was taken by the host with public IP ${formatAddress(value.publicIp)}`);
      return;
    }
    this.warnOfTwin(value);
    this.value = before ? withPublicIp(entry.value, publicIp) : entry.value;
    this.revision = entry.revision;
    if (entry.lease === this.lease) return;
    this.lease = entry.lease;
    this.cancelTimer();
    if (entry.lease === 0n) log.info(`our lease ${this.key} was made a reservation`);
    else void this.scheduleByRemainingTime();
  }

  private warnOfTwin(value: LeaseValue): void {
    const { log, own } = this.options;
    const mac = 'mac' in value.vtep ? formatMac(value.vtep.mac) : 'none';
    if (mac === formatMac(own.vtepMac)) return;
    log.warn(
      `our lease ${this.key} was rewritten with VTEP address ${mac}, ours is ` +
        `${formatMac(own.vtepMac)}: two hosts with one public IP ${formatAddress(this.publicIp)}?`,
    );
  }

  /** A TTL is no promise: it is asked anew where somebody else wrote the key. */
  private async scheduleByRemainingTime(): Promise<void> {
    let ttl: number;
    try {
      ttl = await this.leases().remainingTtl(this.lease);
    } catch {
      ttl = 0;
    }
    if (!this.over) this.scheduleRenewal(ttl);
  }

  /** `ttl` in seconds, as the server said it: clamped, since it may be anything. */
  private scheduleRenewal(ttl: number): void {
    const { margin, clock } = this.options;
    const left = Math.min(Math.max(ttl, 0), LEASE_TTL) * 1_000;
    this.ends = clock.now() + left;
    this.renewAfter(Math.max(left - margin, Math.min(left / 2, RETRY_EVERY), SHORTEST_WAIT));
  }

  private renewAfter(wait: number): void {
    this.cancelTimer();
    this.cancelTimer = this.options.clock.after(wait, () => void this.renew());
  }

  private async renew(): Promise<void> {
    const { log } = this.options;
    if (this.renewing) return;
    this.renewing = true;
    const before = this.lease;
    try {
      const written = await this.leases().update(this.key, this.value, LEASE_TTL, this.revision);
      this.renewing = false;
      if (this.over) return;
      if (written === undefined) {
        await this.look();
        return;
      }
      this.revision = written.revision;
      this.lease = written.lease;
      this.scheduleRenewal(written.ttl);
      log.info(`lease ${this.key} renewed for ${written.ttl} s`);
      await discardQuietly(this.leases(), before, log);
    } catch (error) {
      this.renewing = false;
      if (this.over) return;
      log.warn(`lease ${this.key} not renewed, trying again in a minute: ${messageOf(error)}`);
      this.renewAfter(RETRY_EVERY);
    }
  }

  /** Writes our value with this public IP, again and again, unless there is yet another by then. */
  private async publish(publicIp: number, pause: number): Promise<void> {
    const { log, clock } = this.options;
    if (this.over || this.publicIp !== publicIp) return;
    this.cancelTimer();
    const before = this.lease;
    const ttl = before === 0n ? undefined : LEASE_TTL;
    try {
      const written = await this.leases().update(this.key, this.value, ttl, this.revision);
      if (this.over || this.publicIp !== publicIp) return;
      if (written !== undefined) {
        this.formerIps.clear();
        this.revision = written.revision;
        this.lease = written.lease;
        if (written.lease !== 0n) this.scheduleRenewal(written.ttl);
        log.info(`our lease ${this.key} has the public IP ${formatAddress(publicIp)} now`);
        if (before !== 0n) await discardQuietly(this.leases(), before, log);
        return;
      }
      await this.look();
    } catch (error) {
      if (this.over) return;
      const again = `lease ${this.key} does not have the public IP ${formatAddress(publicIp)} yet`;
      if (pause === PUBLISH_AGAIN_AFTER) log.warn(`${again}, trying again: ${messageOf(error)}`);
    }
    const next = Math.min(2 * pause, RETRY_EVERY);
    this.cancelTimer();
    this.cancelTimer = clock.after(pause, () => void this.publish(publicIp, next));
  }

  /** The key is not as we left it: see what it is now. */
  private async look(): Promise<void> {
    const { entries } = await this.options.store.list();
    if (this.over) return;
    const entry = entries.find(({ key }) => key === this.key);
    if (entry === undefined) {
      this.lose('was removed from the store, or has run out');
      return;
    }
    // A restored store may have gone back in its revisions.
    if (entry.revision < this.revision) this.revision = entry.revision - 1n;
    const before = this.lease;
    this.observe(entry);
    if (!this.over && this.lease === before) await this.scheduleByRemainingTime();
  }

  private lose(what: string): void {
    if (this.over) return;
    this.stop();
    this.options.lost(`our lease ${this.key} ${what}`);
  }

  private leases(): LeaseStore {
    const { leases } = this.options.store;
    if (leases === undefined) throw new Error('this store cannot be written');
    return leases;
  }
}
