/** The kernel's VXLAN devices in this network namespace. */
import { rowsOf } from './ip-rows.js';
import type { Runner } from './runner.js';

export interface Vxlan {
  name: string;
  vni: number;
  /** UDP, where it listens while it is up. All devices on one port share one socket. */
  port: number;
  up: boolean;
  /** Lower case, with colons; empty if `ip` does not tell. */
  mac: string;
  /** Whether its underlay is IPv6: then it leaves the port to IPv4. */
  ipv6: boolean;
}

/** Empty where the kernel has no VXLAN. Rejects with a HostError when there is no `ip`. */
export async function listVxlans(runner: Runner): Promise<Vxlan[]> {
  const argv = ['ip', '-j', '-d', 'link', 'show', 'type', 'vxlan'];
  const ran = await runner.run(argv);
  const rows = (ran.code === 0 ? rowsOf(argv, ran) : []) as Row[];
  return rows.flatMap(({ ifname, flags, address = '', linkinfo }) => {
    const { id, port, local6, group6, remote6 } = linkinfo?.info_data ?? {};
    // Old versions of `ip` print an empty object for each link they leave out.
    if (ifname === undefined) return [];
    return {
      name: ifname,
      vni: id ?? -1,
      port: port ?? -1,
      up: flags?.includes('UP') ?? false,
      mac: address,
      ipv6: (local6 ?? group6 ?? remote6) !== undefined,
    };
  });
}

/** A row of `ip -j -d link show`, as far as it is read here. */
interface Row {
  ifname?: string;
  flags?: string[];
  address?: string;
  linkinfo?: {
    info_data?: { id?: number; port?: number; local6?: string; group6?: string; remote6?: string };
  };
}
