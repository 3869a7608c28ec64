/** IPv4 addresses of this host, and which of an interface's flannel takes. */
import type { Ip } from './ip.js';

export interface Address {
  /** Dotted text. */
  address: string;
  /**
   * Whether it is one without a network, as keepalived and its like put beside the host's own and
   * take to another host.
   */
  floating: boolean;
  /** Deprecated, dynamic (from DHCP) and secondary count against an address; see `usableAddresses`. */
  deprecated: boolean;
  dynamic: boolean;
  secondary: boolean;
}

/** An address with its network's prefix length. */
export interface LocalAddress {
  /** Dotted text. */
  address: string;
  length: number;
  device: string;
}

/** All IPv4 addresses of this host, asked of the running `ip`: links without one cost nothing. Rejects with a HostError. */
export async function listAddresses(ip: Ip): Promise<LocalAddress[]> {
  const rows = (await ip.query('addr show to 0.0.0.0/0')) as {
    ifname: string;
    addr_info?: AddressInfo[];
  }[];
  return rows.flatMap(({ ifname: device, addr_info = [] }) =>
    addr_info.flatMap(({ family, local: address, prefixlen: length = 32 }) =>
      family === 'inet' && address !== undefined ? [{ address, length, device }] : [],
    ),
  );
}

/** What `ip -j addr show` says of an address, as far as it is read here. */
export interface AddressInfo {
  family?: string;
  local?: string;
  /** The other end's, on a point-to-point link. */
  address?: string;
  prefixlen?: number;
  deprecated?: boolean;
  tentative?: boolean;
  dynamic?: boolean;
  secondary?: boolean;
}

/** Nothing for one that is not of IPv4. */
export function readAddress(info: AddressInfo): Address[] {
  if (info.family !== 'inet' || info.local === undefined) return [];
  return [
    {
      address: info.local,
      floating: info.prefixlen === 32 && info.address === undefined,
      // A tentative one may turn out to be another host's.
      deprecated: info.deprecated === true || info.tentative === true,
      dynamic: info.dynamic === true,
      secondary: info.secondary === true,
    },
  ];
}

/** Whether a host gave itself the address for want of another (RFC 3927). */
export function isLinkLocal(address: string): boolean {
  return address.startsWith('169.254.');
}

/**
 * The addresses that may be taken, the best first: `leased`, which the other hosts know already; then
 * as flannel does it, unicast and not deprecated, global before link-local, permanent before
 * dynamic, primary before secondary; but a floating one behind those that have a network. The
 * kernel's order decides the rest.
 */
export function usableAddresses(addresses: readonly Address[], leased?: string): Address[] {
  const usable = addresses.filter((one) => !one.deprecated && isUnicast(one.address));
  const rank = (one: Address) =>
    (one.address === leased ? -16 : 0) +
    (isLinkLocal(one.address) ? 8 : 0) +
    (one.floating ? 4 : 0) +
    (one.dynamic ? 2 : 0) +
    (one.secondary ? 1 : 0);
  return usable.sort((a, b) => rank(a) - rank(b));
}

function isUnicast(address: string): boolean {
  const first = Number(address.split('.')[0]);
  return first > 0 && first < 224 && first !== 127;
}
