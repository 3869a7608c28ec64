/** Whether hosts are on the underlay interface's own network, so that a route may lead to them. */
import { textOf } from './errors.js';
import type { Ip } from './ip.js';

/** A row of `ip -j route get`, as far as it is read here; `via` is a gateway of IPv6. */
interface Way {
  type?: string;
  dev?: string;
  gateway?: string;
  via?: object;
}

/**
 * flannel's question: whether the route to a host has no gateway; and leads by the underlay. Rejects
 * as `Ip` does.
 */
export async function isNear(
  ip: Pick<Ip, 'query'>,
  host: string,
  underlay: string,
): Promise<boolean> {
  try {
    const [way] = (await ip.query(`route get ${host}`)) as Way[];
    if (way === undefined || way.type !== undefined) return false;
    return way.dev === underlay && way.gateway === undefined && way.via === undefined;
  } catch (error) {
    // That is the kernel's word: there is no route at all.
    if (textOf(error).includes('RTNETLINK answers')) return false;
    throw error;
  }
}
