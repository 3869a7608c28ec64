/**
 * What is known of one peer's health, and what follows from it: how it stands with it, and what is
 * to be asked of it next. All of it is decided from what is known and the time; nothing is sent here.
 *
 *   1. A peer is asked by two echoes through the tunnel each QUIET_MS: a small one, and a large one
 *      beside it (see small-path.ts). Of one that does not answer the small one alone is asked; where
 *      it sends much meanwhile it proves itself, and is not.
 *   2. What goes without an answer is asked again each second, and so is a peer that packets leave
 *      for while none comes from it. Three failures in five seconds count, one does not.
 *   3. Silence is a fault where there should be an answer: of a peer that used to answer echoes, or
 *      while packets leave for it again and again and nothing comes back. A peer that drops all
 *      pings and has nothing to say is unknown, which is no fault.
 *
 * A peer that the kernel routes to directly is asked by its own address, and the lanes see none of it.
 */
import { judge } from '../../operate/diagnose/judge.js';
import { type Answers, NO_ANSWERS, type Observed } from '../../operate/diagnose/observed.js';
import type { Code, PeerState } from '../../operate/status/peer-health.js';
import type { EchoResult } from '../host/echo.js';
import { fullLosses, isSmallPath, PAIRS, type Pair } from './small-path.js';

/** The lanes' counts for a peer, since it is one. */
export interface Counts {
  readonly sent: number;
  readonly received: number;
  readonly refused: number;
  readonly errors: number;
  readonly denied: number;
  readonly unreachable: number;
}

export const NO_COUNTS: Counts = {
  ...{ sent: 0, received: 0, refused: 0, errors: 0, denied: 0, unreachable: 0 },
};

const NEVER = Number.NEGATIVE_INFINITY;

/** Times are the clock's. */
export interface Watched {
  readonly counts: Counts;
  /** When a packet came from it, and when so many that it cannot be echoes alone. */
  readonly heardAt: number;
  readonly busyAt: number;
  /** Looks since it was heard that found traffic to it; the last of them. */
  readonly unanswered: number;
  readonly trafficAt: number;
  /** When so much left for it that it cannot be answers to its echoes alone. */
  readonly usedAt: number;
  /** When the lanes met each of these. */
  readonly refusedAt: number;
  readonly errorsAt: number;
  readonly deniedAt: number;
  readonly unreachableAt: number;
  /** Echoes: the last that was sent, and the last that was answered; of a small one, how soon. */
  readonly askedAt: number;
  readonly answeredAt: number;
  readonly roundTripMs: number | null;
  /** Whether it is one that answers echoes. */
  readonly answers: boolean;
  /** Small ones without an answer since there was one; how the last went, oldest first. */
  readonly fails: number;
  readonly pairs: readonly Pair[];
  /** Why the last could not be sent; empty where it was. */
  readonly cannot: string;
  /** The last ping to its own address that came to an end; when it was sent. */
  readonly ping: { readonly at: number; readonly result: EchoResult } | undefined;
  readonly pingedAt: number;
  /** It is not asked before. */
  readonly notBefore: number;
}

export const UNWATCHED: Watched = {
  ...{ counts: NO_COUNTS, heardAt: NEVER, busyAt: NEVER, unanswered: 0, trafficAt: NEVER },
  usedAt: NEVER,
  ...{ refusedAt: NEVER, errorsAt: NEVER, deniedAt: NEVER, unreachableAt: NEVER },
  ...{ askedAt: NEVER, answeredAt: NEVER, roundTripMs: null, answers: false },
  ...{ fails: 0, pairs: [], cannot: '' },
  ...{ ping: undefined, pingedAt: NEVER, notBefore: NEVER },
};

/** A peer that has only just joined may not know us yet, and would count us among strangers. */
export const GRACE_MS = 1_500;
/** Each echo that an ICMP error answers brings another one, so one that is older is past. */
const ERRORS_MS = 5_000;
/** From one echo to the next, in looks of a second: of a peer of which nothing is feared, and else. */
const QUIET_MS = 1_900;
const AGAIN_MS = 900;
/** After so many failures it is asked no more often than others. */
const TIRED = 10;
/** From one ping of a peer that does not answer to the next. */
const PING_MS = 3_000;

/** Packets in a second that echoes, of ours and of the peer's, do not explain: from it and to it. */
const BUSY = 9;
const USED = 5;
/** So long it is busy. */
const BUSY_MS = 3_000;
/** Traffic without an answer for so long makes one wonder; so old, it is past. */
const WONDER_MS = 2_000;
const TRAFFIC_MS = 10_000;
/** It is in use for so long after much left for it: what is stuck is sent again ever more rarely. */
const USED_MS = 30_000;
/** Looks that find traffic before an answer is missed. */
const MISSED = 2;

