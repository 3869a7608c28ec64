/**
 * Tells this host from all others, and from itself before a reboot: the kernel's boot id (`random(4)`)
 * and the network namespace. A clone of a machine has booted by itself, and a container beside
 * another has a namespace of its own, whatever else was copied. Undefined where neither is told.
 */
import fs from 'node:fs';
import path from 'node:path';

/** `<boot id> net:[4026531840]`. */
export function readHostId(proc: string): string | undefined {
  try {
    const boot = fs.readFileSync(path.join(proc, 'sys/kernel/random/boot_id'), 'utf8').trim();
    return `${boot} ${fs.readlinkSync(path.join(proc, 'self/ns/net'))}`;
  } catch {
    return undefined;
  }
}

/** Whether two of them are of one kernel that was not started anew in between. */
export function sameBoot(one: string, other: string): boolean {
  return one.split(' ')[0] === other.split(' ')[0];
}

/**
 * The number of its network namespace; empty where it has none. The kernel gives the number of a
 * namespace that is gone to a new one, within a boot.
 */
export function namespaceNumber(hostId: string): string {
  return /net:\[(\d+)\]$/.exec(hostId)?.[1] ?? '';
}
