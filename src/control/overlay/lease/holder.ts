/**
 * Holds our lease: runs what `decide` names, one action at a time with one timer, and feeds the
 * answer back into what is known. Unlike flannel's, every write is conditional on the revision, so
 * a key that another host has taken is never overwritten.
 */

import { formatMac } from '../../../dataplane/wire/ethernet.js';
import { formatAddress } from '../../../dataplane/wire/ipv4.js';
import type { Clock, Fault, Log, Random } from '../../runtime.js';
import {
  type Change,
  type Entry,
  type KeyStore,
  type LeaseStore,
  type Listing,
  messageOf,
  type Store,
} from '../../store/store.js';
import type { OwnLease } from '../acquire.js';
import { vtepMacIn, withPublicIp } from '../lease-value.js';
import type { Action } from './action.js';
import { decide, describeMissing, describeUnreadable, problemOf } from './decide.js';
import {
  begin,
  discarded,
  failed,
  type Known,
  keptAlive,
  looked,
  type Moment,
  moved,
  refused,
  type Telling,
  tell,
  timed,
  type Wanted,
  wentBack,
  written,
} from './known.js';

export interface HoldOptions {
  readonly store: Store;
  readonly own: OwnLease;
  readonly publicIp: number;
  /** How long before the end a lease is renewed, in milliseconds (flannel: 60 minutes). */
  readonly marginMs: number;
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

/** How our key hangs in the store. */
export interface Held {
  /** `untold`: the store did not say yet. */
  readonly kind: 'leased' | 'reserved' | 'untold';
  /** The etcd lease; 0n for none. */
  readonly lease: bigint;
  /** Milliseconds until it ends; undefined where there is none or it is not known. */
  readonly endsIn: number | undefined;
  /** What is wrong; undefined when nothing is. */
  readonly problem: Fault | undefined;
}

export class LeaseHolder {
  readonly #options: HoldOptions;
  readonly #ownMac: string;
  #wanted: Wanted;
  #known: Known;
  #cancelTimer = () => {};
  #over = false;

  constructor(options: HoldOptions) {
    this.#options = options;
    const { own, publicIp, store, reacquire = false, unverified = false } = options;
    const { key, lease } = own;
    // A saved network has the value as the store held it: perhaps with an address or a VTEP's
    // address that is not ours any more.
    const value = withPublicIp(own.value, publicIp);
    const vtepMac = vtepMacIn(value) && own.vtepMac;
    this.#ownMac = vtepMac === undefined ? 'none' : formatMac(vtepMac);
    this.#wanted = { key, publicIp, value, vtepMac, reacquire, writes: store.writes.kind };
    const reserved = own.reserved ?? lease === 0n;
    this.#known = begin(this.#wanted, { ...own, unverified, reserved }, this.#moment());
    this.#turn();
  }

  get held(): Held {
    const { key, reserved } = this.#known;
    const nowMs = this.#options.clock.now();
    const problem = this.#over ? undefined : problemOf(this.#wanted, this.#known, nowMs);
    const lease = 'lease' in key ? key.lease : undefined;
    const ends = lease?.time?.endsAtMs;
    const endsIn = ends === undefined ? undefined : Math.max(ends - nowMs, 0);
    const kind = this.#known.asOf === undefined ? 'untold' : reserved ? 'reserved' : 'leased';
    return { kind, lease: lease?.id ?? 0n, endsIn, problem };
  }

