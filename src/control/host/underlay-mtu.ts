/**
 * How large a packet may be that leaves by the underlay: no larger than its device takes, nor than
 * the routes there say, as in front of a network that is smaller than the card.
 *
 * An address on `lo` or on a dummy is reached by other devices, so the MTU is that of the default
 * route, else of the smallest device that could be meant.
 */
import { HostError } from './errors.js';
import type { Interface } from './interfaces.js';
import type { Ip } from './ip.js';
import { contains, formatAddress, type Prefix, parseAddress, parsePrefix } from './ipv4.js';

/** What IPv4 networks carry as a rule, for a host of which nothing is known. */
const USUAL = 1500;
/**
 * Addresses for which there is no route but the default one: nobody has them (class E, RFC 5737).
 * Some hosts throw packets for one or the other away, so there are three.
 */
const NOBODYS = ['255.0.0.1', '198.51.100.1', '203.0.113.1'];

/**
 * The MTU. `network` is the overlay's: devices inside it belong to containers. Rejects with a
 * HostError when `ip` cannot tell.
 *
 * Each route is asked for by an address that it leads to: a listing would have to be searched among
 * all routes of the device, which may be a quarter of a million.
 */
export async function underlayMtu(
  ip: Ip,
  underlay: Pick<Interface, 'name' | 'mtu' | 'vrf'>,
  network: string,
): Promise<number> {
  const { name, vrf } = underlay;
  const row = await rowOf(ip, name);
  const within = vrf === undefined ? '' : ` vrf ${vrf}`;
  if (!(await isHollow(ip, row))) {
    const by = vrf === undefined ? ` oif ${name}` : within;
    const found = await routesTo(ip, [...NOBODYS, ...neighbours(row)], by);
    const counting = found.filter((one) => {
      return devicesOf(one).includes(name) && (one.dst === 'default' || one.scope === 'link');
    });
    return Math.min(underlay.mtu, ...counting.map(mtuOf));
  }
  const defaults = await routesTo(ip, NOBODYS, within);
  const links = (await ip.query('addr show to 0.0.0.0/0')) as LinkRow[];
  const route = defaults.find((one) => one.dst === 'default' && devicesOf(one).length > 0);
  const [of = ''] = route === undefined ? [] : devicesOf(route);
  const link = links.find(({ ifname }) => ifname === of);
  if (route !== undefined && link !== undefined) return Math.min(link.mtu, mtuOf(route));
  const hollow = await dummies(ip);
  const usable = links.filter((one) => {
    return !hollow.includes(one.ifname) && canBeMeant(one, parsePrefix(network));
  });
  return Math.min(...(usable.length === 0 ? [USUAL, underlay.mtu] : usable.map(({ mtu }) => mtu)));
}

/** The route to each of these, as it stands in the table; none for what no route leads to. */
async function routesTo(ip: Ip, addresses: readonly string[], by: string): Promise<RouteRow[]> {
  const lines = addresses.map((address) => `route get fibmatch ${address}${by}`);
  const answers = await ip.queryAll(lines);
  return lines.flatMap((line) => {
    const answer = answers.get(line) ?? [];
    if (typeof answer !== 'string') return answer as RouteRow[];
    // That is the kernel's word, of a route that throws packets away too.
    if (answer.includes('RTNETLINK answers')) return [];
    throw new HostError('EIP', `ip ${line}: ${answer}`);
  });
}

/** Another address of each network that the device is in. */
function neighbours({ addr_info = [] }: LinkRow): string[] {
  return addr_info.flatMap(({ family, local = '', prefixlen = 32, address: peer }) => {
    const own = parseAddress(local);
    if (family !== 'inet' || own === null) return [];
    if (peer !== undefined) return [peer];
    // Of a network of two the other, of a larger one neither our own nor its number.
    if (prefixlen > 30) return prefixlen === 31 ? [formatAddress((own ^ 1) >>> 0)] : [];
    return [formatAddress((own & 3) === 1 ? own + 1 : ((own & ~3) | 1) >>> 0)];
  });
}

async function rowOf(ip: Ip, name: string): Promise<LinkRow> {
  const rows = (await ip.query(`addr show dev ${name}`)) as LinkRow[];
  // Old versions of `ip` print an empty object for what they leave out.
  return rows.find(({ ifname }) => ifname === name) ?? { ifname: name, mtu: 0 };
}

/** Whether packets to an address there never leave by the device itself. */
async function isHollow(ip: Ip, { ifname, flags = [] }: LinkRow): Promise<boolean> {
  // All dummies have the second of them, and few others.
  if (flags.includes('LOOPBACK') || !flags.includes('NOARP')) return flags.includes('LOOPBACK');
  return (await dummies(ip)).includes(ifname);
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
  addr_info?: { family?: string; local?: string; prefixlen?: number; address?: string }[];
}

interface RouteRow {
  dst?: string;
  scope?: string;
  dev?: string;
  nexthops?: { dev?: string }[];
  metrics?: { mtu?: number }[];
}
