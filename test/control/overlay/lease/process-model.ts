/**
 * One run of weft as far as its lease goes: its store, its holder and its log, what it would save
 * for the next run, and what it has to say of what it is told.
 */
import {
  acquire,
  type FormerSelf,
  type OwnLease,
} from '../../../../src/control/overlay/acquire.js';
import { parseConfig } from '../../../../src/control/overlay/config.js';
import { LeaseHolder } from '../../../../src/control/overlay/lease/holder.js';
import { LEASE_TTL } from '../../../../src/control/overlay/lease/known.js';
import { parseLeaseValue, vtepMacIn } from '../../../../src/control/overlay/lease-value.js';
import { parseKey, type Subnet } from '../../../../src/control/overlay/subnet.js';
import type { Change, Entry, Listing } from '../../../../src/control/store/store.js';
import { formatMac } from '../../../../src/dataplane/wire/ethernet.js';
import { parseAddress } from '../../../../src/dataplane/wire/ipv4.js';
import { Lines } from '../../fakes.js';
import type { Author } from './etcd-model.js';
import { StoreModel, type Surroundings } from './store-model.js';

const MAC = Uint8Array.of(2, 0, 0, 0, 0, 0x0a);
const CONFIG = parseConfig('{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}', 'config');

export interface Saved {
  readonly key: string;
  readonly value: string;
  readonly reserved: boolean;
  readonly publicIp: number;
  readonly mac: Uint8Array;
  /** The `seq` of the entry. */
  readonly seen: number;
}

/** What is known of an earlier run. */
export interface Previous {
  readonly subnet: Subnet;
  readonly mac: Uint8Array;
  readonly formerSelf?: FormerSelf;
}

export interface Manner {
  readonly marginMs: number;
  readonly reacquire: boolean;
}

/** What somebody else has to be told of a key. */
export type State = 'missing' | 'unreadable' | 'another' | 'ours';

export class ProcessModel {
  readonly store: StoreModel;
  readonly lines = new Lines();
  readonly lost: string[] = [];
  seenAtLoss = 0;
  readonly violations: string[] = [];
  readonly #on: Surroundings;
  readonly #manner: Manner;
  readonly startedAtMs: number;
  publicIp: number;
  /** Oldest first. */
  readonly saved: Saved[] = [];
  holder: LeaseHolder | undefined;
  key = '';
  mac: Uint8Array = MAC;
  over = false;
  /** Whether it began with a saved network. */
  fromSaved = false;
  /** What the log said last of the kind of the key, and of its public IP. */
  #saidReserved = false;
  #saidIp = 0;
  #read = 0;
  #toldMissing = false;
  /** Of the entry that it was told last. */
  #toldRevision: bigint | undefined;
  /** Our public IPs that somebody else has got since. */
  readonly #isForeign: (publicIp: number) => boolean;

  constructor(
    on: Surroundings,
    by: Author,
    name: string,
    options: { publicIp: number; manner: Manner; isForeign: (publicIp: number) => boolean },
  ) {
    this.#on = on;
    this.#manner = options.manner;
    this.publicIp = options.publicIp;
    this.#isForeign = options.isForeign;
    this.startedAtMs = on.clock.now();
    this.store = new StoreModel(on, by, name);
    this.store.onCall = (what) => {
      if (this.lost.length > 0) this.violations.push(`${what} after it was lost`);
      if (this.store.underWay > 0) this.violations.push(`${what} while another was under way`);
    };
    this.store.onTold = (entry) => this.#learn(entry);
  }

  /** Joins by the store; false when that did not work. */
  async join(previous: Previous | undefined): Promise<boolean> {
    const { random } = this.#on;
    const { store, publicIp, lines: log } = this;
    const identity = {
      ...{ publicIp, previousSubnet: previous?.subnet, vtepMac: previous?.mac ?? MAC },
      formerSelf: previous?.formerSelf,
    };
    const writes = { kind: 'leased', keys: store.keys } as const;
    try {
      const own = await acquire({ store, writes, config: CONFIG, identity, random, log });
      if (this.over) return false;
      this.#begin(own, false);
      return true;
    } catch {
      this.end();
      return false;
    }
  }

  /** Starts with what an earlier run saved. */
  startFrom({ key, value, reserved, seen, mac }: Saved): void {
    this.fromSaved = true;
    this.store.seen = seen;
    this.store.seenKey = seen;
    const { subnet } = parseKey(key)!;
    const vtepMac = mac;
    const time = { revision: 0n, lease: 0n, ttl: LEASE_TTL };
    this.#begin({ key, value, subnet, vtepMac, reserved, ...time }, true);
  }

