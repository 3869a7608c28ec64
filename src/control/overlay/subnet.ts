/** IPv4 subnets, and the names under which flannel keeps them in the store. */
import { formatAddress, parseAddress } from '../../dataplane/wire/ipv4.js';

export interface Subnet {
  /** The network address as int32; the bits below the prefix are zero. */
  readonly address: number;
  /** Prefix length, 0 to 32. */
  readonly length: number;
}

/** How many addresses a prefix of this length has. */
export function sizeOf(length: number): number {
  return 2 ** (32 - length);
}

/** The network that an address lies in. */
export function subnetOf(address: number, length: number): Subnet {
  return { address: address & maskOf(length), length };
}

/** `10.5.52.7/24` as the subnet 10.5.52.0/24; undefined if it is no IPv4 prefix. */
export function parseSubnet(text: string): Subnet | undefined {
  const [, quad = '', digits = ''] = /^([0-9.]+)\/([0-9]{1,2})$/.exec(text) ?? [];
  const address = parseAddress(quad);
  const length = Number(digits);
  return address === undefined || length > 32 ? undefined : subnetOf(address, length);
}

export function formatSubnet({ address, length }: Subnet): string {
  return `${formatAddress(address)}/${length}`;
}

export function sameSubnet(a: Subnet, b: Subnet): boolean {
  return a.address === b.address && a.length === b.length;
}

export function contains(outer: Subnet, address: number): boolean {
  return ((address ^ outer.address) & maskOf(outer.length)) === 0;
}

export function overlaps(a: Subnet, b: Subnet): boolean {
  const shorter = a.length < b.length ? a : b;
  return contains(shorter, shorter === a ? b.address : a.address);
}

/** The key of a subnet: `10.5.52.0-24`. */
export function keyOf({ address, length }: Subnet): string {
  return `${formatAddress(address)}-${length}`;
}

export interface SubnetKey {
  readonly subnet: Subnet;
  /** The IPv6 half of a dual-stack key (`10.5.52.0-24&2001:db8:42:5::-64`). */
  readonly ipv6: string | undefined;
}

/**
 * Reads a key as flannel does: an IPv4 subnet at any place, perhaps an IPv6 one behind it, and
 * then the end. Undefined if it names no subnet; flannel has 5 bits for the IPv4 prefix
 * length and 7 for the other, so `-32` and `-128` name none either.
 */
export function parseKey(key: string): SubnetKey | undefined {
  const found = /(\d+\.\d+\.\d+\.\d+)-(\d+)(?:&([a-f\d:]+)-(\d+))?$/.exec(key);
  if (found === null) return undefined;
  const [, quad = '', digits = '', ipv6, digits6] = found;
  const address = parseAddress(quad);
  const length = Number(digits);
  if (address === undefined || length > 31 || Number(digits6 ?? 0) > 127) return undefined;
  return { subnet: subnetOf(address, length), ipv6: ipv6 && `${ipv6}/${digits6}` };
}

function maskOf(length: number): number {
  return length === 0 ? 0 : -1 << (32 - length);
}
