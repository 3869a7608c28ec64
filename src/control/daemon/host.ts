/** What both backends do to the host, each with a word in the log and a place in the journal. */
import type { Journal } from '../host/journal.js';
import { ensureForwarding } from '../host/sysctls.js';
import { formatSubnetEnv, type SubnetEnv, writeSubnetEnv } from '../overlay/subnet-env.js';
import type { Log } from '../runtime.js';
import { messageOf } from '../store/store.js';

/** Without it nothing passes between hosts and containers; in a sandbox it may be set already. */
export function switchForwardingOn(journal: Journal, log: Log): void {
  try {
    if (ensureForwarding(journal)) log.info('switched IPv4 forwarding on');
  } catch (error) {
    log.warn(messageOf(error));
  }
}

/** Returns whether it was written: packets matter more, so it is only warned of. */
export function writeSubnetFile(file: string, env: SubnetEnv, journal: Journal, log: Log): boolean {
  try {
    journal.record({ kind: 'file', path: file, wrote: formatSubnetEnv(env) });
    writeSubnetEnv(file, env);
    log.info(`wrote ${file}`);
    return true;
  } catch (error) {
    log.warn(`cannot write ${file}: ${messageOf(error)}; Docker and CNI will miss it`);
    return false;
  }
}
