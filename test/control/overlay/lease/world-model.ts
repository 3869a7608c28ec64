/**
 * A host that holds its lease in a world where everything goes wrong, and what must hold of it
 * after every step. `model.test.ts` names the invariants.
 */
import { formatLeaseValue, withPublicIp } from '../../../../src/control/overlay/lease-value.js';
import { parseKey } from '../../../../src/control/overlay/subnet.js';
import { parseAddress } from '../../../../src/dataplane/wire/ipv4.js';
import { FakeClock, seeded, settle } from '../../fakes.js';
import { Judge } from './judge-model.js';
import { type Manner, ProcessModel, type Saved } from './process-model.js';
import { pick, type Weather } from './store-model.js';

const ip = (text: string) => parseAddress(text) as number;
const OURS = [3, 4, 5, 6].map((last) => ip(`192.168.64.${last}`));
const FOREIGN = [77, 78].map((last) => ip(`192.168.64.${last}`));
const CLONES = ip('192.168.64.99');
const TWINS_MAC = Uint8Array.of(2, 0, 0, 0, 0, 0x88);
const FOREIGN_MAC = Uint8Array.of(2, 0, 0, 0, 0, 0x77);
const DAY = 86_400;

/** All is as it should be this long after the last trouble: a look or a retry, and some time. */
const MENDED_WITHIN_MS = 215_000;

export type Step =
  | { readonly do: 'pass'; readonly ms: number }
  | { readonly do: 'weather'; readonly is: Weather }
  | { readonly do: 'space'; readonly full: boolean }
  | { readonly do: 'looks'; readonly fail: boolean }
  | { readonly do: 'move'; readonly to: number }
  | { readonly do: Deed };

export const DEEDS = [
  'delete',
  'taken',
  'deleted and taken',
  'squatted',
  'reserve',
  'unreserve',
  'spoil',
  'twin',
  'twin with another MAC',
  'another key',
  'revoke',
  'compact',
  'back up',
  'restore',
  'empty',
  'another cluster',
  'a higher cluster',
  'restart from the saved network',
  'restart',
  'clone',
] as const;
export type Deed = (typeof DEEDS)[number];

export interface Setup extends Manner {
  readonly seed: number;
}

export class World {
  readonly #random: () => number;
  readonly #clock = new FakeClock();
  readonly #judge: Judge;
  readonly #manner: Manner;
  #weather: Weather = 'calm';
  #looksFail = false;
  #publicIp = OURS[0]!;
  readonly #foreign = new Set<number>([...FOREIGN, CLONES]);
  #us: ProcessModel;
  #clone: ProcessModel | undefined;
  #processes = 0;
  #saved: Saved[] = [];

  constructor({ seed, ...manner }: Setup) {
    this.#random = seeded(seed);
    this.#manner = manner;
    this.#judge = new Judge(this.#clock, () => this.#troubled || this.#isLookNeeded);
    this.#us = this.#newProcess('us', this.#publicIp);
  }

  /** What does not hold after this step. */
  async run(step: Step): Promise<readonly string[]> {
    if (!this.#us.alive) await this.#join();
    if (step.do === 'pass') await this.#pass(step.ms);
    else {
      this.#do(step);
      this.#judge.disturbed();
      if (step.do === 'restart') await this.#join();
      await settle();
    }
    return this.#violations();
  }

  /** All trouble ends, and time goes by. */
  async end(): Promise<readonly string[]> {
    this.#become('calm');
    this.#looksFail = false;
    this.#judge.etcd.full = false;
    this.#judge.disturbed();
    for (let i = 0; i < 5 && !this.#us.alive; i++) await this.#join();
    await this.#pass(MENDED_WITHIN_MS + 1_000);
    await this.#pass(3_600_000);
    return this.#violations();
  }

  /** For the report of a failure. */
  get log(): readonly string[] {
    return this.#us.lines.lines;
  }

  #violations(): readonly string[] {
    this.#us.readLog();
    this.#judge.check(this.#us, this.#clone);
    return [...this.#judge.violations, ...this.#us.violations];
  }

  /** Where a listing contradicts what is known, nothing but a look tells; it may fail for a day. */
  get #isLookNeeded(): boolean {
    return this.#looksFail && this.#judge.etcd.replacements > 0;
  }

  get #troubled(): boolean {
    return this.#weather === 'away' || this.#weather === 'lossy';
  }

