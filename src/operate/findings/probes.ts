/**
 * What the kernel is asked (`ip route get`) to learn which way packets of the overlay take here,
 * and its answers: it goes through rules, tables and rp_filter as it does for a packet.
 */
import { formatAddress, parsePrefix } from '../../control/host/ipv4.js';
import type { Asked } from '../../control/host/rules.js';
import type { Subject } from './check.js';

/** Peers that are asked for; of more, some spread over all of them. */
const MOST = 500;

export interface Probe extends Asked {
  /** A container's packet to a peer's, one of this host itself, a peer's to a container, an outer one. */
  readonly what: 'out' | 'own' | 'in' | 'outer';
  readonly peer: Subject['peers'][number];
  /** By which it must leave; none: it is for this host. */
  readonly devices: readonly string[];
}

/** Of `addr show to SUBNET`, as far as it is read here. */
export interface Link {
  readonly ifname?: string;
  readonly flags?: readonly string[];
  readonly mtu?: number;
  readonly operstate?: string;
  readonly addr_info?: readonly { readonly local?: string; readonly prefixlen?: number }[];
}

/** `bridges`: devices with an address in our subnet. */
export function probesFor(subject: Subject, bridges: readonly Link[]): Probe[] {
  const { device, underlay, subnet } = subject;
  const names = bridges.flatMap(({ ifname }) => ifname ?? []);
  const [bridge] = names;
  const taken = new Set(bridges.flatMap(({ addr_info = [] }) => addr_info.map((one) => one.local)));
  const here = addressIn(subnet, taken);
  return spread(subject.peers).flatMap((peer): Probe[] => {
    const by = peer.direct ? underlay.interface : device;
    const there = addressIn(peer.subnet, new Set());
    const outer: Probe = {
      ...{ what: 'outer', peer, devices: [] },
      ...{ from: peer.publicIp, to: underlay.address, iif: underlay.interface },
    };
    if (by === null || there === undefined) return [outer];
    const own: Probe = { what: 'own', peer, from: '0.0.0.0', to: there, devices: [by] };
    if (bridge === undefined || here === undefined) return [outer, own];
    return [
      ...[outer, own],
      { what: 'out', peer, from: here, to: there, iif: bridge, devices: [by] },
      { what: 'in', peer, from: there, to: here, iif: by, devices: names },
    ];
  });
}

/** For `ip`. */
export function lineOf({ what, from, to, iif }: Probe): string {
  return what === 'own' ? `route get ${to}` : `route get ${to} from ${from} iif ${iif}`;
}

/** Where it leads in place of where it should. */
export type Astray =
  | { readonly is: 'led'; readonly device: string; readonly table: string }
  | { readonly is: 'refused'; readonly words: string };

/**
 * Undefined for what is right, and for what the main table itself leads elsewhere: that is other
 * findings' matter (a clash, a route that was refused).
 */
export function judgeAnswer(
  { devices, what }: Probe,
  answer: readonly unknown[] | string | undefined,
): Astray | undefined {
  if (answer === undefined) return undefined;
  if (typeof answer === 'string') return { is: 'refused', words: answer };
  const { dev = '', table, type } = (answer[0] ?? {}) as Record<string, string | undefined>;
  if (what === 'outer' || type !== undefined || devices.includes(dev)) return undefined;
  return table === undefined || table === 'main' ? undefined : { is: 'led', device: dev, table };
}

/** One that a container may have: the last of the subnet that is not taken. */
function addressIn(subnet: string, taken: ReadonlySet<string | undefined>): string | undefined {
  const prefix = parsePrefix(subnet);
  if (prefix === null || prefix.length > 29) return undefined;
  const broadcast = prefix.network + 2 ** (32 - prefix.length) - 1;
  for (let at = broadcast - 1; at > broadcast - 6; at -= 1) {
    if (!taken.has(formatAddress(at))) return formatAddress(at);
  }
  return undefined;
}

function spread<T>(all: readonly T[]): readonly T[] {
  const step = Math.ceil(all.length / MOST);
  return step <= 1 ? all : all.filter((_, i) => i % step === 0);
}
