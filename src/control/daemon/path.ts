/**
 * What is known of the path to one peer, and what follows from it: its MTU, and when it is to be
 * measured. All of it is decided from what is known and the time; nothing is asked here.
 */

import type { Found } from '../host/path-search.js';
import type { Way } from '../host/ways.js';
import type { Random } from '../runtime.js';

export interface Path {
  /** Where packets leave; why they cannot; undefined: not asked yet. */
  readonly way: Way | string | undefined;
  /** The last measurement that came to something, and up to what size it went. */
  readonly measured:
    | { readonly mtu: number; readonly full: number; readonly at: number }
    | undefined;
  /** The last measurement, be it for nothing: when, up to what size, how long until the next. */
  readonly tried:
    | { readonly at: number; readonly full: number; readonly pauseMs: number }
    | undefined;
  /** Why the last measurement came to nothing; empty unless it did. */
  readonly why: string;
  /** When somebody said last that packets do not fit. */
  readonly hintAt: number | undefined;
}

export const UNKNOWN: Path = {
  way: undefined,
  measured: undefined,
  tried: undefined,
  why: '',
  hintAt: undefined,
};

/** From one measurement to the next; and while the path is smaller than its route, or may be. */
const PAUSE_MS = 600_000;
const PAUSE_SHORT_MS = 60_000;
/** Hints count once in so long. */
const PAUSE_HINTS_MS = 5_000;
/** What was measured is kept so long when the peer answers no more. */
const KEEP_MS = 1_800_000;
/** An IPv4 packet has no more bytes. */
const LONGEST = 65_535;

export interface PathMtu {
  readonly mtu: number;
  /** Which is the least; `measured` only where that is less than the other two. */
  readonly from: 'route' | 'device' | 'measured';
}

/** The longest packet that the route and the device let through; 0: none, or not known. */
export function fullOf({ way }: Path): number {
  return typeof way === 'object' ? Math.min(way.mtu, LONGEST) : 0;
}

/** Undefined while there is no way, or none is known. */
export function pathMtuOf(path: Path): PathMtu | undefined {
  const { way, measured } = path;
  if (typeof way !== 'object') return undefined;
  const full = fullOf(path);
  // A measurement that found all of what it tried says nothing of larger sizes.
  if (measured !== undefined && measured.mtu < Math.min(measured.full, full)) {
    return { mtu: measured.mtu, from: 'measured' };
  }
  return { mtu: full, from: way.from };
}

/** Whether the route has an MTU of its own, less than its device's. */
export function isCutByRoute({ way }: Path): boolean {
  return typeof way === 'object' && way.from === 'route';
}

/** When it is to be measured: a time that may be past; never: Infinity. */
export function dueAt(path: Path): number {
  const { tried, hintAt } = path;
  const full = fullOf(path);
  if (full === 0) return Number.POSITIVE_INFINITY;
  if (tried === undefined || tried.full !== full) return Number.NEGATIVE_INFINITY;
  const hinted = hintAt !== undefined && hintAt >= tried.at;
  return tried.at + (hinted ? Math.min(PAUSE_HINTS_MS, tried.pauseMs) : tried.pauseMs);
}

export function takeWay(path: Path, way: Way | string): Path {
  return { ...path, way };
}

export function takeHint(path: Path, now: number): Path {
  return { ...path, hintAt: now };
}

/** It is due from now on. */
export function forgetTried(path: Path): Path {
  return { ...path, tried: undefined };
}

/**
 * A measurement up to `full` has ended: `found` is undefined when it came to nothing. The next is
 * spread, so that those of many peers do not fall together.
 */
export function takeMeasured(
  path: Path,
  full: number,
  { found, why, soon }: Found,
  now: number,
  random: Random,
): Path {
  const old = path.measured;
  const kept = old !== undefined && now - old.at < KEEP_MS ? old : undefined;
  const measured = found === undefined ? kept : { mtu: found, full, at: now };
  const smaller = measured !== undefined && measured.mtu < full;
  const pauseMs = (smaller || soon ? PAUSE_SHORT_MS : PAUSE_MS) * (0.75 + random() / 2);
  return { ...path, measured, why, tried: { at: now, full, pauseMs } };
}
