/** How many descriptors this process may still open. */
import fs from 'node:fs';

/** Kept for what comes and goes: the store's connections, programs that are asked, status clients. */
const RESERVE = 48;

/**
 * What is left of RLIMIT_NOFILE beyond a reserve, 0 at least; 0 too where the limit cannot be read.
 * `proc` is where the process's folder lies.
 */
export function spareDescriptors(proc = '/proc/self'): number {
  try {
    const limits = fs.readFileSync(`${proc}/limits`, 'utf8');
    // Max open files            1024                 524288               files
    const [, soft = '0'] = /^Max open files\s+(\S+)/m.exec(limits) ?? [];
    const limit = soft === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(soft);
    return Math.max(0, limit - fs.readdirSync(`${proc}/fd`).length - RESERVE);
  } catch {
    return 0;
  }
}
