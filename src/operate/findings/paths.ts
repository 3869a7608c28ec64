/** Paths that take less than the network was made for, and sends that cost more than they should. */

import { quoted } from '../../control/shell.js';
import { PEER_SOCKETS } from '../../dataplane/io/peer-sockets.js';
import type { Status } from '../status/status.js';
import type { AnyStatus } from './check.js';
import type { Finding } from './finding.js';

/** VXLAN over IPv4. */
const OVERHEAD = 50;
/** Of more peers with the same trouble one finding tells. */
const ONE_BY_ONE = 5;
/** After so many refusals it is no accident. */
const REFUSALS = 4;

type Peer = Status['peers'][number];

/**
 * Where a measurement came out below what routes and devices say: somebody on the way has a smaller
 * MTU and nobody told this host. Not where the network's MTU leaves room for it.
 */
export function judgePathMtu(now: AnyStatus): Finding[] {
  if (now.backend !== 'vxlan') return [];
  const { device } = now;
  const byMtu = new Map<number, Peer[]>();
  for (const peer of now.peers) {
    const { mtu = 0, from } = peer.pathMtu ?? {};
    if (peer.direct || from !== 'measured' || mtu >= device.mtu + OVERHEAD) continue;
    byMtu.set(mtu, [...(byMtu.get(mtu) ?? []), peer]);
  }
  return [...byMtu].flatMap(([mtu, peers]) =>
    grouped(peers).map(({ about, words }) => ({
      ...{ code: 'path-mtu', severity: 'warning', scope: 'peer', about },
      text:
        `the path to ${words} takes ${mtu} bytes whole, and the network's MTU of ${device.mtu} needs ` +
        `${device.mtu + OVERHEAD}: full packets of containers go in fragments or are refused`,
      cure:
        `raise the MTU on the way there, or set "MTU": ${mtu - OVERHEAD} in the Backend of the ` +
        'network config and start weft and the containers anew on every host',
    })),
  );
}

export function judgeMeasuring(now: AnyStatus): Finding[] {
  if (now.backend !== 'vxlan' || now.pathsNotMeasured === '') return [];
  return [
    {
      code: 'paths-not-measured',
      severity: 'note',
      scope: 'host',
      about: 'path MTU',
      text: `path MTUs are those of routes and devices, and not measured: ${now.pathsNotMeasured}`,
      cure: '',
    },
  ];
}

/** Where RLIMIT_NOFILE leaves fewer sockets than weft would use, and there are more peers than that. */
export function judgeDescriptors(now: AnyStatus): Finding[] {
  if (now.backend !== 'vxlan') return [];
  const { peerSockets, device } = now;
  const peers = new Set(now.peers.flatMap((peer) => (peer.direct ? [] : peer.publicIp))).size;
  if (peerSockets >= PEER_SOCKETS || peers <= peerSockets) return [];
  return [
    {
      code: 'few-descriptors',
      severity: 'warning',
      scope: 'host',
      about: device.name,
      text:
        `only ${peerSockets} of ${peers} peers can have a socket of their own, as few files may be ` +
        'open: the others share one, on which one that does not answer delays the rest',
      cure: 'set LimitNOFILE=65536 in the unit, or --ulimit nofile=65536 for the container, and start weft anew',
    },
  ];
}

/** The kernel refuses to cut datagrams for a device that cannot sum them (before 6.11). */
export function judgeSegmenting(now: AnyStatus): Finding[] {
  if (now.backend !== 'vxlan') return [];
  const slow = now.peers.filter(
    ({ seen }) => seen.segmentAgainIn > 0 && seen.segmentRefused >= REFUSALS,
  );
  const name = now.underlay.interface;
  return grouped(slow).map(({ about, words }) => ({
    ...{ code: 'tier-lost', severity: 'warning', scope: 'peer', about },
    text:
      `the kernel refuses to send many datagrams at once (UDP_SEGMENT) to ${words}, so each ` +
      'costs a send of its own: the way there leads by a device that sums no checksums',
    cure: `ethtool -K ${quoted(name)} tx on`,
  }));
}

/** Too old a kernel, or an XDP program on the device. */
export function judgeMerging(now: AnyStatus): Finding[] {
  if (now.backend !== 'vxlan' || now.offload.tier === 'none' || now.offload.tunMerges) return [];
  return [
    {
      code: 'tier-lost',
      severity: 'warning',
      scope: 'host',
      about: now.device.name,
      text:
        `the kernel refuses merged packets on ${now.device.name}, so each one that comes in is ` +
        'written alone: TCP towards containers here is slower than it could be',
      cure: '',
    },
  ];
}

/** One for each, or one for all where there are many. */
function grouped(peers: readonly Peer[]): { about: string; words: string }[] {
  const [first] = peers;
  if (first === undefined) return [];
  if (peers.length > ONE_BY_ONE) {
    const words = `${peers.length} peers, ${first.publicIp} among them,`;
    return [{ about: `${peers.length} peers`, words }];
  }
  return peers.map(({ publicIp, subnet }) => ({
    about: `peer ${publicIp} ${subnet}`,
    words: `the peer ${publicIp}`,
  }));
}
