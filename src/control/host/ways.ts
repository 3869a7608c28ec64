/**
 * Which way packets of ours take to other hosts, as the kernel's routes have it just now: the
 * device, and the longest packet that the route and the device let through.
 *
 * An MTU that the kernel learnt from ICMP stands in the same place as that of the route, beside a
 * time of expiry. ICMP can be forged, so such a route is looked up anew without what was learnt.
 */
import type { Ip } from './ip.js';

/** Where packets for an address leave, and how long they may be. */
export interface Way {
  readonly device: string;
  readonly mtu: number;
  /** Whose MTU that is. */
  readonly from: 'route' | 'device';
}

/** The way to each address, or why there is none in a clause: `no route leads there`. */
export type Ways = ReadonlyMap<string, Way | string>;

export interface WaysOptions {
  /** Dotted: what weft's packets come from, which may choose the route. */
  readonly source: string;
  /** weft's own device: a way through it is none. */
  readonly tunnel: string;
  /** The VRF whose routes count. */
  readonly vrf?: string | undefined;
}

interface Row {
  type?: string;
  dev?: string;
  expires?: number;
  metrics?: { mtu?: number }[];
}

/** `addresses` are dotted, each one once. Rejects with a HostError when `ip` cannot tell. */
export async function findWays(
  ip: Pick<Ip, 'queryAll' | 'restart'>,
  addresses: readonly string[],
  { source, tunnel, vrf }: WaysOptions,
): Promise<Ways> {
  const behind = `from ${source}${vrf === undefined ? '' : ` vrf ${vrf}`}`;
  const lineOf = (address: string): string => `route get ${address} ${behind}`;
  const plainOf = (address: string): string => `route get fibmatch ${address} ${behind}`;
  const answers = await ip.queryAll(addresses.map(lineOf));
  const rows = new Map(addresses.map((address) => [address, rowOf(answers.get(lineOf(address)))]));

  const learnt = addresses.filter((address) => isLearnt(rows.get(address)));
  const plain = await ip.queryAll(learnt.map(plainOf));
  const devices = await findMtus(ip, [...rows.values()]);
  const ways = new Map<string, Way | string>();
  for (const [address, row] of rows) {
    const counts = isLearnt(row) ? rowOf(plain.get(plainOf(address))) : row;
    const mtu = typeof counts === 'string' ? 0 : (counts.metrics?.[0]?.mtu ?? 0);
    ways.set(address, typeof row === 'string' ? row : wayOf(row, mtu, devices, tunnel));
  }
  return ways;
}

/** `mtu` is the route's own; 0: none. */
function wayOf(
  row: Row,
  mtu: number,
  devices: ReadonlyMap<string, number>,
  tunnel: string,
): Way | string {
  const problem = problemOf(row, tunnel);
  if (problem !== '') return problem;
  const device = row.dev ?? '';
  const own = devices.get(device);
  if (own === undefined) return `its route leads to ${device}, which cannot be looked at`;
  return mtu > 0 && mtu < own
    ? { device, mtu, from: 'route' }
    : { device, mtu: own, from: 'device' };
}

/** The MTU of each device in these rows. */
async function findMtus(
  ip: Pick<Ip, 'queryAll' | 'restart'>,
  rows: readonly (Row | string)[],
): Promise<ReadonlyMap<string, number>> {
  const names = new Set(rows.flatMap((row) => (typeof row === 'string' ? [] : (row.dev ?? []))));
  // Not `link show`: after that one the running `ip` hides the addresses of links.
  const lineOf = (name: string): string => `addr show dev ${name}`;
  const answers = await ip.queryAll([...names].map(lineOf));
  const mtus = new Map<string, number>();
  let stale = false;
  for (const name of names) {
    const answer = answers.get(lineOf(name));
    // Old versions of `ip` print an empty object for what they leave out.
    const links = typeof answer === 'string' || answer === undefined ? [] : answer;
    const found = (links as { ifname?: string; mtu?: number }[]).find((l) => l.ifname === name);
    if (found?.mtu === undefined) stale = true;
    else mtus.set(name, found.mtu);
  }
  // The running `ip` knows a device by a name that it has no more: the next look is by a new one.
  if (stale) ip.restart();
  return mtus;
}

function rowOf(answer: unknown[] | string | undefined): Row | string {
  if (typeof answer === 'string') return refusal(answer);
  return (answer?.[0] as Row | undefined) ?? 'no route leads there';
}

/** The kernel answers each kind of route that throws packets away by an errno of its own. */
function refusal(words: string): string {
  if (/Network is unreachable/.test(words)) return 'no route leads there';
  if (/No route to host/.test(words)) return 'an unreachable route forbids it';
  if (/Permission denied/.test(words)) return 'a prohibit route forbids it';
  if (/Invalid argument/.test(words)) return 'a blackhole route throws its packets away';
  return words;
}

function problemOf({ type, dev }: Row, tunnel: string): string {
  if (type === 'local') return 'it is an address of this host';
  if (type !== undefined && type !== 'unicast') return `it is a ${type} address here`;
  return dev === tunnel ? `its route leads into ${tunnel}, the tunnel itself` : '';
}

function isLearnt(row: Row | string | undefined): boolean {
  return typeof row === 'object' && row.expires !== undefined;
}
