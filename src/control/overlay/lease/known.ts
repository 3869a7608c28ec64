/**
 * What is known of our key: pure functions from what was known and what is told now to what is
 * known then. Each telling is as of a revision of the store; one that is older than what is known
 * says nothing, in whatever order the watch, a listing, a look and the answer to a write arrive.
 */
import { type Entry, type Looked, messageOf, type Written } from '../../store/store.js';
import { type LeaseValue, parseLeaseValue, vtepMacIn } from '../lease-value.js';
import type { Action } from './action.js';

/** The lifetime of a lease, in seconds. */
export const LEASE_TTL = 86_400;

/** What our key should be. */
export interface Wanted {
  readonly key: string;
  /** int32 */
  readonly publicIp: number;
  /** The text to write where the store has none of ours to go by; it has `publicIp` in it. */
  readonly value: string;
  /** That of this host; undefined where its values have none. */
  readonly vtepMac: Uint8Array | undefined;
  /** What the store can: keep keys that run out, keys that stay, or none of ours. */
  readonly writes: 'leased' | 'kept' | 'none';
  /** Whether a key that was removed or spoilt is written again in place of being lost. */
  readonly reacquire: boolean;
}

/** By the clock, in milliseconds. */
export interface LeaseTime {
  readonly endsAtMs: number;
  readonly renewAtMs: number;
}

/** The etcd lease that a key hangs on; its time is undefined until the store told it. */
export interface EtcdLease {
  readonly id: bigint;
  readonly time: LeaseTime | undefined;
}

/** Our key as the store last had it. */
export type Key =
  /** It has to be looked at, not before `lookAtMs`. */
  | { readonly is: 'untold'; readonly lookAtMs: number }
  | { readonly is: 'missing'; readonly why: 'removed' | 'ran out' | 'replaced' | 'unseen' }
  /** With our public IP, or with one that we had. */
  | {
      readonly is: 'ours' | 'former';
      readonly value: string;
      readonly revision: bigint;
      /** Undefined: a reservation. */
      readonly lease: EtcdLease | undefined;
    }
  | { readonly is: 'another'; readonly publicIp: number }
  | { readonly is: 'unreadable'; readonly problem: string; readonly revision: bigint };

/** A kind of action that did not succeed when it was tried last. */
export interface Failure {
  readonly times: number;
  readonly nextAtMs: number;
  readonly reason: string;
}

/** A write that may have taken place or still may: its answer did not come, or not yet. */
interface Unanswered {
  readonly publicIp: number;
  /** It takes place only while the key is at this revision; undefined: while there is none. */
  readonly revision: bigint | undefined;
}

export interface Known {
  readonly key: Key;
  /** The revision of the store as of which this is so; undefined until the store was heard. */
  readonly asOf: bigint | undefined;
  /** Whether the key is one without an etcd lease, as the store (or the saved network) said last. */
  readonly reserved: boolean;
  /** When the last etcd lease of ours ends; undefined for a reservation, and until it was told. */
  readonly endsAtMs: number | undefined;
  /** Whether it was made to last longer since our key was written last. */
  readonly keptAlive: boolean;
  /** The public IP that our key had last, int32. */
  readonly publicIp: number;
  readonly unanswered: readonly Unanswered[];
  /** The one action whose answer is awaited. */
  readonly underWay: Action | undefined;
  /** Etcd leases of ours that no key hangs on any more. */
  readonly emptied: readonly bigint[];
  readonly failures: ReadonlyMap<Action['do'], Failure>;
}

/** The key's state as of one revision. */
export interface Telling {
  readonly entry: Entry | undefined;
  readonly revision: bigint;
  /** The store is not the one of before: its revisions cannot be compared. */
  readonly replaced: boolean;
  /** Whether it is of a listing. */
  readonly listed: boolean;
  /** Whether the entry hangs on an etcd lease that this process asked for. */
  readonly byUs: boolean;
}

const SHORTEST_WAIT_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;
/** The part of the waiting time that chance takes off, so that hosts that started together part. */
const SPREAD = 0.1;
/** A server's lease begins before its answer is here, and ends as much earlier. */
const LATE_MS = 10_000;

