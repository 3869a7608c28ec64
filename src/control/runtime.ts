/** What the control plane takes from its surroundings, so that it can run on a fake clock. */
export interface Clock {
  /** Milliseconds, monotonic enough for intervals. */
  now(): number;
  /** Calls back once after `ms` (clamped to 2^31-1); returns a function that cancels it. */
  after(ms: number, call: () => void): () => void;
}
/** A number in [0, 1), as Math.random gives. */
export type Random = () => number;
/** Where lines go; one call a line, no line a packet. */
export interface Log {
  error(line: string): void;
  warn(line: string): void;
  info(line: string): void;
  debug(line: string): void;
}
