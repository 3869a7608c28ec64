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
import { counted } from '../../operate/status/format.js';
import type { SetUp } from '../../operate/status/set-up.js';
import type { Build, HostGwStatus, Status } from '../../operate/status/status.js';
import type { Interface } from '../host/interfaces.js';
import type { OwnLease } from '../overlay/acquire.js';
import type { HostGw, Vxlan } from '../overlay/config.js';
import type { ConfigWatch } from '../overlay/config-watch.js';
import type { Drift } from '../overlay/lease/clock.js';
import type { Held } from '../overlay/lease/holder.js';
import type { Peer } from '../overlay/peers.js';
import { formatSubnet } from '../overlay/subnet.js';
import type { Unsound } from '../overlay/unsound.js';
import type { Fault } from '../runtime.js';
import type { StoreState } from '../store/state.js';
import type { Store } from '../store/store.js';
import type { Carrier } from './carrier.js';
import type { HostQueues } from './host-queues.js';
import type { Lanes } from './lanes.js';
import type { Paths } from './paths.js';
import type { PeerHealths } from './peer-health.js';
import { dropSamplesOf, seenOf, strangersOf } from './seen.js';

/** What weft has made, with either backend. */
interface Common {
  /** The TUN's, or `host-gw`. */
  readonly name: string;
  /** The containers'. */
  readonly mtu: number;
  readonly underlay: Interface;
  readonly store: Pick<
    Store,
    'description' | 'network' | 'etcdctlFlags' | 'certificates' | 'shortLease'
  >;
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
  readonly drift: Drift | undefined;
  readonly unsound: readonly Unsound[];
  readonly config: Pick<ConfigWatch, 'change' | 'problem'> | undefined;
  readonly lost: string | null;
  /** What cannot be put right just now. */
  readonly faults: readonly string[];
  readonly findings: readonly Finding[];
  readonly verdict: Verdict;
  readonly overlayNetwork: string;
  readonly setUp: SetUp;
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
    dropSamples: dropSamplesOf(lanes.counters, publisher),
    strangers: strangersOf(lanes.counters, publisher),
    host,
    kernelUdp: { badChecksums: host.udpInCsumErrors, bufferFull: host.udpRcvbufErrors },
  };
}

function reportVerdict({ verdict, findings, faults, overlayNetwork, setUp }: Moment) {
  return { verdict, findings, faults, overlayNetwork, setUp };
}

function reportStore(store: Common['store'], now: Moment) {
  const { storeState, timeOfDay, unsound, drift } = now;
  const { description, network, etcdctlFlags = '' } = store;
  const certificates = reportCertificates(store, timeOfDay);
  const leases = { leaseDrift: drift ?? null, shortLease: store.shortLease ?? null };
  const state = { ...(storeState ?? NOT_FOLLOWED), certificates, ...leases };
  const unsoundLeases = reportUnsound(unsound);
  const config = {
    flanneldRefuses: now.config?.problem ?? null,
    configChange: now.config?.change ?? null,
  };
  const at = { store: description, etcdctlFlags, network };
  return { ...at, storeState: state, unsoundLeases, ...config };
}

export function reportCertificates(
  { certificates = [] }: Pick<Store, 'certificates'>,
  timeOfDay: Date,
): Status['storeState']['certificates'] {
  const inSeconds = (date: Date) => Math.floor((date.getTime() - timeOfDay.getTime()) / 1000);
  return certificates.map(({ name, begins, ends }) => {
    return { name, beginsInSeconds: inSeconds(begins), endsInSeconds: inSeconds(ends) };
  });
}

/** More of them would say no more. */
const MOST_UNSOUND = 100;
const UNUSED_TOLD = 10;

/** Lines for the first of those that weft does not use. */
export function describeUnused(unsound: readonly Unsound[]): string[] {
  const unused = unsound.filter(({ isRefused }) => isRefused).slice(0, UNUSED_TOLD);
  return unused.map(({ key, why }) => `lease ${key} ${why}`);
}

export function reportUnsound(unsound: readonly Unsound[]): Status['unsoundLeases'] {
  return unsound.slice(0, MOST_UNSOUND).map(({ key, why, isRefused, does }) => {
    return { key, why, used: !isRefused, flanneld: does ?? null };
  });
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
export function describeLogTrouble(lost: number, trouble: string, pid: number): Fault {
  return {
    about: 'log',
    text: `${counted(lost, 'line')} of log could not be written: standard error fails (${trouble})`,
    cure: `ls -l /proc/${pid}/fd/2; df -h   (where the log goes, and whether there is room)`,
  };
}

/** `line` is the lane watch's. */
export function describeStanding(line: string): Fault {
  return { about: line.replace(/ has not .*/, ''), text: line, cure: '' };
}

export function describeLost(reason: string): Fault {
  return { about: 'lease', text: reason, cure: '' };
}
