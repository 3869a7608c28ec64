/** What the machine's processors do meanwhile, from /proc/stat; softirq included. */
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const TICKS_A_SECOND = 100;

export interface Ticks {
  readonly busy: number;
  readonly idle: number;
}

export function readTicks(): Ticks {
  const words = fs.readFileSync('/proc/stat', 'utf8').split('\n')[0]!.split(/\s+/);
  const ticks = words.slice(1, 9).map(Number);
  const idle = ticks[3]! + ticks[4]!;
  return { busy: ticks.reduce((sum, tick) => sum + tick, 0) - idle, idle };
}

/** Seconds of all processors together that were spent since `before`. */
export function busySeconds(before: Ticks): number {
  return (readTicks().busy - before.busy) / TICKS_A_SECOND;
}

/** The part of the machine that is busy while the bench itself does nothing, 0 to 1. */
async function foreignLoad(milliseconds = 500): Promise<number> {
  const before = readTicks();
  await sleep(milliseconds);
  const after = readTicks();
  const busy = after.busy - before.busy;
  return busy / Math.max(1, busy + after.idle - before.idle);
}

/** Waits until the machine is quiet, `most` milliseconds at most; returns the load then. */
export async function waitForQuiet(most: number): Promise<number> {
  let load = await foreignLoad();
  for (let waited = 0; load > 0.1 && waited < most; waited += 500) load = await foreignLoad();
  return load;
}
