/**
 * Where this host's other networks and routes meet the overlay's: decided from the main table as
 * it is. What others own stays theirs, so nearly all of it is only named, each with the command that
 * would end it; weft removes what flannel's own form has, since that was left by an earlier run.
 *
 * A rule (`ip rule`) that leads packets elsewhere is not looked at.
 */
import type { Fault } from '../runtime.js';
import { quoted, quotedWords } from '../shell.js';
import { contains, formatPrefix, type Prefix, parsePrefix } from './ipv4.js';
import { describeRow, isOfFlannel, type Row, readRow } from './route.js';

/** What the overlay has; prefixes as `10.5.0.0/16`. */
export interface OverlayNetworks {
  readonly network: string;
  /** Our own subnet. */
  readonly own: string;
  /** weft's device; null: there is none. */
  readonly tunnel: string | null;
  /** The underlay interface. */
  readonly uplink: string;
  readonly peers: PeerSubnets;
}

/** Where two networks meet. */
export interface Clash extends Fault {
  /** Which of the overlay's packets are lost by it: none, those of some containers, all of ours. */
  readonly loses: 'none' | 'some' | 'all';
}

export interface Judged {
  /** Routes that an earlier run left and that do harm, as `ip route del` wants them. */
  readonly stale: readonly string[];
  readonly faults: readonly Clash[];
}

/** A network that a device of this host is in. */
interface Local {
  readonly prefix: Prefix;
  readonly text: string;
  readonly device: string;
}

/** The networks of this host's devices but for weft's: `rows` are all routes of protocol kernel. */
export function localNetworks(rows: readonly Row[], tunnel: string | null): Map<string, string> {
  const found = new Map<string, string>();
  for (const { dst, dev } of rows) {
    if (dev === undefined || dev === tunnel || dst === 'default') continue;
    const text = dst.includes('/') ? dst : `${dst}/32`;
    const before = found.get(text);
    found.set(text, before === undefined ? dev : `${before}, ${dev}`);
  }
  return found;
}

/** Judges the networks of this host, as `localNetworks` has them. */
export function judgeNetworks(
  networks: ReadonlyMap<string, string>,
  overlay: OverlayNetworks,
): Clash[] {
  const [all, own] = [parsePrefix(overlay.network), parsePrefix(overlay.own)];
  if (all === null || own === null) return [];
  return [...networks].flatMap(([text, device]) => {
    const prefix = parsePrefix(text);
    if (prefix === null) return [];
    const local = { prefix, text, device };
    const isUplinks = device.split(', ').includes(overlay.uplink);
    if (contains(own, prefix) && !isUplinks) return judgeInside(local, own);
    const peer = overlay.peers.around(prefix);
    if (peer !== undefined) return [judgeAtPeer(local, peer)];
    const covers =
      contains(prefix, all) || (contains(all, prefix) && overlay.peers.isAnyIn(prefix));
    const isUnderlay = isUplinks && contains(all, prefix);
    if (!covers && !contains(prefix, own) && !isUnderlay) return [];
    return [
      {
        about: `network ${text}`,
        text:
          `the network ${text} of ${device} overlaps the overlay's ${overlay.network}: those of ` +
          'its hosts that have an address of a leased subnet are not reached',
        cure: 'give one of the two another network',
        loses: 'none',
      },
    ];
  });
}

/** The containers' bridge is in our subnet, and it alone. */
function judgeInside({ prefix, text, device }: Local, own: Prefix): Clash[] {
  if (prefix.length !== own.length || !device.includes(', ')) return [];
  const [first, ...others] = device.split(', ');

  return [
    {
      about: `network ${text}`,
      text: `our subnet ${text} is the network of several devices (${device}): only the containers of one of them are reached`,
      cure: `take its address from all but one of them; if the containers are on ${first}: ${others
        .map((name) => `ip addr flush dev ${quoted(name)} to ${text}`)
        .join('; ')}`,
      loses: 'some',
    },
  ];
}

