/** The packets that must pass for the overlay to work, each with the hooks that it comes by. */
import { formatAddress, parseAddress } from '../../../dataplane/wire/ipv4.js';
import type { Subject } from '../check.js';
import type { Hook, Packet, State } from './model.js';

/**
 * `in`, `out`: the tunnel's own datagrams. `from`, `to`: what containers on other hosts and those here
 * send each other. `host-to`, `host-from`: what this host itself asks containers on others, and the
 * answers.
 */
export type Kind = 'in' | 'out' | 'from' | 'to' | 'host-to' | 'host-from';

export interface Stop {
  readonly hook: Hook;
  readonly packet: Packet;
  /** For ingress and egress: whose. */
  readonly device: string | undefined;
}

export interface Flow {
  readonly kind: Kind;
  readonly peer: Subject['peers'][number] | undefined;
  /** The container here that was asked for by its address; undefined: any. */
  readonly container: string | undefined;
  readonly protocol: 'udp' | 'tcp';
  readonly state: State;
  readonly stops: readonly Stop[];
}

/** What is known of the host beside the subject. */
export interface Place {
  readonly subject: Subject;
  /** The devices that containers here are behind. */
  readonly bridges: readonly string[];
  /** Addresses of containers here that are named somewhere in the rules. */
  readonly containers: readonly string[];
  /** The peers that are tried. */
  readonly peers: Subject['peers'];
}

/** Ports that no rule is about, unless it is about most of them. */
const PORT_HERE = 50_011;
const PORT_THERE = 50_013;
const STATES: readonly State[] = ['new', 'established'];
const PROTOCOLS = ['tcp', 'udp'] as const;

export function flowsOf(place: Place): Flow[] {
  const peers = place.peers.length === 0 ? [undefined] : place.peers;
  return peers.flatMap((peer, i) => [
    ...(place.subject.device === null || peer?.direct === true ? [] : tunnelFlows(place, peer)),
    ...containerFlows(place, peer, undefined),
    // Of a container by its address, one peer tells as much as all.
    ...(i > 0 ? [] : place.containers.flatMap((address) => containerFlows(place, peer, address))),
    ...(place.subject.device === null ? [] : hostFlows(place, peer)),
  ]);
}

/** Each of the tunnel's datagrams is the first of its flow: hosts answer by a flow of their own. */
function tunnelFlows({ subject }: Place, peer: Flow['peer']): Flow[] {
  const { underlay } = subject;
  const here = parseAddress(underlay.address);
  const there = peer === undefined ? undefined : parseAddress(peer.publicIp);
  const port = underlay.port ?? 0;
  const base = { ...BASE, protocol: 'udp' as const, destinationPort: port, state: 'new' as const };
  const shared = { peer, container: undefined, protocol: 'udp' as const, state: 'new' as const };
  return [
    {
      ...{ ...shared, kind: 'in' },
      stops: entering(
        { ...base, source: there, destination: here, isForUs: true },
        underlay.interface,
      ),
    },
    {
      ...{ ...shared, kind: 'out' },
      stops: leaving(
        { ...base, source: here, destination: there, isFromUs: true },
        underlay.interface,
      ),
    },
  ];
}

function containerFlows(place: Place, peer: Flow['peer'], container: string | undefined): Flow[] {
  const { subject, bridges, containers } = place;
  const way = peer?.direct === true ? subject.underlay.interface : subject.device;
  const here = parseAddress(container ?? anyAddress(subject.subnet, containers));
  const there = peer === undefined ? undefined : parseAddress(anyAddress(peer.subnet, []));
  const device = way ?? subject.underlay.interface;
  const behind: (string | undefined)[] = bridges.length === 0 ? [undefined] : [...bridges];
  return behind.flatMap((bridge) =>
    PROTOCOLS.flatMap((protocol) =>
      STATES.flatMap((state): Flow[] => {
        const base = { ...BASE, protocol, state };
        const to = { ...base, source: here, destination: there };
        const from = { ...base, source: there, destination: here };
        const shared = { peer, container, protocol, state };
        return [
          { ...shared, kind: 'to', stops: forwarded(to, bridge, device) },
          { ...shared, kind: 'from', stops: forwarded(from, device, bridge) },
        ];
      }),
    ),
  );
}

function hostFlows({ subject }: Place, peer: Flow['peer']): Flow[] {
  if (peer?.direct === true) return [];
  const device = subject.device ?? '';
  const here = parseAddress(subject.subnet.split('/')[0]!);
  const there = peer === undefined ? undefined : parseAddress(anyAddress(peer.subnet, []));
  const shared = { peer, container: undefined, protocol: 'tcp' as const };
  const to = { ...BASE, source: here, destination: there, isFromUs: true, state: 'new' as const };
  const from = {
    ...BASE,
    source: there,
    destination: here,
    isForUs: true,
    state: 'established' as const,
  };
  return [
    { ...shared, kind: 'host-to', state: 'new', stops: leaving(to, device) },
    { ...shared, kind: 'host-from', state: 'established', stops: entering(from, device) },
  ];
}

const BASE: Packet = {
  source: undefined,
  destination: undefined,
  protocol: 'tcp',
  sourcePort: PORT_HERE,
  destinationPort: PORT_THERE,
  in: '',
  out: '',
  isForUs: false,
  isFromUs: false,
  state: 'new',
  mark: 0,
};

function entering(packet: Packet, device: string): Stop[] {
  const here = { ...packet, in: device };
  return [
    { hook: 'ingress', packet: here, device },
    { hook: 'prerouting', packet: here, device },
    { hook: 'input', packet: here, device },
  ];
}

function leaving(packet: Packet, device: string): Stop[] {
  const here = { ...packet, out: device };
  return [
    { hook: 'output', packet: here, device },
    { hook: 'postrouting', packet: here, device },
    { hook: 'egress', packet: here, device },
  ];
}

function forwarded(packet: Packet, from: string | undefined, to: string | undefined): Stop[] {
  const before = { ...packet, in: from };
  // Kernels differ in whether a packet that is sent on still has the device that it came by.
  const after = { ...packet, in: undefined, out: to };
  return [
    { hook: 'ingress', packet: before, device: from },
    { hook: 'prerouting', packet: before, device: from },
    { hook: 'forward', packet: { ...packet, in: from, out: to }, device: undefined },
    { hook: 'postrouting', packet: after, device: to },
    { hook: 'egress', packet: after, device: to },
  ];
}

/** An address of a subnet that no rule names. */
function anyAddress(subnet: string, named: readonly string[]): string {
  const [base = '', length = '32'] = subnet.split('/');
  const size = 2 ** (32 - Number(length));
  const first = parseAddress(base) ?? 0;
  for (let i = Math.max(size - 2, 0); i > 0; i -= 1) {
    const address = formatAddress(first + i);
    if (!named.includes(address)) return address;
  }
  return base;
}

/** The same packet, if it were between hosts that have no part in the overlay. */
export function strangerTo(packet: Packet, kind: Kind, device: string | null): Packet {
  const isTunnels = kind === 'in' || kind === 'out';
  const other = (name: string | undefined) => (name === device ? 'other0' : name);
  return {
    ...packet,
    source: packet.isFromUs && isTunnels ? packet.source : parseAddress('198.51.100.7'),
    destination: packet.isForUs && isTunnels ? packet.destination : parseAddress('203.0.113.9'),
    sourcePort: 7,
    destinationPort: 9,
    in: other(packet.in),
    out: other(packet.out),
  };
}
