/** Peers that nothing can be sent to, for `status` and the log. */
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import type { Fault } from '../runtime.js';
import type { Path } from './path.js';

/** More peers than this with one reason share a line. */
const TOLD_ONE_BY_ONE = 5;

/** A fault for each peer without a way, or one for many that have the same reason. */
export function faultsOf(
  paths: readonly { readonly address: number; readonly way: Path['way'] }[],
): Fault[] {
  const byReason = new Map<string, string[]>();
  for (const { address, way } of paths) {
    if (typeof way !== 'string') continue;
    const addresses = byReason.get(way) ?? [];
    byReason.set(way, addresses);
    addresses.push(formatAddress(address));
  }
  return [...byReason].flatMap(([reason, addresses]) => {
    const [first = ''] = addresses;
    if (addresses.length > TOLD_ONE_BY_ONE) {
      const count = `${addresses.length} peers, ${first} among them`;
      const text = `nothing can be sent to ${count}: ${reason}`;
      return [{ about: `peers like ${first}`, text, cure: look(first) }];
    }
    return addresses.map((address) => ({
      about: `peer ${address}`,
      text: `nothing can be sent to the peer ${address}: ${reason}`,
      cure: look(address),
    }));
  });
}

function look(address: string): string {
  return `ip route get ${address}   (says by which rule or route; mend or remove that)`;
}
