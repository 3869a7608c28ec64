/** How long a process has been on a processor, to the microsecond. */
import fs from 'node:fs';

const NANOSECONDS = 1e6;

/**
 * In milliseconds, of the first thread of a process, which is all of `ip` and weft's control plane;
 * undefined where the kernel does not count it (CONFIG_SCHED_INFO), or the process has ended.
 */
export function processorMs(pid: number | 'self', proc = '/proc'): number | undefined {
  try {
    const [onProcessor = ''] = fs.readFileSync(`${proc}/${pid}/schedstat`, 'utf8').split(' ');
    return /^\d+$/.test(onProcessor) ? Number(onProcessor) / NANOSECONDS : undefined;
  } catch {
    return undefined;
  }
}

/** The kernel's USER_HZ, which is the same on every architecture that weft runs on. */
const TICKS_A_SECOND = 100;

/** In milliseconds, of all programs that this process started and that have ended (proc_pid_stat(5)). */
export function childrenMs(proc = '/proc'): number | undefined {
  try {
    const text = fs.readFileSync(`${proc}/self/stat`, 'utf8');
    // A name may hold blanks and brackets: the fields begin behind its last one.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const [user, system] = [Number(fields[13]), Number(fields[14])];
    return Number.isNaN(user + system) ? undefined : ((user + system) * 1000) / TICKS_A_SECOND;
  } catch {
    return undefined;
  }
}
