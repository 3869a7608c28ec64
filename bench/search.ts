/** The highest rate that a system carries, found by trials that each cost time. */

export interface SearchOptions {
  /** Seconds of a trial that narrows, and of one that confirms. */
  readonly short: number;
  readonly long: number;
  /** What an earlier search found: this one begins around it. */
  readonly previous?: number | undefined;
  /** Where a search without an earlier one begins, and where every one ends. */
  readonly first: number;
  readonly most: number;
}

/** Rates closer than this are the same. */
const RESOLUTION = 1.04;
const AROUND = 1.2;
const CONFIRMATIONS = 3;
/** What a rate that was not confirmed goes down by, and how often. */
const STEP_DOWN = 0.93;
const STEPS_DOWN = 10;

/**
 * The highest rate at which `holds(rate, seconds)`, to 4 %, confirmed by three long trials in a
 * row; 0 when no rate was, as on a machine that has other work to do. Short trials narrow: from
 * twice to twice `first`, or within ±20 % of the earlier result, and wider when that does not hold
 * any more. One that fails is made once more, since a mistake there costs half of the result.
 */
export async function highestRate(
  holds: (rate: number, seconds: number) => Promise<boolean>,
  options: SearchOptions,
): Promise<number> {
  const { short, long, previous = 0, first, most } = options;
  const seems = async (rate: number): Promise<boolean> =>
    (await holds(rate, short)) || (await holds(rate, short));
  let low = 0;
  let high = first;
  if (previous > 0) {
    low = previous / AROUND;
    high = previous * AROUND;
    while (low > first / 16 && !(await seems(low))) {
      high = low;
      low /= AROUND;
    }
  }
  const factor = previous > 0 ? AROUND : 2;
  while (high <= most && (await seems(high))) {
    low = high;
    high *= factor;
  }
  while (high > Math.max(low * RESOLUTION, first / 16)) {
    const middle = low === 0 ? high / 2 : Math.sqrt(low * high);
    if (await seems(middle)) low = middle;
    else high = middle;
  }
  for (let step = 0; step < STEPS_DOWN && low > 0; step += 1) {
    let held = 0;
    while (held < CONFIRMATIONS && (await holds(low, long))) held += 1;
    if (held === CONFIRMATIONS) return low;
    low *= STEP_DOWN;
  }
  return 0;
}
