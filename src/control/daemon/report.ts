/** Fills `Status` from what the daemon has made. */
import { readTotals } from '../../dataplane/forward/counters.js';
import type { Accept } from '../../dataplane/forward/inbound.js';
import { tierName } from '../../dataplane/io/tiers.js';
import type { OpenTun } from '../../dataplane/io/tun.js';
import type { OpenUdp } from '../../dataplane/io/udp.js';
import type { Publisher } from '../../dataplane/routes/publisher.js';
import { formatMac } from '../../dataplane/wire/ethernet.js';
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import type { Finding, Verdict } from '../../operate/findings/finding.js';
import type { Build, HostGwStatus, Status } from '../../operate/status/status.js';
import type { Interface } from '../host/interfaces.js';
import type { OwnLease } from '../overlay/acquire.js';
import type { Refused } from '../overlay/admit.js';
import type { HostGw, Vxlan } from '../overlay/config.js';
import type { Held } from '../overlay/lease/holder.js';
import type { Peer } from '../overlay/peers.js';
import { formatSubnet } from '../overlay/subnet.js';
import type { StoreState } from '../store/state.js';
import type { Store } from '../store/store.js';
import type { Carrier } from './carrier.js';
import type { HostQueues } from './host-queues.js';
import type { Lanes } from './lanes.js';
import type { Paths } from './paths.js';
import type { PeerHealths } from './peer-health.js';
import { seenOf, strangersOf } from './seen.js';

/** What weft has made, with either backend. */
interface Common {
  /** The TUN's, or `host-gw`. */
  readonly name: string;
  /** The containers'. */
  readonly mtu: number;
  readonly underlay: Interface;
  readonly store: Pick<Store, 'description' | 'network' | 'certificates'>;
  /** As acquired; which etcd lease it hangs on changes with every renewal. */
  readonly lease: OwnLease;
  readonly carrier: Pick<Carrier, 'peers' | 'problems' | 'isDirect'>;
  readonly healths: Pick<PeerHealths, 'health'>;
}

export interface HostGwParts extends Common {
  readonly backend: HostGw;
}

export interface VxlanParts extends Common {
  readonly backend: Vxlan;
  /** `-accept`. */
  readonly accept: Accept;
  readonly publisher: Pick<Publisher, 'counts' | 'places' | 'rows'>;
  readonly tun: Pick<OpenTun, 'vnet' | 'tso' | 'uso'>;
  readonly sockets: Pick<OpenUdp, 'gro' | 'receiveBuffer'>;
  readonly lanes: Pick<Lanes, 'count' | 'counters' | 'udpSegment' | 'merges' | 'reports'>;
  readonly peerSockets: number;
  readonly paths: Pick<Paths, 'report' | 'lack'>;
  readonly queues: Pick<HostQueues, 'counters'>;
  /** How often somebody took the TUN away of late. */
  readonly taken: number;
}

export type Parts = VxlanParts | HostGwParts;

export function isVxlan(parts: Parts): parts is VxlanParts {
  return parts.backend.type === 'vxlan';
}

/** What changes. */
export interface Moment {
  readonly version: string;
  readonly build: Build | null;
  readonly pid: number;
  readonly uptimeSeconds: number;
  readonly held: Held | undefined;
  readonly storeState: StoreState | undefined;
  readonly lost: string | null;
  /** What cannot be put right just now. */
  readonly faults: readonly string[];
  readonly findings: readonly Finding[];
  readonly verdict: Verdict;
  readonly overlayNetwork: string;
  readonly timeOfDay: Date;
  readonly logLinesLost: number;
}

export function reportHostGw(parts: HostGwParts, now: Moment): HostGwStatus {
  const { mtu, underlay, store, lease, carrier } = parts;
  return {
    version: now.version,
    build: now.build,
    pid: now.pid,
    uptimeSeconds: now.uptimeSeconds,
    ...reportVerdict(now),
    logLinesLost: now.logLinesLost,
    backend: 'host-gw',
    mtu,
    underlay: {
      interface: underlay.name,
      mtu: underlay.mtu,
      address: underlay.address,
      publicIp: underlay.publicIp,
    },
    ...reportStore(store, now),
    lease: reportLease(lease, now),
    peers: carrier.peers.map((peer) => reportPeer(peer, parts)),
    routes: { problems: carrier.problems },
  };
}

