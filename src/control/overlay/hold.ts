/**
 * Holds our lease: writes it again, on a fresh etcd lease, one margin before the old one ends,
 * and notices when it is lost. Unlike flannel's, the renewal is conditional on the revision,
 * so a key that another host has taken is never overwritten; hosts that started together renew
 * apart; and where etcd takes no puts (it is out of space), the old etcd lease is kept alive.
 *
 * A key that is missing because the store was emptied or set back is written again. One that
 * somebody removed is lost, unless it is to be had again (`reacquire`).
 */
import { formatMac } from '../../dataplane/wire/ethernet.js';
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import type { Clock, Log, Random } from '../runtime.js';
import {
  type Change,
  type Entry,
  type LeaseStore,
  type Listing,
  messageOf,
  type Store,
  type Written,
} from '../store/store.js';
import { discardQuietly, LEASE_TTL, type OwnLease } from './acquire.js';
import { type LeaseValue, parseLeaseValue, vtepMacIn, withPublicIp } from './lease-value.js';

export interface HoldOptions {
  readonly store: Store;
  readonly own: OwnLease;
  readonly publicIp: number;
  /** How long before the end a lease is renewed, in milliseconds (flannel: 60 minutes). */
  readonly margin: number;
  /** Whether a key that was removed or spoilt is written again in place of being lost. */
  readonly reacquire?: boolean;
  /** Whether `own` comes from a saved network, so that the store may know another truth. */
  readonly unverified?: boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Called once; the holder does nothing any more after it. */
  readonly lost: (reason: string) => void;
}