/** What there is after joining: the key as it was written, or as the saved network has it. */
export function begin(
  wanted: Wanted,
  written: Written & {
    readonly value: string;
    readonly unverified: boolean;
    readonly reserved: boolean;
  },
  { nowMs, marginMs, luck }: Moment,
): Known {
  const { revision, lease, ttl, unverified, reserved } = written;
  const time = leaseTime(ttl, { nowMs, marginMs, luck });
  const held = lease === 0n ? undefined : { id: lease, time };
  const key: Key = unverified
    ? { is: 'untold', lookAtMs: nowMs + LONGEST_RETRY_MS }
    : { is: 'ours', value: wanted.value, revision, lease: held };
  return {
    key,
    asOf: unverified ? undefined : revision,
    reserved,
    endsAtMs: unverified ? undefined : held?.time.endsAtMs,
    keptAlive: false,
    publicIp: publicIpIn(written.value) ?? wanted.publicIp,
    unanswered: [],
    underWay: undefined,
    emptied: [],
    failures: new Map(),
  };
}

/** Undefined where the value cannot be read. */
function publicIpIn(value: string): number | undefined {
  try {
    return parseLeaseValue(value).publicIp;
  } catch {
    return undefined;
  }
}

/** When it is, how long before its end a lease is renewed, and a number in [0, 1). */
export interface Moment {
  readonly nowMs: number;
  readonly marginMs: number;
  readonly luck: number;
}

/** `ttl` in seconds, as the server said it: clamped, since it may be anything. */
export function leaseTime(ttl: number, { nowMs, marginMs, luck }: Moment): LeaseTime {
  const left = Math.min(Math.max(ttl, 0), LEASE_TTL) * 1_000;
  const early = Math.min(left / 2, LONGEST_RETRY_MS);
  const wait = Math.max(left - marginMs, early, SHORTEST_WAIT_MS);
  return { endsAtMs: nowMs + left, renewAtMs: nowMs + wait * (1 - SPREAD * luck) };
}

/** Takes the state of our key from a listing, a change or a look. */
export function tell(known: Known, wanted: Wanted, told: Telling, nowMs: number): Known {
  const { entry, revision } = told;
  const { asOf, key } = known;
  if (asOf !== undefined && !told.replaced && revision < asOf) return doubt(known, told);
  // Nor does the revision of a key go back, except with the whole store.
  const older = entry !== undefined && 'revision' in key && entry.revision < key.revision;
  const telling = { ...told, replaced: told.replaced || older };
  const { replaced } = telling;
  const failures: Known['failures'] = replaced || asOf === undefined ? new Map() : known.failures;
  const emptied = replaced ? [] : emptiedOf(known, entry?.lease);
  const heard = { ...known, asOf: revision, failures, emptied };
  if (entry === undefined) return { ...heard, key: missing(known, replaced, nowMs) };
  if (!replaced && isSame(key, entry)) return heard;
  const now = { ...heard, ...read(known, wanted, telling, entry) };
  if (now.key.is !== 'ours') return now;
  return { ...now, failures: without(failures, 'create', 'update') };
}

/** A store that was set back may give a revision twice. */
function isSame(key: Key, { revision, value, lease }: Entry): boolean {
  if (!('revision' in key) || key.revision !== revision) return false;
  return key.is === 'unreadable' || (key.value === value && (key.lease?.id ?? 0n) === lease);
}

/**
 * A listing from before our last write, without it, is mostly one that was overtaken; or else the
 * store was set back, and who follows it had not heard of that write. A look tells.
 */
function doubt(known: Known, { entry, listed }: Telling): Known {
  const { key } = known;
  if (!listed || !('lease' in key) || entry?.revision === key.revision) return known;
  return { ...known, key: { is: 'untold', lookAtMs: 0 } };
}

/** With the etcd lease that our key hung on among the emptied, unless it is still on it. */
function emptiedOf({ key, emptied }: Known, now?: bigint): readonly bigint[] {
  const before = 'lease' in key ? key.lease?.id : undefined;
  if (before === undefined || before === now || emptied.includes(before)) return emptied;
  return [...emptied, before];
}

function missing({ key, asOf, endsAtMs }: Known, replaced: boolean, nowMs: number): Key {
  if (replaced) return { is: 'missing', why: 'replaced' };
  if (key.is === 'missing') return key;
  if (asOf === undefined) return { is: 'missing', why: 'unseen' };
  const over = endsAtMs !== undefined && nowMs >= endsAtMs - LATE_MS;
  return { is: 'missing', why: over ? 'ran out' : 'removed' };
}