export function report(parts: VxlanParts, now: Moment): Status {
  const { name, mtu, backend, underlay, store, lease, publisher, tun, sockets, lanes } = parts;
  const { routes, epoch } = publisher.counts;
  const { vni, port, directRouting } = backend;
  const host = parts.queues.counters(name);
  return {
    version: now.version,
    build: now.build,
    pid: now.pid,
    uptimeSeconds: now.uptimeSeconds,
    ...reportVerdict(now),
    logLinesLost: now.logLinesLost,
    backend: 'vxlan',
    directRouting,
    accept: parts.accept,
    device: { name, address: `${formatAddress(lease.subnet.address)}/32`, mtu, taken: parts.taken },
    underlay: {
      interface: underlay.name,
      mtu: underlay.mtu,
      address: underlay.address,
      port,
      publicIp: underlay.publicIp,
    },
    ...reportStore(store, now),
    lease: { ...reportLease(lease, now), vtepMac: formatMac(lease.vtepMac), vni },
    peers: parts.carrier.peers.map((peer) => ({
      ...reportPeer(peer, parts),
      vtepMac: peer.vtepMac === undefined ? '' : formatMac(peer.vtepMac),
      pathMtu: parts.paths.report(peer.publicIp) ?? null,
      seen: seenOf(publisher, peer.publicIp),
    })),
    pathsNotMeasured: parts.paths.lack,
    routes: { published: routes, epoch, problems: parts.carrier.problems },
    offload: {
      tier: tierName(tun.vnet, tun.uso, lanes.udpSegment),
      tunTso: tun.tso,
      tunUso: tun.uso,
      udpGro: sockets.gro,
      tunMerges: lanes.merges,
      // getsockopt tells twice what was granted (socket(7)).
      receiveBuffer: sockets.receiveBuffer / 2,
    },
    lanes: lanes.reports,
    laneThreads: lanes.count.threads,
    lanesReason: lanes.count.reason,
    peerSockets: parts.peerSockets,
    ...readTotals(lanes.counters),
    strangers: strangersOf(lanes.counters, publisher),
    host,
    kernelUdp: { badChecksums: host.udpInCsumErrors, bufferFull: host.udpRcvbufErrors },
  };
}

function reportVerdict({ verdict, findings, faults, overlayNetwork }: Moment) {
  return { verdict, findings, faults, overlayNetwork };
}

function reportStore(store: Common['store'], { storeState, timeOfDay }: Moment) {
  const { description, network } = store;
  const inSeconds = (date: Date) => Math.floor((date.getTime() - timeOfDay.getTime()) / 1000);
  const certificates = (store.certificates ?? []).map(({ name, begins, ends }) => {
    return { name, beginsInSeconds: inSeconds(begins), endsInSeconds: inSeconds(ends) };
  });
  const state = { ...(storeState ?? NOT_FOLLOWED), certificates };
  return { store: description, network, storeState: state };
}

const NOT_FOLLOWED: StoreState = {
  ...{ member: null, cluster: null, awaySeconds: null, reason: null, nextTrySeconds: null },
  ...{ mended: 0, savedAt: null, answerMs: null, alarm: null },
};

function reportLease({ subnet }: OwnLease, { held, lost }: Moment): HostGwStatus['lease'] {
  const { kind = 'untold', lease = 0n, endsIn } = held ?? {};
  return {
    subnet: formatSubnet(subnet),
    kind,
    id: lease === 0n ? null : lease.toString(16),
    expiresInSeconds: endsIn === undefined ? null : Math.floor(endsIn / 1000),
    lost,
  };
}

function reportPeer(
  peer: Peer,
  { carrier, healths }: Pick<Common, 'carrier' | 'healths'>,
): HostGwStatus['peers'][number] {
  return {
    subnet: formatSubnet(peer.subnet),
    publicIp: formatAddress(peer.publicIp),
    direct: carrier.isDirect(peer),
    health: healths.health(peer.publicIp),
  };
}

/** While lines of log go nowhere: status is where that can be seen. */
export function describeLogTrouble(lost: number, trouble: string): string {
  const lines = lost === 1 ? '1 line' : `${lost} lines`;
  return `${lines} of log could not be written: standard error fails (${trouble})`;
}

/** More than this are told as a number. */
const REFUSED_TOLD = 10;

export function describeRefused(refused: readonly Refused[]): string[] {
  const told = refused.slice(0, REFUSED_TOLD);
  const lines = told.map(({ key, reason }) => `lease ${key} is not used: ${reason}`);
  const more = refused.length - told.length;
  return more === 0 ? lines : [...lines, `${more} more leases are not used; the log names them`];
}
