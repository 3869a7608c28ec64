/**
 * What to do about our key: a pure function of what is wanted, what is known, and the time. It
 * remembers nothing, so any order of events that ends in the same state ends in the same action.
 *
 *                    told by the store                  what is done about it
 *
 *     untold    ──▶  (write refused, lease gone)    ──▶  look
 *     missing   ──▶  replaced, ran out, unseen      ──▶  create
 *                    removed                        ──▶  create with reacquire, else give up
 *     former    ──▶  our key, an address of before  ──▶  update; while that fails, as ours
 *     ours      ──▶  time of its etcd lease unknown ──▶  look
 *                    within the margin of its end,
 *                    or an update of it failed      ──▶  update; while that fails, keep alive
 *                    a reservation, or time enough  ──▶  discard an emptied etcd lease, or wait
 *     unreadable ─▶                                 ──▶  update with reacquire, else give up
 *     another   ──▶                                 ──▶  give up
 *
 * An action that failed is tried again a second later, then two, four, up to a minute. While an
 * answer is awaited nothing else is begun, so there are never two writes under way.
 *
 * What cannot happen, and why:
 *
 *   - A key is never written over by chance: an update names the revision of a key that was read as
 *     ours, a former self's or unreadable, and only those states have one. A missing key has none,
 *     so it can be created and nothing else. Another's is given up.
 *   - A leased key never becomes permanent, nor a reservation leased: whether it is written on an
 *     etcd lease is what the store last said of it (`reserved`), in every state.
 *   - A move and a renewal cannot cancel each other: both are the same update, and what is due is
 *     seen anew each time. So is keeping the lease alive where nothing can be written.
 *   - An etcd lease that our key was taken off is given back, and tried again where that fails.
 *   - A new owner is named, also where the key was deleted first: the last state counts.
 */

import { formatAddress } from '../../../dataplane/wire/ipv4.js';
import type { Fault } from '../../runtime.js';
import { withPublicIp, withVtepMac } from '../lease-value.js';
import type { Action } from './action.js';
import { type EtcdLease, type Failure, type Known, LEASE_TTL, type Wanted } from './known.js';

export interface Decision {
  readonly action?: Action;
  /** When to be asked again though nothing was told, by the clock; absent: not at all. */
  readonly askAgainAtMs?: number;
}

export function decide(wanted: Wanted, known: Known, nowMs: number): Decision {
  if (known.underWay !== undefined) return {};
  const { key } = known;
  const canWrite = wanted.writes !== 'none';
  const { value, publicIp } = wanted;
  const ttl = known.reserved || wanted.writes === 'kept' ? undefined : LEASE_TTL;
  switch (key.is) {
    case 'another':
      return giveUp(`was taken by the host with public IP ${formatAddress(key.publicIp)}`);
    case 'missing':
      if (!canWrite || (key.why === 'removed' && !wanted.reacquire)) {
        return giveUp(describeMissing(key.why));
      }
      return attempt({ do: 'create', value, publicIp, ttl }, known, nowMs);
    case 'unreadable': {
      if (!canWrite || !wanted.reacquire) return giveUp(describeUnreadable(key.problem));
      const { revision } = key;
      return attempt(
        { do: 'update', value, publicIp, ttl, revision, lease: undefined },
        known,
        nowMs,
      );
    }
    case 'untold':
      if (!canWrite) return {};
      if (nowMs < key.lookAtMs) return { askAgainAtMs: key.lookAtMs };
      return attempt({ do: 'look' }, known, nowMs);
    default: {
      if (!canWrite) return {};
      const { lease, revision } = key;
      // What could not be written is tried again also where the lease was kept alive meanwhile.
      const isDue = key.is === 'former' || known.failures.has('update');
      const dueAtMs = isDue ? nowMs : renewAtMs(lease, known, nowMs);
      if (dueAtMs === 'ask') return attempt({ do: 'look' }, known, nowMs);
      if (dueAtMs === undefined) return discardOrWait(known, Infinity, nowMs);
      if (nowMs < dueAtMs) return discardOrWait(known, dueAtMs, nowMs);
      // Also the VTEP's address: a second host with our public IP may have written its own.
      const moved = key.is === 'former' ? withPublicIp(key.value, publicIp) : key.value;
      const now = wanted.vtepMac === undefined ? moved : withVtepMac(moved, wanted.vtepMac);
      const update = {
        do: 'update',
        value: now,
        publicIp,
        ttl,
        revision,
        lease: lease?.id,
      } as const;
      return updateOrKeepAlive(attempt(update, known, nowMs), lease, known, nowMs);
    }
  }
}