type Reading = Omit<Known, 'asOf' | 'underWay' | 'emptied' | 'failures'>;

function read(known: Known, wanted: Wanted, telling: Telling, entry: Entry): Reading {
  const { value: text, revision } = entry;
  const { reserved, endsAtMs, keptAlive, publicIp } = known;
  const unanswered = known.unanswered.filter((write) => stillPossible(write, revision));
  const unread = { reserved, endsAtMs, keptAlive, publicIp, unanswered };
  let value: LeaseValue;
  try {
    value = parseLeaseValue(text);
  } catch (error) {
    return { ...unread, key: { is: 'unreadable', problem: messageOf(error), revision } };
  }
  const ours = value.publicIp === wanted.publicIp;
  if (!ours && !wasUs(known, wanted, telling, entry, value)) {
    return { ...unread, key: { is: 'another', publicIp: value.publicIp } };
  }
  const before = 'lease' in known.key ? known.key.lease : undefined;
  const kept = before?.id === entry.lease && !telling.replaced ? before : undefined;
  const lease = entry.lease === 0n ? undefined : (kept ?? { id: entry.lease, time: undefined });
  return {
    key: { is: ours ? 'ours' : 'former', value: text, revision, lease },
    reserved: entry.lease === 0n,
    endsAtMs: lease?.time?.endsAtMs,
    keptAlive: false,
    publicIp: value.publicIp,
    unanswered,
  };
}

/**
 * Whether a key with another public IP than ours is a former self's. It is where this process asked
 * for its etcd lease. Else it must have the public IP that our key had last, or one that a write of
 * ours without an answer would give it, and still hang on the same etcd lease; where that cannot
 * tell (a reservation, a store set back, a saved network), no VTEP's address but ours. Whoever has
 * got that address since, and has written our key with it, is somebody else.
 */
function wasUs(
  { key, asOf, publicIp, unanswered, underWay }: Known,
  wanted: Wanted,
  { byUs, replaced }: Telling,
  { lease, value: text }: Entry,
  value: LeaseValue,
): boolean {
  if (byUs) return true;
  const written = [publicIp, ...unanswered.map((write) => write.publicIp), ipWritten(underWay)];
  if (!written.includes(value.publicIp)) return false;
  const before = 'lease' in key ? key.lease?.id : undefined;
  if (lease !== 0n && lease === before && !replaced) return true;
  const [mac, own] = [vtepMacIn(text), wanted.vtepMac];
  const sameMac = mac === undefined || own === undefined || Buffer.compare(mac, own) === 0;
  return sameMac && (lease === 0n || replaced || asOf === undefined);
}

function ipWritten(action: Action | undefined): number | undefined {
  return action !== undefined && 'publicIp' in action ? action.publicIp : undefined;
}

/** A write that waits for the key to be missing cannot take place while there is one. */
function stillPossible({ revision: condition }: Unanswered, revision: bigint): boolean {
  return condition !== undefined && condition >= revision;
}

/** Takes the answer to a look, which was asked for when `asked` was known. */
export function looked(
  known: Known,
  wanted: Wanted,
  answer: Looked,
  { asked, byUs, moment }: { asked: bigint | undefined; byUs: boolean; moment: Moment },
): Known {
  const { entry, revision, ttl } = answer;
  const replaced = wentBack(answer, asked);
  const now = done(
    tell(known, wanted, { entry, revision, replaced, listed: false, byUs }, moment.nowMs),
    'look',
  );
  return entry === undefined ? now : timed(now, entry.lease, ttl, moment);
}

/** An answer is never older than what was known when it was asked for, unless the store was set back. */
export function wentBack({ revision }: { revision: bigint }, asked: bigint | undefined): boolean {
  return asked !== undefined && revision < asked;
}