function judgeAtPeer({ text, device }: Local, { subnet, host }: PeerSubnet): Clash {
  const of = `the subnet ${subnet} of the peer ${host}`;
  return {
    about: `network ${text}`,
    text:
      text === subnet
        ? `${of} is the network of ${device} here, too, which keeps it: containers there are not reached`
        : `the network ${text} of ${device} is a part of ${of}: those containers there are not reached`,
    cure: `give ${device} another network`,
    loses: 'some',
  };
}

/** Judges all other routes inside the overlay's network; `networks` as `localNetworks` has them. */
export function judgeRoutes(
  rows: readonly Row[],
  networks: ReadonlyMap<string, string>,
  overlay: OverlayNetworks,
): Judged {
  const own = parsePrefix(overlay.own);
  const bridges = own === null ? [] : bridgesIn(own, networks);
  const metric = Math.min(
    ...rows.filter((row) => isOfBridge(row, overlay.own, bridges)).map(metricOf),
  );
  const stale: string[] = [];
  const faults: Clash[] = [];
  for (const row of rows) {
    const prefix = parsePrefix(row.dst);
    if (prefix === null || row.protocol === 'kernel' || isOurs(row, overlay)) continue;
    if (own !== null && contains(own, prefix)) {
      if (!leadsAway(row, prefix, { own, metric, bridges, uplink: overlay.uplink })) continue;
      if (isLeft(row, overlay)) stale.push(describeRow(row));
      else faults.push(describeAway(row, overlay));
      continue;
    }
    const peer = overlay.peers.around(prefix);
    // That of metric 0 to just the subnet is in the place of ours, or is ours.
    if (peer === undefined || (formatPrefix(prefix) === peer.subnet && metricOf(row) === 0))
      continue;
    faults.push(describeBeside(row, formatPrefix(prefix), peer));
  }
  return { stale, faults };
}

/** The route of somebody else that is in the place of ours to a peer's subnet. */
export function describeTaken(subnet: string, route: string, host: string): Clash {
  return {
    about: `subnet ${subnet}`,
    text:
      `no route to the subnet ${subnet} of the peer ${host}: another program's is in its place ` +
      `(${route})`,
    cure: unlessWanted(route),
    loses: 'some',
  };
}

/** An address of this host itself, without a network. */
export function describeAddress(address: string, device: string, peer: PeerSubnet): Clash {
  return {
    about: `address ${address}`,
    text:
      `the address ${address} of ${device} is in the subnet ${peer.subnet} of the peer ${peer.host}: ` +
      'whatever has it there is not reached',
    cure: `ip addr del ${address} dev ${quoted(device)}   (unless it is wanted)`,
    loses: 'some',
  };
}

/** A route of an earlier time to our own subnet that cannot be removed. */
export function describeKept(route: string, why: string): Clash {
  return {
    about: `route ${route}`,
    text: `the route ${route} leads our own subnet away from this host: ${why}`,
    cure: `ip route del ${quotedWords(route)}`,
    loses: 'all',
  };
}

function unlessWanted(route: string): string {
  return `ip route del ${quotedWords(route)}   (unless it is wanted)`;
}

interface Own {
  readonly own: Prefix;
  /** Of the bridge's own route; infinite while there is none. */
  readonly metric: number;
  readonly bridges: readonly string[];
  readonly uplink: string;
}

/** Whether packets for containers of this host do not get to them because of this route. */
function leadsAway(row: Row, prefix: Prefix, { own, metric, bridges, uplink }: Own): boolean {
  const { type, dev, gateway, nexthops } = row;
  const isWhole = prefix.length === own.length;
  // A bridge's own route has metric 0 as a rule, also when it comes up later.
  const weaker = Number.isFinite(metric) ? metric : 0;
  if (isWhole && metricOf(row) > weaker) return false;
  if (type !== undefined) return true;
  if (dev !== undefined && bridges.includes(dev)) return false;
  // A container may have a route of its own, by its end of a veth.
  const isOne = prefix.length === 32 && gateway === undefined && nexthops === undefined;
  return !isOne || dev === uplink;
}

