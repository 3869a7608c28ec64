/** Peers that nothing can be sent to, for `status` and the log. */
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import type { Path } from './path.js';

/** More peers than this with one reason share a line. */
const TOLD_ONE_BY_ONE = 5;

/** A line for each peer without a way, or one for many that have the same reason. */
export function faultLines(
  paths: readonly { readonly address: number; readonly way: Path['way'] }[],
): string[] {
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
      return [`nothing can be sent to ${count}: ${reason} (see: ip route get ${first})`];
    }
    return addresses.map((address) => {
      const look = `(see: ip route get ${address})`;
      return `nothing can be sent to the peer ${address}: ${reason} ${look}`;
    });
  });
}
