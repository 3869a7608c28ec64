/** Which devices of this host its containers are behind. */
import type { Ask } from './ask-ip.js';
import { HostError } from './errors.js';
import { rowsOf } from './ip-rows.js';
import type { Runner } from './runner.js';

/** Names that a rule can hold, and that mean one device there. */
const PLAIN = /^[^\s"\\+]+$/;

/**
 * The names of the devices that have an address in `subnet` (`10.5.52.0/24`), but for `tunnel`,
 * which always has one, and loopback. Throws a HostError when `ip` cannot tell.
 */
export async function bridgesOf(runner: Runner, subnet: string, tunnel: string): Promise<string[]> {
  const argv = ['ip', '-j', '-4', 'addr', 'show', 'to', subnet];
  const rows = rowsOf(argv, await runner.run(argv));
  return bridgesIn(rows, tunnel).filter((name) => PLAIN.test(name));
}

/** The same by `ask`. */
export async function bridgesTold(ask: Ask, subnet: string, tunnel: string): Promise<string[]> {
  const line = `addr show to ${subnet}`;
  const rows = (await ask([line])).get(line) ?? [];
  if (typeof rows === 'string') throw new HostError('EIP', `ip ${line}: ${rows}`);
  return bridgesIn(rows, tunnel).filter((name) => PLAIN.test(name));
}

/** The same from the rows of that listing, whatever their names. */
export function bridgesIn(rows: readonly unknown[], tunnel: string | undefined): string[] {
  const links = rows as readonly { ifname?: string; flags?: string[] }[];
  const names = links.flatMap(({ ifname, flags }) => {
    // Old versions of `ip` print an empty object for what they leave out.
    return ifname === undefined || flags?.includes('LOOPBACK') === true ? [] : [ifname];
  });
  return names.filter((name) => name !== tunnel).sort();
}