/** Whether it is of flannel's form, so that an earlier run has left it. */
function isLeft(row: Row, { own, uplink }: OverlayNetworks): boolean {
  if (row.dst !== own || row.protocol !== undefined || row.metric !== undefined) return false;
  if (row.type === 'blackhole') return true;
  const found = readRow(row);
  return found !== null && isOfFlannel(found.route, uplink);
}

function describeAway(row: Row, { own }: OverlayNetworks): Clash {
  const route = describeRow(row);
  const isWhole = row.dst === own;
  return {
    about: `route ${route}`,
    text:
      `the route ${route} leads ${isWhole ? '' : 'a part of '}our own subnet ${own} away ` +
      'from this host: containers here are cut off',
    cure: unlessWanted(route),
    loses: isWhole ? 'all' : 'some',
  };
}

function describeBeside(row: Row, prefix: string, { subnet, host }: PeerSubnet): Clash {
  const route = describeRow(row);
  const of = `the subnet ${subnet} of the peer ${host}`;
  const isWhole = prefix === subnet;
  return {
    about: `route ${route}`,
    text: isWhole
      ? `the route ${route} is for ${of}, too, and weaker than weft's: what it is for is not reached`
      : `the route ${route} leads a part of ${of} away: those containers are not reached`,
    cure: unlessWanted(route),
    loses: isWhole ? 'none' : 'some',
  };
}

/** weft's own, or of that form and into its device: `RouteSync` looks after those. */
function isOurs(row: Row, { tunnel }: OverlayNetworks): boolean {
  if (row.type === 'blackhole' && row.metric === WEAKEST) return true;
  return row.dev !== undefined && row.dev === tunnel && readRow(row) !== null;
}

const WEAKEST = 0xffff_ffff;

function bridgesIn(own: Prefix, networks: ReadonlyMap<string, string>): string[] {
  return [...networks].flatMap(([text, device]) => {
    const prefix = parsePrefix(text);
    return prefix !== null && contains(own, prefix) ? device.split(', ') : [];
  });
}

function isOfBridge({ dst, dev = '' }: Row, own: string, bridges: readonly string[]): boolean {
  return dst === own && bridges.includes(dev);
}

function metricOf({ metric = 0 }: Row): number {
  return metric;
}

export interface PeerSubnet {
  readonly subnet: string;
  /** The peer's public IP. */
  readonly host: string;
}

/** The peers' subnets, found by what is inside them. */
export class PeerSubnets {
  readonly #peers: ReadonlyMap<string, string>;
  readonly #prefixes: readonly Prefix[];
  /** Each once. */
  readonly #lengths: readonly number[];

  /** By its subnet, a peer's public IP. */
  constructor(peers: ReadonlyMap<string, string>) {
    this.#peers = peers;
    this.#prefixes = [...peers.keys()].flatMap((text) => parsePrefix(text) ?? []);
    this.#lengths = [...new Set(this.#prefixes.map(({ length }) => length))];
  }

  /** The public IP of the peer with just this subnet. */
  hostOf(subnet: string): string | undefined {
    return this.#peers.get(subnet);
  }

  /** The one that `prefix` is, or is a part of. */
  around({ network, length }: Prefix): PeerSubnet | undefined {
    for (const longer of this.#lengths) {
      if (longer > length) continue;
      const masked = longer === 0 ? 0 : (network & (-1 << (32 - longer))) >>> 0;
      const subnet = formatPrefix({ network: masked, length: longer });
      const host = this.#peers.get(subnet);
      if (host !== undefined) return { subnet, host };
    }
    return undefined;
  }

  /** Whether one of them is a part of `prefix`. */
  isAnyIn(prefix: Prefix): boolean {
    return this.#prefixes.some((peer) => contains(prefix, peer));
  }
}
