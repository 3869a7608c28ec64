/**
 * How large a packet may be that leaves by the underlay: no larger than its device takes, nor than
 * the routes there say, as in front of a network that is smaller than the card.
 *
 * An address on `lo` or on a dummy is reached by other devices, so the MTU is that of the default
 * route, else of the smallest device that could be meant.
 */
import type { Interface } from './interfaces.js';
import type { Ip } from './ip.js';
import { contains, type Prefix, parsePrefix } from './ipv4.js';

/** What IPv4 networks carry as a rule, for a host of which nothing is known. */
const USUAL = 1500;

/**
 * The MTU. `network` is the overlay's: devices inside it belong to
 * containers. Rejects with a HostError when `ip` cannot tell.
 */
export async function underlayMtu(
  ip: Ip,
  underlay: Pick<Interface, 'name' | 'mtu' | 'vrf'>,
  network: string,
): Promise<number> {
  const { name, vrf } = underlay;
  const table = vrf === undefined ? 'table main' : `vrf ${vrf}`;
  if (!(await isHollow(ip, name))) {
    // By the device alone, which the kernel does: all routes may be a quarter of a million.
    const own = (await ip.query(`route show ${table} dev ${name}`)) as RouteRow[];
    const counting = own.filter(({ dst, scope }) => dst === 'default' || scope === 'link');
    return Math.min(underlay.mtu, ...counting.map(mtuOf));
  }
  const defaults = (await ip.query(`route show ${table} default`)) as RouteRow[];
  const links = (await ip.query('addr show to 0.0.0.0/0')) as LinkRow[];
  const route = defaults.find((one) => devicesOf(one).length > 0);
  const [of = ''] = route === undefined ? [] : devicesOf(route);
  const link = links.find(({ ifname }) => ifname === of);
  if (route !== undefined && link !== undefined) return Math.min(link.mtu, mtuOf(route));
  const hollow = await dummies(ip);
  const usable = links.filter((one) => {
    return !hollow.includes(one.ifname) && canBeMeant(one, parsePrefix(network));
  });
  return Math.min(...(usable.length === 0 ? [USUAL, underlay.mtu] : usable.map(({ mtu }) => mtu)));
}

/** Whether packets to an address there never leave by the device itself. */
async function isHollow(ip: Ip, name: string): Promise<boolean> {
  const rows = (await ip.query(`addr show dev ${name}`)) as LinkRow[];
  const row = rows.find(({ ifname }) => ifname === name);
  const { flags = [] } = row ?? {};
  // All dummies have the second of them, and few others.
  if (flags.includes('LOOPBACK') || !flags.includes('NOARP')) return flags.includes('LOOPBACK');
  return (await dummies(ip)).includes(name);
}

async function dummies(ip: Ip): Promise<string[]> {
  const rows = (await ip.query('addr show type dummy')) as LinkRow[];
  // What is not of this type is an empty object.
  return rows.flatMap(({ ifname }) => ifname ?? []);
}

function canBeMeant({ flags, addr_info = [] }: LinkRow, overlay: Prefix | null): boolean {
  if (flags?.includes('UP') !== true || flags.includes('LOOPBACK')) return false;
  const own = addr_info.filter(({ family }) => family === 'inet');
  return own.length > 0 && !own.some(({ local }) => isInside(local, overlay));
}

function isInside(address: string | undefined, overlay: Prefix | null): boolean {
  const host = parsePrefix(address ?? '');
  return host !== null && overlay !== null && contains(overlay, host);
}

function devicesOf({ dev, nexthops = [] }: RouteRow): string[] {
  return [dev, ...nexthops.map((hop) => hop.dev)].flatMap((name) => name ?? []);
}

function mtuOf({ metrics = [] }: RouteRow): number {
  return Math.min(...metrics.map(({ mtu }) => mtu || Number.POSITIVE_INFINITY));
}

/** Of `ip -j addr show`; what is left out is an empty object. */
interface LinkRow {
  ifname: string;
  mtu: number;
  flags?: string[];
  addr_info?: { family?: string; local?: string }[];
}

interface RouteRow {
  dst?: string;
  scope?: string;
  dev?: string;
  nexthops?: { dev?: string }[];
  metrics?: { mtu?: number }[];
}
