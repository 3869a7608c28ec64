/**
 * One kernel route as weft makes it, in the main table:
 *
 *     10.5.72.0/24 dev flannel.1 proto boot scope link           into the tunnel
 *     10.5.72.0/24 via 192.168.64.4 dev eth0 proto boot          by the peer's own address
 *     blackhole 10.5.52.0/24 proto boot metric 4294967295        for our own subnet
 *
 * The first two are in flannel's place and have its metric, 0, so that one replaces the other and
 * there is no moment without a route. flannel writes `via 10.5.72.0 dev flannel.1 onlink`, because
 * its device is an Ethernet one and the gateway is what the neighbour entry with the VTEP's MAC
 * hangs on. A TUN is point-to-point and has no neighbours (the kernel keeps a single entry for the
 * whole device), so `via … onlink` would add nothing, and is left out.
 *
 * "In flannel's form" is what flanneld leaves behind, and weft when it used another backend or VNI:
 *
 *     10.5.72.0/24 via 192.168.64.4 dev eth0                     host-gw, by the underlay
 *     10.5.72.0/24 via 10.5.72.0 dev flannel.1 onlink            vxlan
 *
 * The blackhole has the weakest metric there is. flannel's has 0, the same as the route of
 * docker0, which the kernel then puts behind it: whatever is for a container is thrown away.
 */
import type { Ip } from './ip.js';
import { contains, formatAddress, parsePrefix } from './ipv4.js';

export interface Route {
  /** `10.5.72.0/24`. */
  readonly subnet: string;
  /** `flannel.1`, `eth0`; null for a blackhole. */
  readonly device: string | null;
  /** Dotted; null into the tunnel. */
  readonly via: string | null;
}

const WEAKEST_METRIC = 0xffff_ffff;

export function blackhole(subnet: string): Route {
  return { subnet, device: null, via: null };
}

/** What the kernel holds one of: a later one of the same key takes the place of the earlier. */
export function keyOf({ subnet, device }: Route): string {
  return device === null ? `blackhole ${subnet}` : subnet;
}

export function sameRoute(a: Route, b: Route): boolean {
  return a.subnet === b.subnet && a.device === b.device && a.via === b.via;
}

/** What `ip route del` needs to remove just this one. */
export function nameOf({ subnet, device, via }: Route): string {
  if (device === null) return `blackhole ${subnet} proto boot metric ${WEAKEST_METRIC}`;
  const gateway = via === null ? '' : `via ${via} `;
  return `${subnet} ${gateway}dev ${device} proto boot metric 0`;
}

/** The subnet of a name. */
export function subnetIn(name: string): string {
  const [first = '', second = ''] = name.split(' ');
  return first === 'blackhole' ? second : first;
}

/** The device of a name; null for a blackhole. */
export function deviceIn(name: string): string | null {
  return / dev (\S+)/.exec(name)?.[1] ?? null;
}

/**
 * The line for `ip` that makes it; with `replaces`, in the place of what has its key, else refused
 * where there is something. There is nothing that a blackhole could displace.
 */
export function makingLine(route: Route, replaces: boolean): string {
  const { subnet, device, via } = route;
  if (device === null) return `route replace ${nameOf(route)}`;
  const verb = replaces ? 'replace' : 'add';
  if (via === null) return `route ${verb} ${subnet} dev ${device} proto boot scope link`;
  return `route ${verb} ${subnet} via ${via} dev ${device} proto boot`;
}

export function removingLine(route: Route): string {
  return `route del ${nameOf(route)}`;
}

/** A row of `ip -j route show`, as far as it is read here; what is the default is left out there. */
export interface Row {
  dst: string;
  dev?: string;
  gateway?: string;
  scope?: string;
  protocol?: string;
  type?: string;
  metric?: number;
  nexthops?: readonly { dev?: string; gateway?: string }[];
}

/** A route in the kernel that weft may have made, by its form. */
export interface Found {
  readonly route: Route;
  /** Whether the rest of it is just as weft writes it, too. */
  readonly exact: boolean;
}

/** Null for a route that weft never makes: of another protocol, type or metric, or a multipath one. */
export function readRow({ dst, dev, gateway, scope, protocol, type, metric }: Row): Found | null {
  const subnet = dst.includes('/') ? dst : `${dst}/32`;
  if (protocol !== undefined) return null;
  if (type === 'blackhole' && metric === WEAKEST_METRIC) {
    return { route: blackhole(subnet), exact: true };
  }
  if (type !== undefined || metric !== undefined || dev === undefined) return null;
  const via = gateway ?? null;
  // A route with a gateway has scope global, which `ip -j` leaves out.
  return { route: { subnet, device: dev, via }, exact: via !== null || scope === 'link' };
}

/** Whether flannel makes routes like that. `uplink`: the underlay interface. */
export function isOfFlannel({ subnet, device, via }: Route, uplink: string | null): boolean {
  if (via === null || device === null) return false;
  if (device === uplink) return true;
  return /^flannel\.\d+$/.test(device) && subnet.startsWith(`${via}/`);
}

/** As `ip` takes it: behind `ip route del`, it removes just this one. */
export function describeRow(row: Row): string {
  const { type, dst, gateway, dev, nexthops = [], protocol = 'boot', metric = 0 } = row;
  const word = (name: string, value?: string) => (value === undefined ? '' : ` ${name} ${value}`);
  const way = (via?: string, device?: string) => word('via', via) + word('dev', device);
  const hops = nexthops.map((hop) => ` nexthop${way(hop.gateway, hop.dev)}`).join('');
  const where = `${dst}${way(gateway, dev)}${hops} proto ${protocol} metric ${metric}`;
  return type === undefined ? where : `${type} ${where}`;
}

/** The route of metric 0 to just this subnet, which is in the main table. Rejects as `Ip` does. */
export async function findRoute(ip: Pick<Ip, 'query'>, subnet: string): Promise<Row | undefined> {
  // Mostly it is the one that counts there, which costs one look-up. All routes may be a quarter of
  // a million, and `ip` looks through them for this one.
  const first = ((parsePrefix(subnet)?.network ?? 0) | 1) >>> 0;
  const counts = ip.query(`route get fibmatch ${formatAddress(first)}`) as Promise<Row[]>;
  const [row] = await counts.catch(() => []);
  if (row?.dst === subnet && row.metric === undefined) return row;
  const rows = (await ip.query(`route show table main exact ${subnet}`)) as Row[];
  return rows.find(({ metric }) => metric === undefined);
}

/** Whether a route in a journal, by its name, is one of this network. */
export function routesInside(network: string): (name: string) => boolean {
  const outer = parsePrefix(network);
  return (name) => {
    const prefix = parsePrefix(subnetIn(name));
    return outer !== null && prefix !== null && contains(outer, prefix);
  };
}
