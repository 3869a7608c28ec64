/** The real clock. */
import type { Clock } from '../runtime.js';

/** Node fires a longer timer at once. */
const LONGEST = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, call) {
    const timer = setTimeout(call, Math.min(Math.max(ms, 0), LONGEST));
    return () => clearTimeout(timer);
  },
};

/** The time of day, for what is told to people and to HTTP; intervals take a Clock. */
export function timeOfDay(): Date {
  return new Date();
}

/** CLOCK_MONOTONIC in microseconds, as systemd reads it. */
export function monotonic(): bigint {
  return process.hrtime.bigint() / 1_000n;
}