  #begin(own: OwnLease, unverified: boolean): void {
    const { clock, random } = this.#on;
    const { store, publicIp } = this;
    this.key = own.key;
    this.mac = own.vtepMac;
    if (own.revision > store.asOf) store.asOf = own.revision;
    this.#saidReserved = own.reserved ?? own.lease === 0n;
    this.#saidIp = parseLeaseValue(own.value).publicIp;
    this.holder = new LeaseHolder({
      ...{ store, own, publicIp, unverified, clock, random },
      ...this.#manner,
      log: this.lines,
      lost: (reason) => {
        this.seenAtLoss = store.seen;
        this.lost.push(reason);
      },
    });
    store.follow({
      snapshot: (listing) => this.#snapshot(listing),
      changes: (batch) => this.#changes(batch),
    });
  }

  move(publicIp: number): void {
    if (this.lost.length > 0) return;
    this.publicIp = publicIp;
    this.holder?.changePublicIp(publicIp);
  }

  end(): void {
    this.over = true;
    this.holder?.stop();
    void this.store.close();
  }

  get alive(): boolean {
    return this.holder !== undefined && !this.over && this.lost.length === 0;
  }

  #snapshot(listing: Listing): void {
    const entry = listing.entries.find(({ key }) => key === this.key);
    const news = listing.replaced === true || listing.revision > this.store.asOf;
    this.#hear(entry, news, () => this.holder?.snapshot(listing));
  }

  #changes(batch: readonly Change[]): void {
    const last = batch.findLast(
      (one) => (one.type === 'put' ? one.entry.key : one.key) === this.key,
    );
    if (last === undefined) {
      this.holder?.changes(batch);
      return;
    }
    const entry = last.type === 'put' ? last.entry : undefined;
    const revision = last.type === 'put' ? last.entry.revision : last.revision;
    this.#hear(entry, revision > this.store.asOf, () => this.holder?.changes(batch));
  }

  /** Tells the holder, and checks that it says what is to be said of it. */
  #hear(entry: Entry | undefined, news: boolean, tell: () => void): void {
    if (!this.alive) return;
    const from = this.lines.lines.length;
    tell();
    if (entry !== undefined) {
      const { key, value, lease } = entry;
      const { publicIp, mac } = this;
      const { seen } = this.store;
      this.saved.push({ key, value, reserved: lease === 0n, publicIp, mac, seen });
    }
    if (!news) return;
    const wasMissing = this.#toldMissing;
    const isOld = entry !== undefined && entry.revision === this.#toldRevision;
    this.#learn(entry);
    if (isOld) return;
    const said = this.lines.lines.slice(from);
    // A key is given up when what is under way has its answer.
    const isLost = this.lost.length > 0 || this.store.underWay > 0;
    const isSaid = (pattern: RegExp) => isLost || said.some((line) => pattern.test(line));
    const must = (pattern: RegExp) => {
      if (!isSaid(pattern)) this.violations.push(`told of ${describe(entry)}, but not ${pattern}`);
    };
    switch (this.stateOf(entry)) {
      case 'missing':
        if (!wasMissing && this.lines.matching(/writing it again/).length === 0) {
          must(/writing it again/);
        }
        break;
      case 'unreadable':
        must(/cannot be read/);
        break;
      case 'another':
        if (!isLost) this.violations.push(`told of ${describe(entry)}, not lost`);
        break;
      case 'ours':
        // Its own renewal keeps the value as it is.
        if (this.store.keys.granted(entry!.lease)) break;
        if (macIn(entry!.value) !== formatMac(this.mac)) {
          // A look may have told it first.
          if (this.lines.matching(/two hosts/).length === 0) must(/two hosts/);
        }
    }
  }

  #learn(entry: Entry | undefined): void {
    this.#toldMissing = entry === undefined;
    this.#toldRevision = entry?.revision;
    // One with a second host's VTEP address is not ours for sure.
    if (entry === undefined || this.stateOf(entry) !== 'ours') return;
    if (macIn(entry.value) === formatMac(this.mac)) this.store.seenKey = this.store.seen;
  }

  stateOf(entry: Entry | undefined): State {
    if (entry === undefined) return 'missing';
    try {
      const { publicIp } = parseLeaseValue(entry.value);
      return this.#isForeign(publicIp) ? 'another' : 'ours';
    } catch {
      return 'unreadable';
    }
  }

  /** Reads what was logged since; each thing is to be said when it is so, and once. */
  readLog(): void {
    for (const line of this.lines.lines.slice(this.#read)) {
      const kind = /was made a reservation|is no reservation any more/.exec(line)?.[0];
      if (kind !== undefined) {
        const reserved = kind.startsWith('was made');
        if (reserved === this.#saidReserved) this.violations.push(`said twice: ${line}`);
        this.#saidReserved = reserved;
      }
      const ip = /has the public IP (\S+) now/.exec(line)?.[1];
      if (ip !== undefined) this.#saidIp = parseAddress(ip)!;
    }
    this.#read = this.lines.lines.length;
    if (this.lost.length > 1) this.violations.push(`lost twice: ${this.lost.join('; ')}`);
  }

  /** What is not as the log said, once all is quiet. */
  unsaid(entry: Entry): string[] {
    const { publicIp } = parseLeaseValue(entry.value);
    const found: string[] = [];
    if (this.#saidReserved !== (entry.lease === 0n)) found.push('the kind of the key was not said');
    if (this.#saidIp !== publicIp) found.push('the public IP of the key was not said');
    return found;
  }
}

function describe(entry: Entry | undefined): string {
  return entry === undefined ? 'no key' : `${entry.value} on ${entry.lease}`;
}

function macIn(value: string): string {
  const mac = vtepMacIn(value);
  return mac === undefined ? 'none' : formatMac(mac);
}
