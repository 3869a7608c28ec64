/** What the control plane's tests put in place of time, chance and the log. */
import type { Clock, Log, Random } from '../../src/control/runtime.js';

/** Time that stands still until it is told to pass. */
export class FakeClock implements Clock {
  #time = 0;
  readonly #timers = new Map<object, { at: number; call: () => void }>();

  now(): number {
    return this.#time;
  }

  after(ms: number, call: () => void): () => void {
    const timer = {};
    this.#timers.set(timer, { at: this.#time + ms, call });
    return () => this.#timers.delete(timer);
  }

  /** Milliseconds from now until each timer, sorted. */
  get waits(): number[] {
    return [...this.#timers.values()].map(({ at }) => at - this.#time).sort((a, b) => a - b);
  }

  /** Lets time pass, timer by timer, and what hangs on each of them happen. */
  async pass(ms: number): Promise<void> {
    const end = this.#time + ms;
    for (;;) {
      await settle();
      const due = [...this.#timers].filter(([, { at }]) => at <= end);
      const next = due.sort(([, a], [, b]) => a.at - b.at)[0];
      if (next === undefined) break;
      const [timer, { at, call }] = next;
      this.#timers.delete(timer);
      this.#time = at;
      call();
    }
    this.#time = end;
    await settle();
  }
}

/** Lets every promise that can go on do so. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise(setImmediate);
}

export const realClock: Clock = {
  now: () => performance.now(),
  after(ms, call) {
    const timer = setTimeout(call, Math.min(ms, 2 ** 31 - 1));
    return () => clearTimeout(timer);
  },
};

/** Keeps the lines, each with its level in front: `warn: …`. */
export class Lines implements Log {
  readonly lines: string[] = [];
  error = (line: string) => this.#keep('error', line);
  warn = (line: string) => this.#keep('warn', line);
  info = (line: string) => this.#keep('info', line);
  debug = (line: string) => this.#keep('debug', line);

  #keep(level: string, line: string): void {
    this.lines.push(`${level}: ${line}`);
  }

  matching(pattern: RegExp): string[] {
    return this.lines.filter((line) => pattern.test(line));
  }
}

/** The same numbers for the same seed (mulberry32). */
export function seeded(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Polls until `check` gives something; rejects after `ms`. */
export async function until<T>(
  check: () => T | undefined | false | Promise<T | undefined | false>,
  ms = 30_000,
): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    const found = await check();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${check}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
