/** `weft status` for people: the verdict, what is wrong, then what there is. */
import type { Accept } from '../../dataplane/forward/inbound.js';
import { describeFindings, describeVerdict } from '../findings/describe.js';
import { bytes, count, duration } from './format.js';
import { describeHost } from './host.js';
import { type Line, layOut, under } from './lines.js';
import { describeSetUp } from './set-up.js';
import {
  type Answer,
  describeLanes,
  type HostGwStatus,
  isStarting,
  type Starting,
  type Status,
} from './status.js';
import { describeDrops, describeHealth, describePeers } from './traffic.js';

/** Aligned lines, with colours where they are asked for. */
export function describe(answer: Answer, colours = false): string {
  if (isStarting(answer)) return layOut(describeStarting(answer), colours);
  const rest = answer.backend === 'vxlan' ? describeStatus(answer) : describeHostGw(answer);
  const head = [describeVerdict(answer.verdict), ...describeFindings(answer.findings)];
  return layOut([...head, ...rest], colours);
}

function describeStarting(answer: Starting): Line[] {
  return [
    ['starting', `no packets flow yet; ${answer.waitingFor}`, 'attention'],
    ['weft', describeProcess(answer)],
  ];
}

/** `0.1.0 (abc1234), process 4711, up 3 min`. */
export function describeProcess({ version, build, pid, uptimeSeconds }: Answer): string {
  const of = build ? ` (${build.commit}${build.changed ? ', changed' : ''})` : '';
  return `${version}${of}, process ${pid}, up ${duration(uptimeSeconds)}`;
}

function describeLease(lease: HostGwStatus['lease'], vni?: number): string {
  if (lease.lost !== null) return `LOST: ${lease.lost}`;
  const { kind, id, expiresInSeconds } = lease;
  const left =
    expiresInSeconds === null ? '' : `, ends in ${duration(expiresInSeconds)} unless renewed`;
  const held =
    kind === 'untold'
      ? 'as saved: the store did not say yet'
      : id === null
        ? 'reserved: its key has no etcd lease'
        : `etcd lease ${id}${left}`;
  return `${lease.subnet}${vni === undefined ? '' : `, VNI ${vni}`}, ${held}`;
}

function describeHostGw(status: HostGwStatus): Line[] {
  const { lease, store, underlay, mtu, routes, peers } = status;
  return [
    ['weft', describeProcess(status)],
    ['lease', describeLease(lease)],
    ...under('store', [store, ...describeStoreState(status.storeState)]),
    ['backend', `host-gw, MTU ${mtu}: the kernel routes, no packet passes weft`],
    ['underlay', `${underlay.interface}  ${underlay.address}`],
    ...describeSetUp(status.setUp),
    ...describeRoutes(`${count(peers.filter((peer) => peer.direct).length)} in the kernel`, routes),
    ['peers', peers.length === 0 ? 'none yet' : String(peers.length)],
    ...peers.flatMap(({ subnet, publicIp, direct, health }): Line[] => [
      ['', `${subnet.padEnd(18)} ${publicIp.padEnd(15)}${direct ? '' : ' no route'}`],
      ...describeHealth(health).map((text): Line => ['', `  ${text}`, 'bad']),
    ]),
  ];
}

function describeRoutes(what: string, { problems }: HostGwStatus['routes']): Line[] {
  return under('routes', [what, ...problems]);
}

function describeRouteCount({ peers }: Status): string {
  const direct = peers.filter((peer) => peer.direct).length;
  const past = direct === 0 ? '' : `, ${count(direct)} of them past the tunnel`;
  return `${count(peers.length)} to other hosts${past}`;
}

function describeStoreState(state: Status['storeState']): string[] {
  const { member, awaySeconds, reason, nextTrySeconds, mended, savedAt } = state;
  const lines: string[] = [];
  if (awaySeconds !== null) {
    const known = savedAt === null ? 'what is known' : `the network saved ${savedAt}`;
    lines.push(`AWAY for ${duration(awaySeconds)}; forwarding on ${known}`);
    if (reason !== null) lines.push(`last reason: ${reason}`);
    if (nextTrySeconds !== null) lines.push(`next try in ${nextTrySeconds.toFixed(1)} s`);
  } else if (member !== null) lines.push(`talking to ${member}`);
  if (mended > 0) lines.push(`mended by relist: ${mended}`);
  return lines;
}

function describeStatus(status: Status): Line[] {
  const { device, underlay, lease, offload, counters } = status;
  const { length: lanes } = status.lanes;
  const ended = status.lanes.flatMap(({ running }, index) =>
    running ? [] : [`lane ${index} NOT RUNNING`],
  );
  const rows: Line[] = [
    ['weft', describeProcess(status)],
    ['lease', describeLease(lease, lease.vni)],
    ...under('store', [status.store, ...describeStoreState(status.storeState)]),
    ['backend', `vxlan${status.directRouting ? ' with direct routing' : ''}`],
    ...describeAccept(status.accept),
    ['device', `${device.name}  ${device.address}, MTU ${device.mtu}, VtepMAC ${lease.vtepMac}`],
    [
      'underlay',
      `${underlay.interface}  ${underlay.address}:${underlay.port}, MTU ${underlay.mtu}` +
        (underlay.publicIp === underlay.address ? '' : `, public IP ${underlay.publicIp}`),
    ],
    ...describeSetUp(status.setUp),
    [
      'offload',
      `tier ${offload.tier}; TUN TSO ${yes(offload.tunTso)}, USO ${yes(offload.tunUso)}; ` +
        `UDP GRO ${yes(offload.udpGro)}; receive buffer ${bytes(offload.receiveBuffer)}`,
    ],
    [
      'lanes',
      describeLanes({ lanes, threads: status.laneThreads, reason: status.lanesReason }) +
        `; ${ended.length === 0 ? 'running' : ended.join(', ')}`,
    ],
    ...describeRoutes(describeRouteCount(status), status.routes),
    [
      'outbound',
      `${count(counters.outbound_out_packets)} packets, ${bytes(counters.outbound_out_bytes)} sent`,
    ],
    [
      'inbound',
      `${count(counters.inbound_out_packets)} packets, ${bytes(counters.inbound_out_bytes)} delivered`,
    ],
  ];
  const drops = describeDrops(status);
  rows.push(...under('drops', drops.length === 0 ? ['none'] : ['', ...drops]));
  if (status.pathsNotMeasured !== '') {
    rows.push(['path MTU', `of routes and devices, not measured: ${status.pathsNotMeasured}`]);
  }
  rows.push(...describeHost(status.host, underlay.interface, device.name));
  const peers = status.peers.length === 0 ? 'none yet' : String(status.peers.length);
  rows.push(...under('peers', [peers, ...describePeers(status)]));
  return rows;
}

/** Where it is not what it is unless told. */
function describeAccept(accept: Accept): Line[] {
  if (accept === 'peers') return [];
  if (accept === 'any') return [['accept', "any: anybody's packets, with any inner addresses"]];
  return [['accept', 'strict: from a peer only what its own subnets send']];
}

function yes(value: boolean): string {
  return value ? 'yes' : 'no';
}