/** Undefined: never, it is a reservation. A time that cannot be asked for may be over. */
function renewAtMs(
  lease: EtcdLease | undefined,
  { failures }: Known,
  nowMs: number,
): number | 'ask' | undefined {
  if (lease === undefined) return undefined;
  if (lease.time !== undefined) return lease.time.renewAtMs;
  return failures.has('look') ? nowMs : 'ask';
}

/** The key cannot be written just now: the etcd lease that it hangs on may last longer all the same. */
function updateOrKeepAlive(
  update: Decision,
  lease: EtcdLease | undefined,
  known: Known,
  nowMs: number,
): Decision {
  if (update.action !== undefined || lease === undefined) return update;
  const renewAt = lease.time?.renewAtMs ?? nowMs;
  const alive: Decision =
    nowMs < renewAt
      ? { askAgainAtMs: renewAt }
      : attempt({ do: 'keep alive', lease: lease.id }, known, nowMs);
  if (alive.action !== undefined) return alive;
  return {
    askAgainAtMs: Math.min(update.askAgainAtMs ?? Infinity, alive.askAgainAtMs ?? Infinity),
  };
}

function discardOrWait(known: Known, dueAtMs: number, nowMs: number): Decision {
  const [lease] = known.emptied;
  const discard = lease === undefined ? {} : attempt({ do: 'discard', lease }, known, nowMs);
  if (discard.action !== undefined) return discard;
  const askAgainAtMs = Math.min(discard.askAgainAtMs ?? Infinity, dueAtMs);
  return askAgainAtMs === Infinity ? {} : { askAgainAtMs };
}

/** The action, or when it may be tried again. */
function attempt(action: Action, { failures }: Known, nowMs: number): Decision {
  const failure = failures.get(action.do);
  if (failure === undefined || nowMs >= failure.nextAtMs) return { action };
  return { askAgainAtMs: failure.nextAtMs };
}

function giveUp(reason: string): Decision {
  return { action: { do: 'give up', reason } };
}

/** Why a key is missing, as the end of a sentence about it. */
export function describeMissing(why: 'removed' | 'ran out' | 'replaced' | 'unseen'): string {
  switch (why) {
    case 'removed':
      return 'was removed from the store, or has run out';
    case 'ran out':
      return 'has run out while it could not be renewed';
    case 'replaced':
      return 'is not in the store, which was emptied or set back';
    case 'unseen':
      return 'has run out or was removed while weft was down';
  }
}

export function describeUnreadable(problem: string): string {
  return `was overwritten with a value that cannot be read: ${problem}`;
}

/** What is wrong with our lease; undefined when nothing is. */
export function problemOf(wanted: Wanted, known: Known, nowMs: number): Fault | undefined {
  const { key, failures, endsAtMs } = known;
  const about = `lease ${wanted.key}`;
  const name = `our ${about}`;
  const shown = formatAddress(wanted.publicIp);
  const is = (text: string, cure = '') => ({ about, text: `${name} ${text}`, cure });
  const why = (failure: Failure | undefined) =>
    failure === undefined ? '' : `: ${failure.reason}`;
  switch (key.is) {
    case 'missing':
      return is(`${describeMissing(key.why)}; it is written again${why(failures.get('create'))}`);
    case 'unreadable':
      return is(
        `${describeUnreadable(key.problem)}; it is written again${why(failures.get('update'))}`,
      );
    case 'former':
      if (wanted.writes === 'none') {
        return is('has another public IP than ours', `put ${shown} into its entry`);
      }
      return is(`does not have the public IP ${shown} yet${why(failures.get('update'))}`);
    case 'ours': {
      const failure = failures.get('update');
      if (failure === undefined || endsAtMs === undefined) return undefined;
      const minutes = Math.max(Math.round((endsAtMs - nowMs) / 60_000), 0);
      return is(`cannot be written again, it ends in ${minutes} min${why(failure)}`);
    }
    case 'untold':
      if (known.publicIp === wanted.publicIp) return undefined;
      return is(`has another public IP, as far as the store has said; it gets ${shown}`);
    default:
      return undefined;
  }
}
