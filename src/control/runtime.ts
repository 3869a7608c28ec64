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

/** Something that is wrong and that weft cannot put right just now. */
export interface Fault {
  /** The thing: `docker0`; of one thing there is one fault of a kind. */
  readonly about: string;
  /** What is wrong and what comes of it, in one sentence without its full stop. */
  readonly text: string;
  /** What to type, or else to do; empty where the text says all there is. */
  readonly cure: string;
}

/** For the log. */
export function lineOf({ text, cure }: Pick<Fault, 'text' | 'cure'>): string {
  return cure === '' ? text : `${text}; do: ${cure}`;
}
