/**
 * The kernel settings weft needs, which is one: `net.ipv4.ip_forward`, to pass packets between
 * containers and the TUN. flannel leaves it to Docker; a host may have no Docker.
 *
 * `rp_filter` needs nothing: with one route per remote subnet, the source of every inner packet
 * from a known peer (its containers, and its `.0` address) is routed back to the TUN, which is
 * what the strict check asks for.
 */
import fs from 'node:fs';
import { errnoOf, HostError, textOf } from './errors.js';
import type { Journal } from './journal.js';

const FORWARD = 'net/ipv4/ip_forward';

/**
 * Switches IPv4 forwarding on if it is off, the old value journalled first. Returns whether it
 * was off. Throws a HostError that says how to do it by hand when it cannot be written.
 */
export function ensureForwarding(journal: Pick<Journal, 'record'>, proc = '/proc'): boolean {
  const file = `${proc}/sys/${FORWARD}`;
  try {
    const old = fs.readFileSync(file, 'utf8').trim();
    if (old !== '0') return false;
    journal.record({ kind: 'sysctl', path: FORWARD, old, wrote: '1' });
    fs.writeFileSync(file, '1\n', { flag: 'r+' });
    return true;
  } catch (error) {
    if (error instanceof HostError) throw error;
    throw new HostError(
      errnoOf(error) || 'EIO',
      `cannot switch IPv4 forwarding on (${textOf(error)}); run on the host: ` +
        'sysctl -w net.ipv4.ip_forward=1',
    );
  }
}
