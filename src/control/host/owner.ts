/** The process that a journal belongs to, and whether that very one still runs. */
import fs from 'node:fs';

/** A process, told apart from a later one of the same number by its start. */
export interface Owner {
  pid: number;
  /** Clock ticks from boot to its start: field 22 of /proc/<pid>/stat. */
  startTime: string;
}

/** The process with this number, or null if there is none. */
export function readOwner(pid: number, proc = '/proc'): Owner | null {
  const startTime = readStat(pid, proc)?.startTime;
  return startTime === undefined ? null : { pid, startTime };
}

/** Whether that very process still runs. */
export function isAlive(owner: Owner, proc = '/proc'): boolean {
  const stat = readStat(owner.pid, proc);
  return stat?.startTime === owner.startTime && !stat.ended;
}

/**
 * A process that ended stays in /proc until its parent asks how, which process 1 of many a container
 * never does. A first thread that ended while others run looks the same, and there the process lives.
 */
function readStat(pid: number, proc: string): { startTime: string; ended: boolean } | undefined {
  let stat: string;
  try {
    stat = fs.readFileSync(`${proc}/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The name in parentheses may hold spaces and parentheses: count from the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state = '', threads] = [fields[0], fields[17]];
  return { startTime: fields[19] ?? '', ended: 'ZX'.includes(state) && !(Number(threads) > 1) };
}
