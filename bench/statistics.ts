/** Order statistics of a few runs. */
export interface Spread {
  readonly n: number;
  readonly min: number;
  readonly median: number;
  readonly p95: number;
  readonly max: number;
}

/** Throws RangeError for no values. */
export function spread(values: readonly number[]): Spread {
  if (values.length === 0) throw new RangeError('no values');
  const sorted = [...values].sort((a, b) => a - b);
  const at = (q: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
  const middle = sorted.length / 2;
  const median =
    sorted.length % 2 === 1
      ? sorted[Math.floor(middle)]!
      : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { n: sorted.length, min: sorted[0]!, median, p95: at(0.95), max: sorted.at(-1)! };
}

/** What independent values of one thing say of it. */
export interface Estimate {
  readonly n: number;
  readonly mean: number;
  readonly median: number;
  /** Its 95 % interval is the mean ± this; Infinity for one value. */
  readonly interval: number;
}

/** Throws RangeError for no values. */
export function meanOf(values: readonly number[]): Estimate {
  const { n, median } = spread(values);
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const error = Math.sqrt(squares / (n - 1) / n);
  return {
    n,
    mean,
    median,
    interval: n === 1 ? Number.POSITIVE_INFINITY : studentT(n - 1) * error,
  };
}

/** The 97.5 % point of Student's t, to 2 % from 4 degrees of freedom on (Abramowitz and Stegun, 26.7.5). */
function studentT(degrees: number): number {
  return 1.96 + 2.372 / degrees + 2.822 / degrees ** 2 + 2.556 / degrees ** 3;
}
