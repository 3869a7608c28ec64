/** IPv4 forwarding of the host, as a member of the loop. */
import type { Journal } from '../host/journal.js';
import { ensureForwarding } from '../host/sysctls.js';
import type { Member } from './reconcile.js';

/** Without it nothing passes between hosts and containers; in a sandbox it may be set already. */
export function forwarding(journal: Pick<Journal, 'record'>, proc: string): Member {
  return {
    name: 'IPv4 forwarding',
    async reconcile() {
      return ensureForwarding(journal, proc) ? ['switched IPv4 forwarding on'] : [];
    },
  };
}
