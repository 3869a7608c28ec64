/** What `weft status` says of drops, of those who are refused, and of each peer. */
import type { DropName } from '../../dataplane/forward/drops.js';
import type { SeenName } from '../../dataplane/routes/peer-rows.js';
import { ago, columns, count, duration, WIDTH, wrap } from './format.js';
import type { PeerHealth } from './peer-health.js';

/** What the lanes have seen of a peer since it is one: see dataplane/routes/peer-rows.ts. */
export interface PeerSeen extends Readonly<Record<SeenName, number>> {
  /** Since a packet came from it; null: none did. */
  readonly heardSecondsAgo: number | null;
  /** Until UDP_SEGMENT is tried again towards it; 0: it is in use. */
  readonly segmentAgainIn: number;
  /** The longest packet that reaches it whole; 0: not known. */
  readonly pathMtu: number;
}

/** A sender that no lease names. */
export interface StrangerSeen {
  readonly address: string;
  readonly packets: number;
  readonly secondsAgo: number;
}

interface Dropped {
  readonly drops: Readonly<Partial<Record<DropName, number>>>;
  readonly strangers: readonly StrangerSeen[];
}

interface Peers {
  readonly peers: readonly {
    readonly subnet: string;
    readonly publicIp: string;
    readonly vtepMac: string;
    readonly direct: boolean;
    readonly health: PeerHealth;
    readonly seen: PeerSeen;
  }[];
  readonly underlay: { readonly mtu: number };
}

/** What stands before each line. */
const INDENT = 10;
/** Strangers that are told one by one. */
const TOLD = 8;

/** A line a reason, the most frequent first; behind unknown senders who they were. */
export function describeDrops({ drops, strangers }: Dropped): string[] {
  const most = Object.entries(drops).sort(([, a], [, b]) => (b ?? 0) - (a ?? 0));
  const width = Math.max(0, ...most.map(([reason]) => reason.length));
  return most.flatMap(([reason, packets]) => {
    const line = `${reason.padEnd(width)}  ${count(packets ?? 0)}`;
    if (reason !== 'unknown_sender' || strangers.length === 0) return [line];
    const before = `${line}  last: `;
    const [first, ...more] = wrap(describeStrangers(strangers), WIDTH - INDENT - before.length);
    return [`${before}${first}`, ...more.map((text) => `${' '.repeat(before.length)}${text}`)];
  });
}

function describeStrangers(strangers: readonly StrangerSeen[]): string[] {
  const told = strangers
    .slice(0, TOLD)
    .map(
      ({ address, packets, secondsAgo }) => `${address} (${count(packets)}, ${ago(secondsAgo)})`,
    );
  return strangers.length > TOLD ? [...told, `and ${strangers.length - TOLD} more`] : told;
}

/** A line a peer under a line of titles, and below each what is wrong with it or not usual. */
export function describePeers({ peers, underlay }: Peers): string[] {
  if (peers.length === 0) return [];
  const titles = ['subnet', 'public IP', 'VtepMAC', 'sent', 'heard', 'last heard', ''];
  const rows = peers.map(({ subnet, publicIp, vtepMac, direct, seen }) => [
    subnet,
    publicIp,
    vtepMac,
    count(seen.sentPackets),
    count(seen.receivedPackets),
    seen.heardSecondsAgo === null ? 'never' : ago(seen.heardSecondsAgo),
    direct ? 'direct' : '',
  ]);
  const [head, ...lines] = columns([titles, ...rows]);
  const about = peers.map(({ seen, health }) =>
    wrap([...describeHealth(health), ...aboutPeer(seen, underlay.mtu)], WIDTH - INDENT - 2),
  );
  return [head!, ...lines.flatMap((line, i) => [line, ...about[i]!.map((text) => `  ${text}`)])];
}

/** `SILENT for 12 s`, of one that is neither well nor unknown: what to do stands among the findings. */
export function describeHealth({ state, forSeconds }: PeerHealth): string[] {
  if (state === 'well' || state === 'unknown') return [];
  return [`${state.toUpperCase()} for ${duration(forSeconds)}`];
}

/** What is wrong with a peer, or not usual, each in a few words. */
export function aboutPeer(seen: PeerSeen, underlayMtu: number): string[] {
  return [...describeFaults(seen), ...describeTier(seen, underlayMtu)];
}

/** Each count that is a fault, in words. */
const FAULTS: readonly (readonly [SeenName, (n: string) => string])[] = [
  ['portUnreachable', (n) => `port unreachable ${n} times`],
  ['otherErrors', (n) => `other ICMP errors ${n} times`],
  ['droppedFull', (n) => `${n} dropped: its socket full`],
  ['droppedUnreachable', (n) => `${n} dropped: no way there`],
  ['droppedDenied', (n) => `${n} dropped: forbidden by this host's firewall`],
  ['droppedFailed', (n) => `${n} dropped: the send failed`],
  ['segmentRefused', (n) => `UDP_SEGMENT refused ${n} times`],
  ['tooBigTold', (n) => `${n} senders told that a packet does not fit`],
  ['inFragments', (n) => `${n} packets longer than the path takes whole: sent in fragments`],
];

function describeFaults(seen: PeerSeen): string[] {
  return FAULTS.flatMap(([name, words]) => (seen[name] > 0 ? [words(count(seen[name]))] : []));
}

function describeTier({ segmentAgainIn, pathMtu }: PeerSeen, underlayMtu: number): string[] {
  const tier = segmentAgainIn > 0 ? [`tried again in ${duration(segmentAgainIn)}`] : [];
  const path = pathMtu > 0 && pathMtu !== underlayMtu ? [`path MTU ${pathMtu}`] : [];
  return [...tier.map((text) => `each datagram sent alone, UDP_SEGMENT ${text}`), ...path];
}
