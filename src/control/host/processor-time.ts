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
