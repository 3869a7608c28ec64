/** Which subnets are to have a route, read from what the overlay tells. */
import { formatPrefix, type Prefix, parseAddress, parsePrefix } from './ipv4.js';

/** A remote subnet, and the address of its host. */
export interface Behind {
  readonly subnet: string;
  /** Dotted. */
  readonly host: string;
}

export interface Desired {
  readonly prefix: Prefix;
  /** Null: by the tunnel, wherever the host is. */
  readonly host: string | null;
}

/** By subnet, and a sentence for each that is none; `before` is what the last call gave. */
export function readDesired(
  subnets: Iterable<string | Behind>,
  before: ReadonlyMap<string, Desired>,
): { desired: Map<string, Desired>; refused: string[] } {
  const desired = new Map<string, Desired>();
  const refused: string[] = [];
  for (const one of subnets) {
    const [text, host] = typeof one === 'string' ? [one, null] : [one.subnet, one.host];
    // Most were there before: that look saves most of the time of a change among thousands.
    const known = before.get(text);
    if (known?.host === host) {
      desired.set(text, known);
      continue;
    }
    const prefix = parsePrefix(text);
    if (prefix === null || prefix.length === 0) {
      refused.push(`no route to ${JSON.stringify(text)}: that is not a subnet`);
    } else if (host !== null && parseAddress(host) === null) {
      refused.push(`no route to ${text}: ${JSON.stringify(host)} is not an address`);
    } else {
      desired.set(formatPrefix(prefix), { prefix, host });
    }
  }
  return { desired, refused };
}