const RETRY_EVERY = 60_000;
/** For a key that is missing or has another public IP: at first, then doubled up to RETRY_EVERY. */
const WRITE_AGAIN_AFTER = 1_000;
/** The part of the waiting time that chance takes off. */
const SPREAD = 0.1;
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
  /** -1n while the store has to tell. */
  private lease: bigint;
  /** The key is one without an etcd lease. */
  private reserved: boolean;
  /** By the clock, as the server last said it. */
  private ends = 0;
  private cancelTimer = () => {};
  private renewing = false;
  /** The key is missing and being written again. */
  private missing = false;
  private unverified: boolean;
  private over = false;

  constructor(options: HoldOptions) {
    this.options = options;
    const { key, value, revision, lease, ttl } = options.own;
    this.publicIp = options.publicIp;
    this.key = key;
    this.value = value;
    this.revision = revision;
    this.lease = lease;
    this.reserved = lease === 0n && ttl === 0;
    this.unverified = options.unverified ?? false;
    if (lease !== 0n && !this.unverified) this.scheduleRenewal(ttl);
  }

  /** The etcd lease that holds our key now, 0n for none, and the milliseconds until it ends. */
  get held(): { readonly lease: bigint; readonly endsIn: number } {
    const lease = this.lease < 0n ? 0n : this.lease;
    return { lease, endsIn: Math.max(this.ends - this.options.clock.now(), 0) };
  }

  /** Takes a snapshot of the store. */
  snapshot({ entries, revision, replaced = false }: Listing): void {
    const entry = entries.find(({ key }) => key === this.key);
    const fromAnother = replaced || this.unverified;
    if (entry === undefined) {
      if (this.missing) return;
      if (replaced) this.writeAgain('is not in the store, which was emptied or set back');
      else if (this.unverified) this.writeAgain('has run out or was removed while weft was down');
      else if (revision >= this.revision) this.removed();
    } else if (fromAnother) {
      this.revision = entry.revision - 1n;
      this.lease = -1n;
      this.observe(entry);
    } else if (revision >= this.revision) this.observe(entry);
  }

  /** Takes the changes of the store. */
  changes(batch: readonly Change[]): void {
    for (const change of batch) {
      if (change.type === 'put' && change.entry.key === this.key) this.observe(change.entry);
      else if (change.type === 'delete' && change.key === this.key) {
        if (change.revision > this.revision && !this.missing) this.removed();
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
    void this.publish(publicIp, WRITE_AGAIN_AFTER);
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
      const what = `was overwritten with a value that cannot be read: ${messageOf(error)}`;
      if (this.reacquires) void this.takeBack(entry, what);
      else this.lose(what);
      return;
    }
    const before = value.publicIp !== publicIp;
    if (before && !this.formerIps.has(value.publicIp)) {
      this.lose(`was taken by the host with public IP ${formatAddress(value.publicIp)}`);
      return;
    }
    this.warnOfTwin(value, entry);
    this.unverified = false;
    this.missing = false;
    this.value = before ? withPublicIp(entry.value, publicIp) : entry.value;
    this.revision = entry.revision;
    if (entry.lease === this.lease) return;
    const wasReserved = this.reserved;
    this.lease = entry.lease;
    this.reserved = entry.lease === 0n;
    this.cancelTimer();
    if (!this.reserved) void this.scheduleByRemainingTime();
    else if (!wasReserved) log.info(`our lease ${this.key} was made a reservation`);
  }

  /** Whoever else writes our public IP into our key believes to be us. */
  private warnOfTwin(value: LeaseValue, { lease }: Entry): void {
    const { log, own } = this.options;
    const ownMac = vtepMacIn(own.value);
    const ours = ownMac === undefined ? 'none' : formatMac(ownMac);
    const mac = 'mac' in value.vtep ? formatMac(value.vtep.mac) : 'none';
    const known = lease === this.lease || lease === 0n || this.leases().granted(lease);
    if (mac === ours && (known || this.lease < 0n)) return;
    const what = mac === ours ? `by another process` : `with VTEP address ${mac}, ours is ${ours}`;
    log.warn(
      `our lease ${this.key} was rewritten ${what}: two hosts have the public IP ` +
        `${formatAddress(this.publicIp)}; stop one of them or give it another with -public-ip`,
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
    this.later(Math.max(left - margin, Math.min(left / 2, RETRY_EVERY), SHORTEST_WAIT), () =>
      this.renew(),
    );
  }

  /** After `wait` ms or up to a tenth less, so that hosts that started together part. */
  private later(wait: number, act: () => Promise<void>): void {
    const { clock, random } = this.options;
    this.cancelTimer();
    this.cancelTimer = clock.after(wait * (1 - SPREAD * random()), () => void act());
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
      this.hold(written);
      log.info(`lease ${this.key} renewed for ${written.ttl} s`);
      await discardQuietly(this.leases(), before, log);
    } catch (error) {
      this.renewing = false;
      if (!this.over) await this.keepAlive(error);
    }
  }

  /** The key could not be written: the etcd lease that it hangs on may last longer all the same. */
  private async keepAlive(problem: unknown): Promise<void> {
    const { log } = this.options;
    const reason = messageOf(problem);
    let left = 0;
    try {
      left = await this.leases().keepAlive(this.lease);
    } catch {
      // What hinders the writing hinders this too.
    }
    if (this.over) return;
    if (left > 0) {
      log.warn(`lease ${this.key} not written again, kept alive for ${left} s: ${reason}`);
      this.scheduleRenewal(left);
    } else {
      log.warn(`lease ${this.key} not renewed, trying again in a minute: ${reason}`);
      this.later(RETRY_EVERY, () => this.renew());
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
      if (pause === WRITE_AGAIN_AFTER) log.warn(`${again}, trying again: ${messageOf(error)}`);
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
      this.removed();
      return;
    }
    // A restored store may have gone back in its revisions.
    if (entry.revision < this.revision) this.revision = entry.revision - 1n;
    const before = this.lease;
    this.observe(entry);
    if (!this.over && this.lease === before) await this.scheduleByRemainingTime();
  }

  private get reacquires(): boolean {
    const { reacquire = false, store } = this.options;
    return reacquire && store.leases !== undefined;
  }

  private removed(): void {
    const what = 'was removed from the store, or has run out';
    if (this.reacquires) this.writeAgain(what);
    else this.lose(what);
  }

  private writeAgain(what: string): void {
    if (this.over || this.missing) return;
    this.options.log.warn(`our lease ${this.key} ${what}; writing it again`);
    this.missing = true;
    // Whatever the store says from now on is newer, also in one that began anew.
    this.revision = 0n;
    this.cancelTimer();
    void this.create(WRITE_AGAIN_AFTER);
  }

  /** Writes the missing key, again and again until it is there or another's. */
  private async create(pause: number): Promise<void> {
    const { log } = this.options;
    if (this.over || !this.missing) return;
    try {
      const written = await this.leases().create(this.key, this.value, this.ttl);
      if (this.over) return;
      if (written === undefined) {
        this.missing = false;
        this.lease = -1n;
        await this.look();
        return;
      }
      this.hold(written);
      log.info(`our lease ${this.key} is in the store again`);
    } catch (error) {
      if (this.over) return;
      this.missing = true;
      log.warn(`lease ${this.key} not written again yet: ${messageOf(error)}`);
      this.later(pause, () => this.create(Math.min(2 * pause, RETRY_EVERY)));
    }
  }

  /** Puts our value in the place of one that cannot be read. */
  private async takeBack({ revision }: Entry, what: string): Promise<void> {
    const { log } = this.options;
    this.cancelTimer();
    this.revision = revision;
    log.warn(`our lease ${this.key} ${what}; writing it again`);
    try {
      const written = await this.leases().update(this.key, this.value, this.ttl, revision);
      if (this.over) return;
      if (written === undefined) await this.look();
      else this.hold(written);
    } catch (error) {
      if (this.over) return;
      log.warn(`lease ${this.key} not written again, trying in a minute: ${messageOf(error)}`);
      this.later(RETRY_EVERY, () => this.renew());
    }
  }

  private hold({ revision, lease, ttl }: Written): void {
    this.missing = false;
    this.unverified = false;
    this.revision = revision;
    this.lease = lease;
    this.reserved = lease === 0n;
    if (!this.reserved) this.scheduleRenewal(ttl);
  }

  /** Of a write of our key, in seconds; a reservation stays one. */
  private get ttl(): number | undefined {
    return this.reserved ? undefined : LEASE_TTL;
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
