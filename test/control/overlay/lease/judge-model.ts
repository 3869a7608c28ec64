/** Watches the etcd model for what must never happen, and says what is not as it should be. */
import { parseLeaseValue, vtepMacIn } from '../../../../src/control/overlay/lease-value.js';
import type { Entry } from '../../../../src/control/store/store.js';
import { formatAddress } from '../../../../src/dataplane/wire/ipv4.js';
import type { FakeClock } from '../../fakes.js';
import { type AuthoredEntry, EtcdModel, type Put } from './etcd-model.js';
import type { ProcessModel } from './process-model.js';

/** An etcd lease must not run out where the store took something for so long. */
const TAKEN_MS = 180_000;

/** How our key was from one `seq` on. */
interface Was {
  readonly seq: number;
  readonly entry: AuthoredEntry | undefined;
}

export class Judge {
  readonly etcd: EtcdModel;
  readonly violations: string[] = [];
  readonly #clock: FakeClock;
  #disturbedAtMs = 0;
  #untakenAtMs = 0;
  readonly #history = new Map<string, Was[]>();
  #us: ProcessModel | undefined;

  /** Whether requests are lost just now. */
  readonly #isTroubled: () => boolean;

  constructor(clock: FakeClock, isTroubled: () => boolean) {
    this.#clock = clock;
    this.#isTroubled = isTroubled;
    this.etcd = new EtcdModel(
      clock,
      (put) => this.#judgePut(put),
      (lost) => this.#judgeRunOut(lost),
    );
    this.etcd.watch(() => this.#remember());
  }

  /** Something happened, or is not as it should be just now. */
  disturbed(): void {
    this.#disturbedAtMs = this.#clock.now();
  }

  /** The store does not take just anything now, or did not until now. */
  untaken(): void {
    this.#untakenAtMs = this.#clock.now();
  }

  replaced(): void {
    this.#remember();
  }

  get quietMs(): number {
    return this.#clock.now() - this.#disturbedAtMs;
  }

  bounded(what: string, count: number, most: number): void {
    if (count > most) this.violations.push(`${count} ${what}, at most ${most}`);
  }

  /** After each step. */
  check(us: ProcessModel, clone: ProcessModel | undefined): void {
    this.#us = us;
    if (clone !== undefined) this.violations.push(...clone.violations);
    const [reason] = us.lost;
    if (reason === undefined) return;
    const setBack = this.etcd.replacements > 0;
    // A listing of a store that was replaced may have been overtaken.
    const was = this.#since(us.key, setBack ? 0 : us.seenAtLoss);
    const isTrue = was.some(({ entry }) => reason.includes(reasonFor(us, entry, setBack) ?? '\n'));
    if (!isTrue) this.violations.push(`lost, but it is not true: ${reason}`);
  }

  /** All is quiet, so all is to be as it should be. */
  mended(us: ProcessModel): void {
    us.readLog();
    if (!us.alive) return;
    const entry = this.etcd.entries.get(us.key);
    const { kind, lease, problem } = us.holder!.held;
    const found: string[] = [];
    if (problem !== undefined) found.push(`problem: ${problem}`);
    if (entry === undefined) found.push('the key is missing');
    else if (us.stateOf(entry) !== 'ours') found.push(`the key is ${us.stateOf(entry)}`);
    else {
      const { publicIp } = parseLeaseValue(entry.value);
      if (publicIp !== us.publicIp) found.push(`the key has ${formatAddress(publicIp)}`);
      if ((kind === 'reserved') !== (entry.lease === 0n)) found.push(`it is told as ${kind}`);
      const isAnswered = us.store.underWay === 0;
      if (lease !== entry.lease && isAnswered) found.push(`its lease is told as ${lease}`);
      found.push(...us.unsaid(entry));
    }
    // One whose grant was not answered is not known, and runs out by itself.
    const mine = [...this.etcd.leases.keys()].filter((id) => us.store.keys.granted(id));
    const empty = mine.filter((id) => this.etcd.keysOn(id).length === 0);
    if (empty.length > 2) found.push(`${empty.length} etcd leases were left behind`);
    this.violations.push(...found.map((one) => `though all is quiet: ${one}`));
  }

  #judgePut({ before, after, seen }: Put): void {
    if (after.by !== 'us' && after.by !== 'clone') return;
    const others = ['foreign', after.by === 'us' ? 'clone' : 'us'];
    if (before !== undefined && others.includes(before.by)) {
      this.violations.push(`${after.by} wrote over ${before.value} by ${before.by}`);
    }
    const kinds =
      before !== undefined && isReadable(before) ? [kindOf(before)] : this.#kinds(after.key, seen);
    if (kinds.length > 0 && !kinds.includes(kindOf(after))) {
      this.violations.push(`a key that was ${kinds[0]} became ${kindOf(after)}`);
    }
  }

