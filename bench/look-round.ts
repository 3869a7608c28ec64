/** What a round of `look` comes to, and what can be said of all of them. */
import type { Estimate } from './statistics.js';

/** Who takes processor time beside lanes and iperf3. `reader` stands for browser and Prometheus. */
export const LOOKERS = ['weft', 'status', 'page', 'reader', 'capture'] as const;
export type Looker = (typeof LOOKERS)[number];

/** A part of a stream that goes on. */
export interface Slice {
  readonly gigabits: number;
  /** Milliseconds of lanes and iperf3 for a GB. */
  readonly work: number;
  /** Of the processors, 0 to 1. */
  readonly lookers: Readonly<Record<Looker, number>>;
}

/** With lookers against without: parts, 0 to 1. */
export interface Round {
  readonly loss: number;
  readonly work: number;
  readonly lookers: Readonly<Record<Looker, number>>;
}

/** Slices of off, on, on, off: what becomes more or less evenly meanwhile counts for nothing. */
export function roundOf(slices: readonly Slice[]): Round {
  const [before, one, two, after] = slices as [Slice, Slice, Slice, Slice];
  const ratio = (name: 'gigabits' | 'work'): number =>
    (one[name] + two[name]) / (before[name] + after[name]);
  const more = (who: Looker): number =>
    (one.lookers[who] + two.lookers[who] - before.lookers[who] - after.lookers[who]) / 2;
  return {
    loss: 1 - ratio('gigabits'),
    work: ratio('work') - 1,
    lookers: Object.fromEntries(LOOKERS.map((who) => [who, more(who)])) as Round['lookers'],
  };
}

/** All of them together. */
export function lookersOf({ lookers }: Round): number {
  return LOOKERS.reduce((all, who) => all + lookers[who], 0);
}

/** What all who look are to cost at most, of throughput. */
const BAR = 0.02;

/** What can be said of a loss. */
export function judge({ mean, interval }: Estimate): string {
  if (mean + interval < BAR) return 'less than 2 %';
  return mean - interval > BAR ? 'more than 2 %' : 'not resolved';
}
