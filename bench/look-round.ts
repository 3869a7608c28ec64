/** What a round of `look` comes to, and what can be said of all of them. */
import type { Estimate } from './statistics.js';

/** A part of a stream that goes on. */
export interface Slice {
  readonly gigabits: number;
  /** Milliseconds of lanes and iperf3 for a GB. */
  readonly work: number;
  /** Of the processors, 0 to 1. */
  readonly lookers: number;
}

/** With lookers against without: parts, 0 to 1. */
export interface Round {
  readonly loss: number;
  readonly work: number;
  readonly lookers: number;
}

/** Slices of off, on, on, off: what becomes more or less evenly meanwhile counts for nothing. */
export function roundOf(slices: readonly Slice[]): Round {
  const [before, one, two, after] = slices as [Slice, Slice, Slice, Slice];
  const ratio = (name: keyof Slice): number =>
    (one[name] + two[name]) / (before[name] + after[name]);
  const more = one.lookers + two.lookers - before.lookers - after.lookers;
  return { loss: 1 - ratio('gigabits'), work: ratio('work') - 1, lookers: more / 2 };
}

/** What all who look are to cost at most, of throughput. */
const BAR = 0.02;

/** What can be said of a loss. */
export function judge({ mean, interval }: Estimate): string {
  if (mean + interval < BAR) return 'less than 2 %';
  return mean - interval > BAR ? 'more than 2 %' : 'not resolved';
}