/** Takes the answer to a create or an update that took place. */
export function written(
  known: Known,
  wanted: Wanted,
  action: Action & { readonly do: 'create' | 'update' },
  { revision, lease: id, ttl }: Written,
  moment: Moment,
): Known {
  const { publicIp, value } = action;
  const before = action.do === 'update' ? action.lease : undefined;
  const emptied = before === undefined || before === id ? [] : [before];
  const now = {
    ...done(known, action.do),
    failures: new Map(),
    emptied: [...new Set([...known.emptied, ...emptied])],
  };
  // Whatever was told meanwhile is newer; but it may be this very write.
  if (known.asOf !== undefined && revision <= known.asOf) return timed(now, id, ttl, moment);
  const time = leaseTime(ttl, moment);
  const lease = id === 0n ? undefined : { id, time };
  const is = publicIp === wanted.publicIp ? 'ours' : 'former';
  return {
    ...now,
    key: { is, value, revision, lease },
    asOf: revision,
    reserved: lease === undefined,
    endsAtMs: lease?.time.endsAtMs,
    keptAlive: false,
    publicIp,
    unanswered: [],
  };
}

/** A create or an update whose condition did not hold: the key is not as it was known. */
export function refused(known: Known, { do: what }: Action, asked: bigint | undefined): Known {
  const now = done(known, what);
  // Somebody may have told meanwhile how it is.
  if (now.asOf !== asked) return now;
  return { ...now, key: { is: 'untold', lookAtMs: 0 }, emptied: emptiedOf(known) };
}

/** Takes the seconds that a lease has got; 0: there is no such lease any more. */
export function keptAlive(known: Known, lease: bigint, ttl: number, moment: Moment): Known {
  const now = done(known, 'keep alive');
  if (ttl > 0) return { ...timed(now, lease, ttl, moment), keptAlive: true };
  const hangsOn = 'lease' in now.key && now.key.lease?.id === lease;
  return hangsOn ? { ...now, key: { is: 'untold', lookAtMs: 0 } } : now;
}

export function discarded(known: Known, lease: bigint): Known {
  return { ...done(known, 'discard'), emptied: known.emptied.filter((id) => id !== lease) };
}

/** Takes it that an action had no answer, or was refused by the store. */
export function failed(known: Known, action: Action, reason: string, nowMs: number): Known {
  if (isOvertaken(known, action)) return { ...known, underWay: undefined };
  const times = (known.failures.get(action.do)?.times ?? 0) + 1;
  const pause = Math.min(SHORTEST_WAIT_MS * 2 ** (times - 1), LONGEST_RETRY_MS);
  const failures = new Map(known.failures);
  failures.set(action.do, { times, nextAtMs: nowMs + pause, reason });
  const now = { ...known, underWay: undefined, failures };
  if (action.do !== 'create' && action.do !== 'update') return now;
  const revision = action.do === 'update' ? action.revision : undefined;
  return { ...now, unanswered: [...known.unanswered, { publicIp: action.publicIp, revision }] };
}

/** The key was told to be another already, be it by this write: it cannot take place any more. */
function isOvertaken({ key }: Known, action: Action): boolean {
  if (action.do === 'create') return key.is !== 'missing' && key.is !== 'untold';
  return action.do === 'update' && 'revision' in key && key.revision !== action.revision;
}

/** This host has another public IP from now on: what is known of the key is seen in its light. */
export function moved(known: Known, wanted: Wanted): Known {
  const { key } = known;
  if (key.is === 'another' && key.publicIp === wanted.publicIp) {
    return { ...known, key: { is: 'untold', lookAtMs: 0 } };
  }
  if (key.is !== 'ours' && key.is !== 'former') return known;
  if (known.publicIp !== wanted.publicIp) return { ...known, key: { ...key, is: 'former' } };
  // Moved back: what could not be written need not be written any more.
  const failures = key.is === 'former' ? without(known.failures, 'update') : known.failures;
  return { ...known, failures, key: { ...key, is: 'ours' } };
}

function done(known: Known, what: Action['do']): Known {
  return { ...known, underWay: undefined, failures: without(known.failures, what) };
}

function without(failures: Known['failures'], ...what: Action['do'][]): Known['failures'] {
  return new Map([...failures].filter(([kind]) => !what.includes(kind)));
}

/** Learns how long an etcd lease lasts, if it is the one that our key hangs on. */
export function timed(known: Known, id: bigint, ttl: number, moment: Moment): Known {
  const { key } = known;
  if (!('lease' in key) || key.lease === undefined || key.lease.id !== id) return known;
  const time = leaseTime(ttl, moment);
  return { ...known, key: { ...key, lease: { id, time } }, endsAtMs: time.endsAtMs };
}
