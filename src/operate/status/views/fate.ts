/**
 * `weft status route ADDRESS`: what would become of a packet to that address, step by step, from
 * what weft and the kernel say just now.
 */
import {
  formatAddress,
  isLimitedBroadcast,
  isLoopback,
  isMulticast,
  parseAddress,
} from '../../../dataplane/wire/ipv4.js';
import { isAbout } from '../../findings/finding.js';
import { DROP_WORDS } from '../drop-words.js';
import { ago } from '../format.js';
import type { Line } from '../lines.js';
import type { HostGwStatus, Status } from '../status.js';

/** As `ip route get` tells it; why it tells none in its own words. */
export type KernelRoute =
  | { readonly device: string; readonly gateway: string | null; readonly type: string }
  | { readonly refused: string };

export interface Fate {
  /** Whether it would get where it should, as far as this host knows. */
  readonly arrives: boolean;
  readonly lines: readonly Line[];
}

type AnyStatus = Status | HostGwStatus;
type Peer = AnyStatus['peers'][number];

function end(arrives: boolean, text: string): Line {
  return arrives ? ['arrives', text, 'good'] : ['LOST', text, 'bad'];
}

/** `address` is dotted. */
export function fateOf(address: string, status: AnyStatus, kernel: KernelRoute): Fate {
  const target = parseAddress(address);
  if (target === undefined) throw new RangeError(`${address} is no IPv4 address`);
  const way: Line = ['kernel', describeKernel(kernel)];
  if (isMulticast(target) || isLimitedBroadcast(target)) {
    return { arrives: false, lines: [way, end(false, DROP_WORDS.outbound_multicast)] };
  }
  if (isLoopback(target) || !isInside(target, status.overlayNetwork)) {
    const text = `${address} is not in the overlay network ${status.overlayNetwork}: weft has no part in it`;
    return { arrives: true, lines: [['outside', text], way] };
  }
  if (isInside(target, status.lease.subnet)) return here(address, status, kernel, way);
  const peer = longestMatch(target, status.peers);
  if (peer === undefined) {
    const tunnel = status.backend === 'vxlan' ? status.device.name : null;
    const dropped = !('refused' in kernel) && kernel.device === tunnel;
    const then = dropped
      ? 'weft drops it (outbound_no_route)'
      : 'the kernel treats it as any other';
    const text = `no host has leased a subnet with ${address}: ${then}`;
    return { arrives: false, lines: [way, end(false, text)] };
  }
  return toPeer(address, status, peer, kernel, [['peer', describePeer(peer)], way]);
}

function here(address: string, status: AnyStatus, kernel: KernelRoute, way: Line): Fate {
  const own: Line = ['here', `${address} is in this host's own subnet ${status.lease.subnet}`];
  const tunnel = status.backend === 'vxlan' ? status.device.name : '';
  if ('refused' in kernel) {
    const text = `no bridge or device here has it: the kernel says ${kernel.refused}`;
    return { arrives: false, lines: [own, way, end(false, text)] };
  }
  if (kernel.type === 'local') {
    return { arrives: true, lines: [own, way, end(true, 'it is an address of this host itself')] };
  }
  if (kernel.device === tunnel) {
    const text =
      'nothing here carries our subnet, so it goes into the tunnel and is dropped there ' +
      '(outbound_local): start Docker or the CNI with this subnet';
    return { arrives: false, lines: [own, way, end(false, text)] };
  }
  const text = `delivered by ${kernel.device}, if a container there has it`;
  return { arrives: true, lines: [own, way, end(true, text)] };
}