/** What is to be believed: so many failures, and no sign for so long. */
const FAILS = 3;
const SILENT_MS = 5_000;
/** Losses that are apart, among the last small ones: those in a row are one, a short outage. */
const WINDOW = 7;
const LOSSES = 2;
/** After so many failures in a row it was away, and what was lost then is not loss. */
const AWAY = 3;
/** What the lanes met, and what a ping found, count for so long. */
const TOLD_MS = 10_000;
const PING_COUNTS_MS = 15_000;
/** What was heard proves so long that a peer without echoes is there. */
const HEARD_MS = 60_000;

/**
 * A look at the lanes' counts, so many seconds after the last; `own`: echoes of ours that went into
 * the tunnel meanwhile.
 */
export function takeCounts(
  watched: Watched,
  counts: Counts,
  { own, seconds }: { readonly own: number; readonly seconds: number },
  now: number,
): Watched {
  const before = watched.counts;
  const grew = (name: keyof Counts): number => counts[name] - before[name];
  const received = grew('received');
  const traffic = grew('sent') > own;
  const used = grew('sent') - own >= USED * seconds;
  const told =
    grew('refused') > 0 || grew('errors') > 0 || grew('denied') > 0 || grew('unreachable') > 0;
  if (received === 0 && !told && grew('sent') === 0) return watched;
  const busy = received >= BUSY * seconds;
  const heard = received > 0;
  return {
    ...watched,
    counts,
    heardAt: heard ? now : watched.heardAt,
    busyAt: busy ? now : watched.busyAt,
    unanswered: heard ? 0 : watched.unanswered + (traffic ? 1 : 0),
    trafficAt: traffic ? now : watched.trafficAt,
    usedAt: used ? now : watched.usedAt,
    refusedAt: grew('refused') > 0 ? now : watched.refusedAt,
    errorsAt: grew('errors') > 0 ? now : watched.errorsAt,
    deniedAt: grew('denied') > 0 ? now : watched.deniedAt,
    unreachableAt: grew('unreachable') > 0 ? now : watched.unreachableAt,
    // It is there and does not answer: it is one that answers no echoes any more.
    answers: watched.answers && !(busy && watched.fails >= FAILS),
  };
}

export function takeAsked(watched: Watched, now: number): Watched {
  return { ...watched, askedAt: now };
}

export function takePing(watched: Watched, result: EchoResult, at: number): Watched {
  return { ...watched, ping: { at, result } };
}

/** What was asked has come to its end; `tookMs`: of the small echo, from its sending. */
export function takeResult(
  watched: Watched,
  small: EchoResult,
  full: EchoResult | undefined,
  tookMs: number,
  now: number,
): Watched {
  if (small.kind === 'cannot') return { ...watched, cannot: small.why };
  const pair = { small: small.kind === 'answered', full: isThrough(full) };
  const answered = pair.small || full?.kind === 'answered';
  const known = { ...watched, cannot: '', pairs: withPair(watched, pair, answered) };
  if (!answered) return { ...known, fails: watched.fails + 1 };
  const roundTripMs = pair.small ? tookMs : watched.roundTripMs;
  return { ...known, fails: 0, answeredAt: now, roundTripMs, answers: true };
}

/** Of what was lost while it was away nothing is kept. */
function withPair({ pairs, fails }: Watched, pair: Pair, answered: boolean): readonly Pair[] {
  if (fails < AWAY) return [...pairs, pair].slice(-PAIRS);
  return answered ? [...pairs.slice(0, -AWAY), pair] : pairs;
}

/** Undefined: nothing was learnt. */
function isThrough(full: EchoResult | undefined): boolean | undefined {
  if (full === undefined || full.kind === 'cannot') return undefined;
  return full.kind === 'answered' || full.kind === 'too big';
}

export interface Ask {
  /** Through the tunnel: a small echo, or one as large as its MTU beside it. */
  readonly kind: 'small' | 'pair';
  /** Whether something is feared, large ones are lost, packets leave for it, or none of these. */
  readonly turn: 'urgent' | 'in doubt' | 'in use' | 'in turn';
}

/** What is to be asked now, if anything. */
export function nextAsk(watched: Watched, direct: boolean, now: number): Ask | undefined {
  const { fails, pairs, askedAt, busyAt, usedAt } = watched;
  const since = now - askedAt;
  if (since < AGAIN_MS || now < watched.notBefore) return undefined;
  const kind = !direct && fails === 0 ? 'pair' : 'small';
  const lost = fullLosses(pairs);
  const told = isSmallPath(pairs);
  if (fails === 0 && lost > 0 && lost < TIRED && !told) return { kind, turn: 'in doubt' };
  const feared = fails > 0 || (hasLost(pairs) && !told) || isWondering(watched, now);
  if (feared && fails < TIRED) return { kind, turn: 'urgent' };
  // Whether it is one that answers is asked of each.
  const busy = kind === 'small' && askedAt !== NEVER && now - busyAt < BUSY_MS;
  if (since < QUIET_MS || busy) return undefined;
  // The end of a fault is told as soon as the fault.
  return { kind, turn: lost > 0 || now - usedAt < USED_MS ? 'in use' : 'in turn' };
}