  /** Takes a snapshot of the store. */
  snapshot({ entries, revision, replaced = false }: Listing): void {
    const entry = entries.find(({ key }) => key === this.#wanted.key);
    this.#tell({ entry, revision, replaced, listed: true });
  }

  /** Takes the changes of the store: the state after the last of them counts. */
  changes(batch: readonly Change[]): void {
    const last = batch.findLast((change) => {
      return (change.type === 'put' ? change.entry.key : change.key) === this.#wanted.key;
    });
    if (last === undefined) return;
    const entry = last.type === 'put' ? last.entry : undefined;
    const revision = last.type === 'put' ? last.entry.revision : last.revision;
    this.#tell({ entry, revision, replaced: false, listed: false });
  }

  /** This host has another public IP: it is written into our key as soon as the store takes it. */
  changePublicIp(publicIp: number): void {
    const { store, log } = this.#options;
    const value = withPublicIp(this.#wanted.value, publicIp);
    this.#wanted = { ...this.#wanted, publicIp, value };
    this.#known = moved(this.#known, this.#wanted);
    if (store.writes.kind === 'none') {
      log.warn(
        `${store.description} is only read: put the public IP ${formatAddress(publicIp)} into ` +
          `its entry ${this.#wanted.key}`,
      );
    }
    this.#turn();
  }

  /** The seconds that an etcd lease has left, as the store says. */
  tellTime(lease: bigint, ttl: number): void {
    this.#known = timed(this.#known, lease, ttl, this.#moment());
    this.#turn();
  }

  /** The lease stays in the store, as flannel leaves it. */
  stop(): void {
    this.#over = true;
    this.#cancelTimer();
  }

  #tell(told: Omit<Telling, 'byUs'>): void {
    const telling = { ...told, byUs: this.#grantedHere(told.entry) };
    this.#become(tell(this.#known, this.#wanted, telling, this.#options.clock.now()), telling);
    this.#turn();
  }

  #grantedHere(entry: Entry | undefined): boolean {
    const { writes } = this.#options.store;
    return entry !== undefined && writes.kind === 'leased' && writes.keys.granted(entry.lease);
  }

  /** What is known from now on; says what an operator has to know of it. */
  #become(known: Known, found?: Found): void {
    const before = this.#known;
    this.#known = known;
    if (known.key === before.key || this.#over) return;
    const { log } = this.#options;
    const { key } = known;
    const name = `our lease ${this.#wanted.key}`;
    const gives = decide(this.#wanted, { ...known, underWay: undefined }, 0).action;
    const again = gives?.do !== 'give up';
    if (key.is === 'missing' && before.key.is !== 'missing' && again) {
      log.warn(`${name} ${describeMissing(key.why)}; writing it again`);
    } else if (key.is === 'unreadable' && again) {
      log.warn(`${name} ${describeUnreadable(key.problem)}; writing it again`);
    }
    if (!('lease' in key)) return;
    if (found !== undefined) this.#warnOfTwin(before, found);
    if (known.publicIp !== before.publicIp) {
      log.info(`${name} has the public IP ${formatAddress(known.publicIp)} now`);
    }
    if (known.reserved === before.reserved) return;
    log.info(
      known.reserved ? `${name} was made a reservation` : `${name} is no reservation any more`,
    );
  }

  /** Whoever else writes our public IP into our key believes to be us. */
  #warnOfTwin({ key }: Known, { entry, replaced }: Found): void {
    if (entry === undefined) return;
    const before = 'lease' in key ? key : undefined;
    const known = before?.revision === entry.revision && !replaced;
    if (known || this.#grantedHere(entry)) return;
    const mac = macIn(entry.value);
    const onItsLease = entry.lease === 0n || entry.lease === before?.lease?.id;
    if (mac === this.#ownMac && (onItsLease || before === undefined || replaced)) return;
    const what =
      mac === this.#ownMac
        ? 'by another process'
        : `with VTEP address ${mac}, ours is ${this.#ownMac}`;
    this.#options.log.warn(
      `our lease ${this.#wanted.key} was rewritten ${what}: two hosts have the public IP ` +
        `${formatAddress(this.#wanted.publicIp)}; stop one of them or give it another with -public-ip`,
    );
  }

  /** Does what is to be done now, or waits until it is. */
  #turn(): void {
    this.#cancelTimer();
    if (this.#over) return;
    const { clock } = this.#options;
    const nowMs = clock.now();
    const { action, askAgainAtMs } = decide(this.#wanted, this.#known, nowMs);
    if (action?.do === 'give up') this.#lose(action.reason);
    else if (action !== undefined) void this.#run(action);
    else if (askAgainAtMs !== undefined) {
      this.#cancelTimer = clock.after(askAgainAtMs - nowMs, () => this.#turn());
    }
  }

  async #run(action: Exclude<Action, { readonly do: 'give up' }>): Promise<void> {
    this.#known = { ...this.#known, underWay: action };
    try {
      await this.#perform(action);
    } catch (error) {
      if (this.#over) return;
      const before = this.#known.failures.get(action.do);
      const reason = messageOf(error);
      this.#known = failed(this.#known, action, reason, this.#options.clock.now());
      const isNew = before === undefined && this.#known.failures.has(action.do);
      if (isNew) this.#complain(action, reason);
    }
    this.#turn();
  }

  /** Asks the store, and takes its answer. */
  async #perform(action: Exclude<Action, { readonly do: 'give up' }>): Promise<void> {
    const { key } = this.#wanted;
    const before = this.#known;
    const asked = before.asOf;
    switch (action.do) {
      case 'look': {
        const answer = await this.#keys.look(key);
        const { entry } = answer;
        const byUs = this.#grantedHere(entry);
        const moment = this.#moment();
        const known = looked(this.#known, this.#wanted, answer, { asked, byUs, moment });
        this.#become(known, { entry, replaced: wentBack(answer, asked) });
        return;
      }
      case 'create':
      case 'update': {
        const { value, ttl } = action;
        const answer =
          action.do === 'create'
            ? await this.#keys.create(key, value, ttl)
            : await this.#keys.update(key, value, ttl, action.revision);
        if (answer === undefined) {
          this.#known = refused(this.#known, action, asked);
          return;
        }
        this.#become(written(this.#known, this.#wanted, action, answer, this.#moment()));
        if (!this.#over) this.#sayWritten(action, before, answer.ttl);
        return;
      }
      case 'keep alive': {
        const ttl = await this.#leases.keepAlive(action.lease);
        this.#known = keptAlive(this.#known, action.lease, ttl, this.#moment());
        const why = this.#known.failures.get('update')?.reason;
        // Once an outage; and it may have been written after all.
        if (ttl <= 0 || before.keptAlive || why === undefined || this.#over) return;
        this.#options.log.warn(`lease ${key} not written again, kept alive for ${ttl} s: ${why}`);
        return;
      }
      case 'discard':
        await this.#leases.discard(action.lease);
        this.#known = discarded(this.#known, action.lease);
    }
  }

  #sayWritten(action: Action & { do: 'create' | 'update' }, before: Known, ttl: number): void {
    const { log } = this.#options;
    const { key } = this.#wanted;
    if (action.do === 'create' || before.key.is === 'unreadable') {
      log.info(`our lease ${key} is in the store again`);
    } else if (before.publicIp === action.publicIp) log.info(`lease ${key} renewed for ${ttl} s`);
  }

  /** Once an outage, not once a try; what is a problem of our lease besides is told as that. */
  #complain(action: Action, reason: string): void {
    const { log } = this.#options;
    const { key } = this.#wanted;
    const isWrite = action.do === 'create' || action.do === 'update';
    if (isWrite && this.held.problem === undefined) {
      log.warn(`lease ${key} not written again yet: ${reason}`);
    } else log.debug(`lease ${key}: could not ${action.do}, ${reason}`);
  }

  #lose(reason: string): void {
    this.stop();
    this.#options.lost(`our lease ${this.#wanted.key} ${reason}`);
  }

  #moment(): Moment {
    const { clock, marginMs, random } = this.#options;
    return { nowMs: clock.now(), marginMs, luck: random() };
  }

  get #keys(): KeyStore {
    const { writes } = this.#options.store;
    if (writes.kind === 'none') throw new Error('this store cannot be written');
    return writes.keys;
  }

  get #leases(): LeaseStore {
    const { writes } = this.#options.store;
    if (writes.kind !== 'leased') throw new Error('the keys of this store do not run out');
    return writes.keys;
  }
}

/** What the store says of our key. */
type Found = Pick<Telling, 'entry' | 'replaced'>;

/** For messages. */
function macIn(value: string): string {
  const mac = vtepMacIn(value);
  return mac === undefined ? 'none' : formatMac(mac);
}
