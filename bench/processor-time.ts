/** Processor time of processes and threads, from /proc/PID/task/TID/schedstat: nanoseconds, not ticks. */
import fs from 'node:fs';

/** A process and all its children. */
export function family(pid: number): number[] {
  const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  const pids = children.split(' ').filter((word) => word !== '');
  return [pid, ...pids.flatMap((child) => family(Number(child)))];
}

/** Milliseconds of each thread of a process so far. */
export function threadTimes(pid: number): Map<number, number> {
  const threads = fs.readdirSync(`/proc/${pid}/task`).map(Number);
  return new Map(threads.map((thread) => [thread, threadMs(pid, thread)]));
}

/** Milliseconds of a process's threads together so far; of those that have ended, none. */
export function processMs(pid: number): number {
  return [...threadTimes(pid).values()].reduce((sum, ms) => sum + ms, 0);
}

/** A thread that ends meanwhile has none. */
function threadMs(pid: number, thread: number): number {
  try {
    const text = fs.readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8');
    return Number(text.split(' ')[0]) / 1e6;
  } catch {
    return 0;
  }
}