/** Whether a small one was lost lately. */
function hasLost(pairs: readonly Pair[]): boolean {
  return pairs.slice(-WINDOW).some(({ small }) => !small);
}

/** Whether its own address is to be pinged now: when it does not answer otherwise. */
export function isPingDue({ fails, pingedAt }: Watched, now: number): boolean {
  return fails > 0 && now - pingedAt >= PING_MS;
}

/** Whether packets leave for it and none comes back. */
function isWondering({ unanswered, trafficAt, heardAt }: Watched, now: number): boolean {
  return unanswered > 0 && now - trafficAt < TRAFFIC_MS && now - heardAt >= WONDER_MS;
}

/** What is not known by the echoes: see Observed. `lack`: why no echo can be sent at all. */
export interface Around
  extends Pick<Observed, 'publicIp' | 'port' | 'here' | 'noWay' | 'leavesBy' | 'direct'> {
  /** Of the tunnel, in bytes. */
  readonly mtu: number;
  readonly lack: string;
}

export interface Opinion {
  readonly state: PeerState;
  readonly code: Code;
  readonly words: string;
  readonly todo: string;
}

const NO_OPINION: Opinion = { state: 'unknown', code: 'untold', words: '', todo: '' };

/** How it stands with the peer now. */
export function opinionOf(watched: Watched, around: Around, now: number): Opinion {
  if (around.noWay !== '') return judge(observed(watched, around, now, NO_ANSWERS));
  const { fails, answers, answeredAt, busyAt, heardAt } = watched;
  const heard = now - heardAt < HEARD_MS;
  const proved = now - Math.max(answeredAt, busyAt) < SILENT_MS;
  if (fails >= FAILS && !proved) {
    const asked = { ...NO_ANSWERS, sent: fails };
    // Where an answer is missed, packets that are none prove nothing.
    const missed = isMissed(watched, now);
    const opinion = judge(observed(watched, around, now, asked, heard && !missed));
    return opinion.state !== 'silent' || missed ? opinion : withoutFault(opinion);
  }
  const cannot = around.lack || watched.cannot;
  if (answers && (cannot === '' || now - answeredAt < HEARD_MS)) {
    return judge(observed(watched, around, now, answersOf(watched)));
  }
  const nothing = { ...NO_ANSWERS, cannot };
  const told = [watched.refusedAt, watched.deniedAt].some((at) => now - at < TOLD_MS);
  if (!heard && cannot === '' && !told) return NO_OPINION;
  return judge(observed(watched, around, now, nothing, heard));
}

/** Whether an answer is missed. */
function isMissed({ answers, unanswered, heardAt }: Watched, now: number): boolean {
  return answers || (unanswered >= MISSED && now - heardAt >= SILENT_MS);
}

function withoutFault({ words, code }: Opinion): Opinion {
  const but = 'but no packet has left for it to which an answer is missed';
  return { state: 'unknown', code, words: `${words}; ${but}`, todo: '' };
}

/** Single losses are none, nor are those since the last answer. */
function answersOf({ pairs, roundTripMs }: Watched): Answers {
  const window = pairs.slice(-WINDOW).map(({ small }) => small);
  const whole = window.slice(0, window.lastIndexOf(true) + 1);
  const answered = whole.filter((one) => one).length;
  const lost = whole.filter((one, i) => !one && whole[i - 1] !== false).length >= LOSSES;
  return { ...NO_ANSWERS, sent: lost ? whole.length : answered, answered, roundTripMs };
}

function observed(
  watched: Watched,
  { mtu, lack: _, ...rest }: Around,
  now: number,
  asked: Answers,
  heard = true,
): Observed {
  const lately = (at: number): number => (now - at < TOLD_MS ? 1 : 0);
  const ping = pingOf(watched, now);
  const sent = fullLosses(watched.pairs);
  return {
    ...rest,
    underlay: rest.direct ? { ...asked, unreachable: ping?.unreachable ?? null } : ping,
    tunnel: rest.direct ? null : asked,
    full: isSmallPath(watched.pairs) ? { ...NO_ANSWERS, sent, bytes: mtu } : null,
    lanes: {
      heard: heard ? 1 : 0,
      refused: watched.refusedAt > watched.answeredAt ? lately(watched.refusedAt) : 0,
      errors: now - watched.errorsAt < ERRORS_MS ? 1 : 0,
      denied: lately(watched.deniedAt),
      unreachable: lately(watched.unreachableAt),
    },
  };
}

/** The last one, unless it has answered otherwise since. */
function pingOf({ ping, answeredAt }: Watched, now: number): Answers | null {
  if (ping === undefined || ping.at < answeredAt || now - ping.at >= PING_COUNTS_MS) return null;
  const { result } = ping;
  if (result.kind === 'cannot') return { ...NO_ANSWERS, cannot: result.why };
  const { code = 0, from = '' } = result.kind === 'unreachable' ? result : {};
  return {
    ...NO_ANSWERS,
    sent: 1,
    answered: result.kind === 'answered' ? 1 : 0,
    unreachable: result.kind === 'unreachable' ? { code, from } : null,
  };
}
