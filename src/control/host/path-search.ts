/**
 * How the longest packet that reaches a peer whole is searched for, as a decision: what is known
 * of one search tells what to send next, and each answer what is known then. Nothing is sent here.
 *
 *   1. The full size: one packet, when the path is as large as the route and the device say.
 *   2. "Too big", with an MTU: that size next. It is believed when it is answered.
 *   3. No answer: a small packet. With no answer to that either nothing can be learnt; with one,
 *      the large one has failed once. Three failures, and it does not fit: loss shrinks no path.
 *   4. What does not fit and was told no MTU: sizes that paths usually have, halving the choice,
 *      and then those between the two that are left, in the same way.
 */
import type { EchoResult } from './echo.js';

/** What every IPv4 path carries whole (RFC 791). */
export const SMALL = 68;
/** A path on which less passes is none: then large echoes are filtered, and tell nothing. */
export const LEAST = 576;
/** A size fails for so many times that it had no answer and a small packet had. */
const FAILURES = 3;
/** Small packets without an answer, one after another, before a peer counts as one that does not answer. */
const SILENCES = 3;

/** IPv4 MTUs of links and of tunnels over them, ascending. */
const PLATEAUS = [
  1006, 1280, 1300, 1350, 1372, 1392, 1400, 1420, 1430, 1440, 1450, 1454, 1460, 1468, 1472, 1476,
  1480, 1488, 1492, 1496, 1500, 2002, 4352, 8166, 8951, 9000, 17914, 32000,
];

/** What is known of one search; sizes are those of whole IPv4 packets. */
export interface Search {
  /** What is sent next. */
  readonly size: number;
  /** The largest that was answered, and the smallest that does not fit. */
  readonly fits: number;
  readonly tooLarge: number;
  /** Whether `size` is what a router told. */
  readonly told: boolean;
  /** How often `size` failed. */
  readonly failures: number;
  /** Small packets are being asked for: how many had no answer. */
  readonly silences: number | undefined;
}

/** The end: the path MTU; undefined when the peer did not answer. */
export interface Found {
  readonly found: number | undefined;
  /** Why nothing was found. */
  readonly why: string;
  /** Whether that lay with this host, just now: worth another try before long. */
  readonly soon: boolean;
}

export function isFound(state: Search | Found): state is Found {
  return 'found' in state;
}

/** `full`: the largest size that the route and the device let through. */
export function beginSearch(full: number): Search {
  return {
    size: full,
    fits: 0,
    tooLarge: full + 1,
    told: false,
    failures: 0,
    silences: undefined,
  };
}

/** The size of the packet to send now. */
export function sizeToSend({ size, silences }: Search): number {
  return silences === undefined ? size : SMALL;
}

export function takeResult(search: Search, result: EchoResult): Search | Found {
  if (result.kind === 'cannot') return nothing(result.why, true);
  if (search.silences !== undefined) return takeSmall(search, search.silences, result);
  const { size, fits, told } = search;
  switch (result.kind) {
    case 'answered':
      return told ? found(size) : next({ ...search, fits: size });
    case 'too big': {
      const closer = { ...search, tooLarge: size };
      const { mtu } = result;
      if (mtu < LEAST || mtu <= fits || mtu >= size) return next(closer);
      return { ...closer, size: mtu, told: true, failures: 0 };
    }
    case 'unreachable':
    case 'silent':
      return { ...search, silences: 0 };
  }
}

/** After a packet of `size` had no answer. */
function takeSmall(search: Search, silences: number, result: EchoResult): Search | Found {
  if (result.kind !== 'answered') {
    return silences + 1 < SILENCES
      ? { ...search, silences: silences + 1 }
      : nothing('it does not answer');
  }
  const failures = search.failures + 1;
  if (failures < FAILURES) return { ...search, failures, silences: undefined };
  return next({ ...search, tooLarge: search.size, silences: undefined });
}

/** A size between what fits and what does not; the end where there is none. */
function next(search: Search): Search | Found {
  const { fits, tooLarge } = search;
  if (tooLarge <= LEAST) return nothing('it answers small packets alone');
  if (fits + 1 >= tooLarge) return found(fits);
  const between = PLATEAUS.filter((size) => size > fits && size < tooLarge);
  const middle = Math.max(LEAST, (fits + tooLarge) >> 1);
  const size = between[between.length >> 1] ?? Math.min(middle, tooLarge - 1);
  return { ...search, size, told: false, failures: 0 };
}

function found(size: number): Found {
  return { found: size, why: '', soon: false };
}

function nothing(why: string, soon = false): Found {
  return { found: undefined, why, soon };
}
