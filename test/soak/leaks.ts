/** What a weft holds of the host, looked at when all is quiet. */
import fs from 'node:fs';
import type { Station } from './site.js';

export interface Held {
  readonly megabytes: number;
  readonly descriptors: number;
  readonly threads: number;
  readonly children: number;
}

/** More than this at the end than after the first part of the run is a leak. */
const ROOM: Held = { megabytes: 16, descriptors: 4, threads: 1, children: 1 };

export function look({ pid }: Pick<Station, 'pid'>): Held {
  const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  const value = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
  const tasks = fs.readdirSync(`/proc/${pid}/task`);
  const children = tasks.flatMap((task) =>
    fs.readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean),
  );
  return {
    megabytes: value('VmRSS') / 1024,
    descriptors: fs.readdirSync(`/proc/${pid}/fd`).length,
    threads: value('Threads'),
    children: children.length,
  };
}

/** Milliseconds of processor time so far. */
export function cpu({ pid }: Pick<Station, 'pid'>): number {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // utime and stime, in ticks of 10 ms.
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** A sentence for each thing of which there is more: the least of the last looks counts. */
export function leaks(looks: readonly Held[]): string[] {
  const part = Math.max(Math.floor(looks.length / 4), 1);
  const least = (some: readonly Held[], name: keyof Held) =>
    Math.min(...some.map((one) => one[name]));
  return (Object.keys(ROOM) as (keyof Held)[]).flatMap((name) => {
    const before = least(looks.slice(part, 2 * part), name);
    const after = least(looks.slice(-part), name);
    const more = after - before;
    return more > ROOM[name] ? [`${name}: ${before.toFixed(0)} became ${after.toFixed(0)}`] : [];
  });
}