  #judgeRunOut(lost: readonly AuthoredEntry[]): void {
    const taken = this.#clock.now() - this.#untakenAtMs;
    if (taken < TAKEN_MS || this.#isTroubled()) return;
    if (!this.#us?.alive) return;
    for (const { key, by } of lost) {
      if (key === this.#us.key && by !== 'foreign') this.violations.push('our lease ran out');
    }
  }

  /** What whoever was told up to `seen` may take our key for: told last, or not told yet. */
  #kinds(key: string, seen: number): string[] {
    const readable = (this.#history.get(key) ?? []).filter(({ entry }) => {
      return entry !== undefined && isReadable(entry) && entry.by !== 'foreign';
    });
    const told = readable.findLast(({ seq }) => seq <= seen);
    // Its own entry is the last of them.
    const untold = readable.filter(({ seq }) => seq > seen && seq < this.etcd.seq);
    return [...(told === undefined ? [] : [told]), ...untold].map((was) => kindOf(was.entry!));
  }

  #since(key: string, seen: number): readonly Was[] {
    const all = this.#history.get(key) ?? [];
    const told = all.findLast(({ seq }) => seq <= seen);
    return [...(told === undefined ? [] : [told]), ...all.filter(({ seq }) => seq > seen)];
  }

  #remember(): void {
    const { entries, seq } = this.etcd;
    const keys = new Set([...entries.keys(), ...this.#history.keys()]);
    for (const key of keys) {
      const entry = entries.get(key);
      const all = this.#history.get(key) ?? [];
      const last = all.at(-1);
      if (last !== undefined && last.entry === entry) continue;
      all.push({ seq, entry });
      if (all.length > 300) all.splice(0, 150);
      this.#history.set(key, all);
    }
  }
}

/** What a loss for this state would be called. */
function reasonFor(
  us: ProcessModel,
  entry: AuthoredEntry | undefined,
  setBack: boolean,
): string | undefined {
  const state = us.stateOf(entry);
  switch (state === 'ours' && isDoubtful(us, entry!, setBack) ? 'another' : state) {
    case 'missing':
      return 'was removed';
    case 'unreadable':
      return 'cannot be read';
    case 'another': {
      const { publicIp } = parseLeaseValue(entry!.value);
      return `was taken by the host with public IP ${formatAddress(publicIp)}`;
    }
    default:
      return undefined;
  }
}

/**
 * With a public IP that we left, on an etcd lease that this process did not ask for: it may be an
 * operator's, who had not heard of the move, or an earlier run's out of a backup, and looks like
 * the host that has got that address. So does a reservation with another VTEP's address, and one
 * out of a backup with an address that we had earlier still, or with one that the run before had
 * for a moment and did not save.
 */
function isDoubtful(us: ProcessModel, { value, lease }: AuthoredEntry, setBack: boolean): boolean {
  const isOurMac = Buffer.compare(vtepMacIn(value) ?? us.mac, us.mac) === 0;
  if ((lease === 0n && isOurMac && !setBack && !us.fromSaved) || us.store.keys.granted(lease))
    return false;
  return parseLeaseValue(value).publicIp !== us.publicIp;
}

function isReadable({ value }: Entry): boolean {
  try {
    parseLeaseValue(value);
    return true;
  } catch {
    return false;
  }
}

const kindOf = ({ lease }: Entry) => (lease === 0n ? 'reserved' : 'leased');
