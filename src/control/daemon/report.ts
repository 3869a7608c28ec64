/** Fills `Status` from what the daemon has made. */
import { readTotals } from '../../dataplane/forward/counters.js';
import { tierName } from '../../dataplane/io/tiers.js';
import type { OpenTun } from '../../dataplane/io/tun.js';
import type { OpenUdp } from '../../dataplane/io/udp.js';
import type { Publisher } from '../../dataplane/routes/publisher.js';
import { formatMac } from '../../dataplane/wire/ethernet.js';
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import type { Status } from '../../operate/status/status.js';
import type { Interface } from '../host/interfaces.js';
import type { OwnLease } from '../overlay/acquire.js';
import type { Config } from '../overlay/config.js';
import { formatSubnet } from '../overlay/subnet.js';
import type { Carrier } from './carrier.js';
import type { Lanes } from './lanes.js';
import { readKernelUdp } from './snmp.js';

/** What weft has made. */
export interface Parts {
  /** The TUN's. */
  readonly name: string;
  /** The tunnel's. */
  readonly mtu: number;
  readonly config: Config;
  readonly underlay: Interface;
  /** The store's description. */
  readonly store: string;
  /** As acquired; which etcd lease it hangs on changes with every renewal. */
  readonly lease: OwnLease;
  readonly publisher: Pick<Publisher, 'counts'>;
  readonly tun: Pick<OpenTun, 'vnet' | 'tso' | 'uso'>;
  readonly sockets: Pick<OpenUdp, 'gro' | 'receiveBuffer'>;
  readonly lanes: Pick<Lanes, 'count' | 'counters' | 'segments' | 'reports' | 'turns'>;
  readonly carrier: Pick<Carrier, 'peers' | 'problems'>;
}

/** What changes. */
export interface Moment {
  readonly version: string;
  readonly uptimeSeconds: number;
  /** The etcd lease (0n: none) and the milliseconds until it ends. */
  readonly held: { readonly lease: bigint; readonly endsIn: number } | undefined;
  readonly lost: string | null;
  /** What cannot be put right just now. */
  readonly faults: readonly string[];
}

export function report(parts: Parts, now: Moment): Status {
  const { name, mtu, config, underlay, store, lease, publisher, tun, sockets, lanes } = parts;
  const { routes, epoch } = publisher.counts;
  const { vni, port } = config.backend;
  const { lease: id, endsIn } = now.held ?? { lease: lease.lease, endsIn: lease.ttl * 1000 };
  return {
    version: now.version,
    pid: process.pid,
    uptimeSeconds: now.uptimeSeconds,
    faults: now.faults,
    device: { name, address: `${formatAddress(lease.subnet.address)}/32`, mtu },
    underlay: {
      interface: underlay.name,
      mtu: underlay.mtu,
      address: underlay.address,
      port,
      publicIp: underlay.publicIp,
    },
    store,
    lease: {
      subnet: formatSubnet(lease.subnet),
      vtepMac: formatMac(lease.vtepMac),
      vni,
      id: id === 0n ? null : id.toString(16),
      expiresInSeconds: id === 0n ? null : Math.floor(endsIn / 1000),
      lost: now.lost,
    },
    peers: parts.carrier.peers.map(({ subnet, publicIp, vtepMac }) => ({
      subnet: formatSubnet(subnet),
      publicIp: formatAddress(publicIp),
      vtepMac: formatMac(vtepMac),
    })),
    routes: { published: routes, epoch, problems: parts.carrier.problems },
    offload: {
      tier: tierName(tun.vnet, tun.uso, lanes.segments),
      tunTso: tun.tso,
      tunUso: tun.uso,
      udpGro: sockets.gro,
      // getsockopt tells twice what was granted (socket(7)).
      receiveBuffer: sockets.receiveBuffer / 2,
    },
    lanes: lanes.reports,
    laneThreads: lanes.count.threads,
    lanesReason: lanes.count.reason,
    ...readTotals(lanes.counters),
    kernelUdp: readKernelUdp(),
  };
}
