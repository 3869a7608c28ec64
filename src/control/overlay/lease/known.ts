/**
 * What is known of our key: pure functions from what was known and what is told now to what is
 * known then. Each telling is as of a revision of the store; one that is older than what is known
 * says nothing, in whatever order the watch, a listing, a look and the answer to a write arrive.
 */
import { type Entry, type Looked, messageOf, type Written } from '../../store/store.js';
import { type LeaseValue, parseLeaseValue } from '../lease-value.js';
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
  written: Written & { readonly unverified: boolean; readonly reserved: boolean },
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
    publicIp: wanted.publicIp,
    unanswered: [],
    underWay: undefined,
    emptied: [],
    failures: new Map(),
  };
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
export function tell(known: Known, wanted: Wanted, telling: Telling, nowMs: number): Known {
  const { entry, revision, replaced } = telling;
  const { asOf, key } = known;
  if (asOf !== undefined && !replaced && revision <= asOf) return known;
  const failures = replaced || asOf === undefined ? new Map() : known.failures;
  const heard = { ...known, asOf: revision, failures };
  if (entry === undefined) return { ...heard, key: missing(known, replaced, nowMs) };
  const same = !replaced && 'revision' in key && key.revision === entry.revision;
  if (same) return heard;
  return { ...heard, ...read(known, wanted, telling, entry) };
}

function missing({ key, asOf, endsAtMs }: Known, replaced: boolean, nowMs: number): Key {
  if (replaced) return { is: 'missing', why: 'replaced' };
  if (key.is === 'missing') return key;
  if (asOf === undefined) return { is: 'missing', why: 'unseen' };
  const over = endsAtMs !== undefined && nowMs >= endsAtMs - LATE_MS;
  return { is: 'missing', why: over ? 'ran out' : 'removed' };
}

type Reading = Pick<Known, 'key' | 'reserved' | 'endsAtMs' | 'publicIp' | 'unanswered'>;

function read(known: Known, wanted: Wanted, telling: Telling, entry: Entry): Reading {
  const { value: text, revision } = entry;
  const { reserved, endsAtMs, publicIp } = known;
  const unanswered = known.unanswered.filter((write) => stillPossible(write, revision));
  const unread = { reserved, endsAtMs, publicIp, unanswered };
  let value: LeaseValue;
  try {
    value = parseLeaseValue(text);
  } catch (error) {
    return { ...unread, key: { is: 'unreadable', problem: messageOf(error), revision } };
  }
  const ours = value.publicIp === wanted.publicIp;
  if (!ours && !wasUs(known, telling, entry, value)) {
    return { ...unread, key: { is: 'another', publicIp: value.publicIp } };
  }
  const before = 'lease' in known.key ? known.key.lease : undefined;
  const kept = before?.id === entry.lease && !telling.replaced ? before : undefined;
  const lease = entry.lease === 0n ? undefined : (kept ?? { id: entry.lease, time: undefined });
  return {
    key: { is: ours ? 'ours' : 'former', value: text, revision, lease },
    reserved: entry.lease === 0n,
    endsAtMs: lease?.time?.endsAtMs,
    publicIp: value.publicIp,
    unanswered,
  };
}

/**
 * Whether a key with another public IP than ours is a former self's: it has the one that our key
 * had last, or one that a write of ours without an answer would give it; and it is we who wrote
 * it, as far as its etcd lease can tell. Whoever has got that address since is somebody else.
 */
function wasUs(
  { key, asOf, publicIp, unanswered, underWay }: Known,
  { byUs, replaced }: Telling,
  { lease }: Entry,
  value: LeaseValue,
): boolean {
  const written = [publicIp, ...unanswered.map((write) => write.publicIp), ipWritten(underWay)];
  if (!written.includes(value.publicIp)) return false;
  const before = 'lease' in key ? key.lease?.id : undefined;
  return byUs || lease === 0n || lease === before || replaced || asOf === undefined;
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
  { entry, revision, ttl }: Looked,
  { asked, byUs, moment }: { asked: bigint | undefined; byUs: boolean; moment: Moment },
): Known {
  const replaced = asked !== undefined && revision < asked;
  const now = done(tell(known, wanted, { entry, revision, replaced, byUs }, moment.nowMs), 'look');
  // An answer from before what is known, as a cache between may give it: asked again, not at once.
  if (now.key.is === 'untold') {
    return { ...now, key: { is: 'untold', lookAtMs: moment.nowMs + SHORTEST_WAIT_MS } };
  }
  return entry === undefined ? now : timed(now, entry.lease, ttl, moment);
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
    emptied: [...known.emptied, ...emptied],
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
    publicIp,
    unanswered: [],
  };
}

/** A create or an update whose condition did not hold: the key is not as it was known. */
export function refused(known: Known, { do: what }: Action, asked: bigint | undefined): Known {
  const now = done(known, what);
  // Somebody may have told meanwhile how it is.
  return now.asOf === asked ? { ...now, key: { is: 'untold', lookAtMs: 0 } } : now;
}

/** Takes the seconds that a lease has got; 0: there is no such lease any more. */
export function keptAlive(known: Known, lease: bigint, ttl: number, moment: Moment): Known {
  const now = done(known, 'keep alive');
  if (ttl > 0) return timed(now, lease, ttl, moment);
  const hangsOn = 'lease' in now.key && now.key.lease?.id === lease;
  return hangsOn ? { ...now, key: { is: 'untold', lookAtMs: 0 } } : now;
}

/** An etcd lease that is empty is tried to be given back once: it runs out by itself. */
export function discarded(known: Known, lease: bigint): Known {
  return { ...done(known, 'discard'), emptied: known.emptied.filter((id) => id !== lease) };
}

/** Takes it that an action had no answer, or was refused by the store. */
export function failed(known: Known, action: Action, reason: string, nowMs: number): Known {
  const times = (known.failures.get(action.do)?.times ?? 0) + 1;
  const pause = Math.min(SHORTEST_WAIT_MS * 2 ** (times - 1), LONGEST_RETRY_MS);
  const failures = new Map(known.failures);
  failures.set(action.do, { times, nextAtMs: nowMs + pause, reason });
  const now = { ...known, underWay: undefined, failures };
  if (action.do === 'discard') return discarded(now, action.lease);
  if (action.do !== 'create' && action.do !== 'update') return now;
  const revision = action.do === 'update' ? action.revision : undefined;
  return { ...now, unanswered: [...known.unanswered, { publicIp: action.publicIp, revision }] };
}

/** This host has another public IP from now on: what is known of the key is seen in its light. */
export function moved(known: Known, wanted: Wanted): Known {
  const { key } = known;
  if (key.is !== 'ours' && key.is !== 'former') return known;
  return { ...known, key: { ...key, is: known.publicIp === wanted.publicIp ? 'ours' : 'former' } };
}

function done(known: Known, what: Action['do']): Known {
  const failures = new Map(known.failures);
  failures.delete(what);
  return { ...known, underWay: undefined, failures };
}

/** Learns how long an etcd lease lasts, if it is the one that our key hangs on. */
function timed(known: Known, id: bigint, ttl: number, moment: Moment): Known {
  const { key } = known;
  if (!('lease' in key) || key.lease === undefined || key.lease.id !== id) return known;
  const time = leaseTime(ttl, moment);
  return { ...known, key: { ...key, lease: { id, time } }, endsAtMs: time.endsAtMs };
}