function toPeer(
  address: string,
  status: AnyStatus,
  peer: Peer,
  kernel: KernelRoute,
  lines: Line[],
): Fate {
  const known = status.findings.filter(
    (one) => one.severity === 'error' && (one.scope === 'host' || isAbout(one, peer.publicIp)),
  );
  const told = known.map(({ text }): Line => ['error', text, 'bad']);
  const lost = (text: string): Fate => ({
    arrives: false,
    lines: [...lines, ...told, end(false, text)],
  });
  if ('refused' in kernel) return lost(`the kernel has no route: ${kernel.refused}`);
  const wanted =
    peer.direct || status.backend !== 'vxlan' ? status.underlay.interface : status.device.name;
  if (kernel.device !== wanted) {
    return lost(
      `the kernel sends it by ${kernel.device}, not by ${wanted}: another route or rule is first ` +
        `(see: ip rule; ip route get ${address})`,
    );
  }
  if (status.backend !== 'vxlan' || peer.direct) {
    const text = `routed by ${wanted} to ${peer.publicIp}, past the tunnel`;
    return { arrives: told.length === 0, lines: [...lines, ...told, end(told.length === 0, text)] };
  }
  const { mtu } = status.device;
  const full = status.peers.find((one) => one === peer);
  const path = full?.pathMtu?.mtu ?? 0;
  const whole = path === 0 ? mtu : Math.min(mtu, path - 50);
  lines.push(
    [
      'tunnel',
      `VXLAN, VNI ${status.lease.vni}, from ${status.underlay.address} to ` +
        `${peer.publicIp}:${status.underlay.port}, inner MAC ${full?.vtepMac ?? '?'}`,
    ],
    [
      'size',
      whole < mtu
        ? `up to ${whole} bytes in one piece, up to ${mtu} in fragments of the outer packet`
        : `up to ${mtu} bytes in one piece; longer ones are answered by "fragmentation needed"`,
    ],
  );
  const heard = full?.seen.heardSecondsAgo ?? null;
  lines.push([
    'heard',
    heard === null ? 'nothing came from it so far' : `the last packet ${ago(heard)}`,
  ]);
  if (told.length > 0) return lost(`it would be sent to ${peer.publicIp}, see the error above`);
  const text = `it would be sent to ${peer.publicIp}; weft probe ${peer.publicIp} shows whether it gets there`;
  return { arrives: true, lines: [...lines, end(true, text)] };
}

function describeKernel(kernel: KernelRoute): string {
  if ('refused' in kernel) return `no route: ${kernel.refused}`;
  const { device, gateway, type } = kernel;
  return `${type === 'unicast' ? '' : `${type}, `}by ${device}${gateway === null ? '' : `, via ${gateway}`}`;
}

function describePeer({ publicIp, subnet, direct }: Peer): string {
  return `${subnet} is leased by ${publicIp}${direct ? ', reached directly' : ''}`;
}

function longestMatch(address: number, peers: readonly Peer[]): Peer | undefined {
  const inside = peers.filter(({ subnet }) => isInside(address, subnet));
  return inside.sort((a, b) => lengthOf(b.subnet) - lengthOf(a.subnet))[0];
}

/** `prefix`: `10.5.52.0/24`. */
function isInside(address: number, prefix: string): boolean {
  const length = lengthOf(prefix);
  const network = parseAddress(prefix.slice(0, prefix.indexOf('/')));
  if (network === undefined) return false;
  const mask = length === 0 ? 0 : -1 << (32 - length);
  return (address & mask) === (network & mask);
}

function lengthOf(prefix: string): number {
  return Number(prefix.slice(prefix.indexOf('/') + 1));
}

/** Reads what `ip -j route get` printed. */
export function readKernelRoute(stdout: string, stderr: string): KernelRoute {
  try {
    const [row] = JSON.parse(stdout) as { dev?: string; gateway?: string; type?: string }[];
    if (row?.dev !== undefined) {
      return { device: row.dev, gateway: row.gateway ?? null, type: row.type ?? 'unicast' };
    }
  } catch {
    // What it says instead stands in the other stream.
  }
  return { refused: stderr.replace(/^RTNETLINK answers: /, '').trim() || 'it tells nothing' };
}

export function isAddress(text: string): boolean {
  const parsed = parseAddress(text);
  return parsed !== undefined && formatAddress(parsed) === text;
}