  async #pass(ms: number): Promise<void> {
    const first = Math.min(ms, MENDED_WITHIN_MS);
    await this.#passWithTrouble(first);
    const rest = ms - first;
    if (rest === 0) return;
    const before = this.#us.lines.matching(/^warn/).length;
    const requests = this.#us.store.requests;
    await this.#passWithTrouble(rest);
    const hours = Math.ceil(rest / 3_600_000);
    // In a lossy network an outage ends and begins with each request.
    if (this.#us.lost.length > 0 || this.#weather === 'lossy') return;
    this.#judge.bounded('warnings', this.#us.lines.matching(/^warn/).length - before, 3 * hours);
    this.#judge.bounded('requests', this.#us.store.requests - requests, 20 + 400 * hours);
  }

  async #passWithTrouble(ms: number): Promise<void> {
    await this.#clock.pass(ms);
    if (this.#troubled) this.#judge.untaken();
    const { etcd } = this.#judge;
    const unmended = this.#troubled || etcd.full || this.#looksFail;
    if (unmended) this.#judge.disturbed();
    else if (this.#judge.quietMs >= MENDED_WITHIN_MS) this.#judge.mended(this.#us);
  }

  #do(step: Exclude<Step, { do: 'pass' }>): void {
    const { etcd } = this.#judge;
    switch (step.do) {
      case 'weather':
        if (this.#troubled) this.#judge.untaken();
        this.#become(step.is);
        break;
      case 'space':
        etcd.full = step.full;
        break;
      case 'looks':
        this.#looksFail = step.fail;
        break;
      case 'move': {
        const free = OURS.filter((one) => !this.#foreign.has(one));
        this.#publicIp = free[step.to % free.length]!;
        this.#us.move(this.#publicIp);
        break;
      }
      default:
        this.#deed(step.do);
    }
  }

  #become(weather: Weather): void {
    const wasAway = this.#weather === 'away';
    this.#weather = weather;
    if (!wasAway) return;
    this.#us.store.cut();
    this.#clone?.store.cut();
  }

  #deed(deed: Deed): void {
    const { etcd } = this.#judge;
    const { key } = this.#us;
    const entry = etcd.entries.get(key);
    const foreign = () => etcd.grant(DAY, 'foreign');
    const taken = (publicIp: number, lease = foreign()) =>
      etcd.put(key, formatLeaseValue(publicIp, 1, FOREIGN_MAC), lease, 'foreign');
    const isOurs = entry !== undefined && this.#us.stateOf(entry) === 'ours';
    switch (deed) {
      case 'delete':
        etcd.delete(key);
        break;
      case 'taken':
        taken(pick(this.#random, FOREIGN));
        break;
      case 'deleted and taken':
        etcd.delete(key);
        taken(pick(this.#random, FOREIGN));
        break;
      case 'squatted': {
        // Our address of before has been given to another host.
        const former = OURS.filter((one) => one !== this.#publicIp);
        const had = former.filter((one) => this.#foreign.has(one));
        const publicIp = pick(this.#random, had.length > 1 ? had : former);
        this.#foreign.add(publicIp);
        taken(publicIp, entry?.lease === 0n ? 0n : foreign());
        break;
      }
      case 'reserve':
        if (isOurs) etcd.put(key, entry.value, 0n, 'operator');
        break;
      case 'unreserve':
        if (isOurs) etcd.put(key, entry.value, etcd.grant(DAY, 'operator'), 'operator');
        break;
      case 'spoil':
        etcd.put(key, pick(this.#random, ['garbage', '{}', '']), 0n, 'operator');
        break;
      case 'twin':
        if (isOurs) {
          const value = withPublicIp(entry.value, this.#publicIp);
          etcd.put(key, value, etcd.grant(DAY, 'twin'), 'twin');
        }
        break;
      case 'twin with another MAC': {
        const value = formatLeaseValue(this.#publicIp, 1, TWINS_MAC);
        etcd.put(key, value, etcd.grant(DAY, 'twin'), 'twin');
        break;
      }
      case 'another key':
        for (let i = 0; i < 5; i++) etcd.put('10.6.1.0-24', String(i), 0n, 'foreign');
        break;
      case 'revoke':
        if (entry !== undefined && entry.lease !== 0n) etcd.revoke(entry.lease);
        break;
      case 'compact':
        this.#us.store.cut();
        break;
      case 'back up':
        etcd.backUp();
        break;
      case 'restore':
        this.#replaced(() => etcd.restore());
        break;
      case 'empty':
        this.#replaced(() => etcd.become(etcd.cluster, 1n, false));
        break;
      case 'another cluster':
        this.#replaced(() => etcd.become(etcd.cluster + 1, 3n, this.#random() < 0.5));
        break;
      case 'a higher cluster':
        this.#replaced(() => {
          etcd.become(etcd.cluster + 1, etcd.revision + 1_000n, this.#random() < 0.5);
        });
        break;
      case 'restart from the saved network':
        this.#restartFromSaved();
        break;
      case 'restart':
        this.#endUs();
        break;
      case 'clone':
        void this.#joinClone();
    }
  }

  #replaced(act: () => void): void {
    act();
    this.#judge.replaced();
    this.#judge.untaken();
    this.#us.store.cut();
    this.#clone?.store.cut();
  }

  #newProcess(by: 'us' | 'clone', publicIp: number): ProcessModel {
    const { etcd } = this.#judge;
    const on = {
      ...{ etcd, clock: this.#clock, random: this.#random },
      weather: () => this.#weather,
      looksFail: () => this.#looksFail,
    };
    const foreign = this.#foreign;
    return new ProcessModel(on, by, `${by} ${++this.#processes}`, {
      ...{ publicIp, manner: this.#manner },
      isForeign: (one) => by === 'us' && foreign.has(one),
    });
  }

  #endUs(): void {
    this.#us.end();
    this.#saved = this.#us.saved.length > 0 ? this.#us.saved.slice(-2) : this.#saved;
    if (this.#us.lost.length > 0) this.#saved = [];
    this.#judge.untaken();
  }

  #restartFromSaved(): void {
    if (!this.#us.alive) return;
    this.#endUs();
    const saved = pick(this.#random, this.#saved);
    this.#judge.violations.push(...this.#us.violations);
    const before = this.#us;
    this.#us = this.#newProcess('us', this.#publicIp);
    this.#us.mac = before.mac;
    this.#us.key = before.key;
    if (saved === undefined || saved.publicIp !== this.#publicIp) return;
    if (this.#us.stateOf({ ...saved, revision: 0n, lease: 0n }) !== 'ours') return;
    this.#us.startFrom(saved);
  }

  /** By the store, as long as it takes; else at the next step. */
  async #join(): Promise<void> {
    const before = this.#us;
    this.#endUs();
    this.#judge.violations.push(...before.violations);
    const us = this.#newProcess('us', this.#publicIp);
    us.mac = before.mac;
    us.key = before.key;
    this.#us = us;
    const subnet = before.key === '' ? undefined : parseKey(before.key)?.subnet;
    const saved = this.#saved.at(-1);
    const formerSelf = saved && {
      ...{
        publicIp: saved.publicIp,
        own: { key: saved.key, value: saved.value },
        vtepMac: saved.mac,
      },
    };
    const previous = subnet && { subnet, mac: before.mac, ...(formerSelf && { formerSelf }) };
    let answered = false;
    const joined = us.join(previous).finally(() => {
      answered = true;
    });
    for (let i = 0; i < 30 && !answered; i++) await this.#clock.pass(1_000);
    if (!answered) us.end();
    await joined;
    this.#judge.untaken();
    this.#judge.disturbed();
  }

  async #joinClone(): Promise<void> {
    if (this.#clone !== undefined && !this.#clone.over) return;
    const { key, mac } = this.#us;
    const subnet = parseKey(key)?.subnet;
    if (subnet === undefined) return;
    this.#clone = this.#newProcess('clone', CLONES);
    await this.#clone.join({ subnet, mac });
  }
}
