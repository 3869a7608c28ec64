/** What the page of `weft dash` is told every two seconds, and what its charts are drawn from. */
import type { DropName } from '../../dataplane/forward/drops.js';
import { abridged, addressesIn } from '../findings/finding.js';
import { aboutDrop } from '../status/drop-sample.js';
import { DROP_WORDS } from '../status/drop-words.js';
import { duration } from '../status/format.js';
import { type Answer, type HostGwStatus, isStarting, type Status } from '../status/status.js';
import type { DropRow, PeerRow, Sample, View } from './shown.js';

/** Those with most traffic, and those that are named in a finding. */
const PEERS = 200;

/** `why` in place of an answer: none was had. `before` is of the same process, or undefined. */
export function viewOf(answer: Answer | string, before: Answer | undefined, time: number): View {
  const nothing = {
    ...{ verdict: null, findings: [], facts: [], peers: [], peerCount: 0 },
    ...{ drops: [], strangers: [], sample: null },
  };
  if (typeof answer === 'string') return { state: 'gone', why: answer, ...nothing };
  if (isStarting(answer)) return { state: 'starting', why: answer.waitingFor, ...nothing };
  const { verdict, findings } = answer;
  const earlier = earlierOf(answer, before);
  const vxlan = answer.backend === 'vxlan' ? answer : undefined;
  return {
    ...{ state: 'running', why: '', verdict, facts: factsOf(answer) },
    findings: abridged(findings),
    peers: peersOf(answer, earlier),
    peerCount: answer.peers.length,
    drops: vxlan === undefined ? [] : dropsOf(vxlan, earlier),
    strangers: vxlan?.strangers.slice(0, 8) ?? [],
    sample: vxlan === undefined ? null : sampleOf(vxlan, earlier, time),
  };
}

/** Undefined where no rate can be had. */
function earlierOf(now: Status | HostGwStatus, before: Answer | undefined): Status | undefined {
  if (before === undefined || isStarting(before) || before.backend !== 'vxlan') return undefined;
  if (before.pid !== now.pid || before.uptimeSeconds >= now.uptimeSeconds) return undefined;
  return before;
}

function sampleOf(now: Status, before: Status | undefined, time: number): Sample | null {
  if (before === undefined) return null;
  const seconds = now.uptimeSeconds - before.uptimeSeconds;
  const rate = (name: keyof Status['counters']): number =>
    Math.max(0, now.counters[name] - before.counters[name]) / seconds;
  return {
    time,
    outBits: 8 * rate('outbound_out_bytes'),
    inBits: 8 * rate('inbound_out_bytes'),
    outPackets: rate('outbound_out_packets'),
    inPackets: rate('inbound_out_packets'),
    drops: Math.max(0, totalOf(now.drops) - totalOf(before.drops)) / seconds,
  };
}

function totalOf(drops: Status['drops']): number {
  return Object.values(drops).reduce((sum, packets) => sum + packets, 0);
}

function dropsOf(now: Status, before: Status | undefined): DropRow[] {
  const seconds = before === undefined ? 1 : now.uptimeSeconds - before.uptimeSeconds;
  const rows = Object.entries(now.drops).map(([reason, packets = 0]) => {
    const name = reason as Exclude<DropName, 'none'>;
    // An older weft, of before an upgrade, tells none.
    const sample = (now.dropSamples ?? []).find((one) => one.reason === reason);
    const then = before === undefined ? packets : (before.drops[name] ?? 0);
    return {
      reason,
      packets,
      rate: Math.max(0, packets - then) / seconds,
      words: DROP_WORDS[name],
      last: sample?.packet ?? '',
      lastAbout: sample === undefined ? '' : aboutDrop(sample),
    };
  });
  return rows.sort((a, b) => b.packets - a.packets);
}

function peersOf(now: Status | HostGwStatus, before: Status | undefined): PeerRow[] {
  const named = new Set(now.findings.flatMap(({ about }) => addressesIn(about)));
  const isNamed = (publicIp: string) => Number(named.has(publicIp));
  if (now.backend !== 'vxlan') {
    const first = [...now.peers].sort((a, b) => isNamed(b.publicIp) - isNamed(a.publicIp));
    return first.slice(0, PEERS).map(({ publicIp, subnet, direct, health }) => ({
      ...{ publicIp, subnet, way: direct ? 'direct' : 'none' },
      ...{ outBits: 0, inBits: 0, heardSecondsAgo: null, pathMtu: null },
      ...{ health: health.state, roundTripMs: health.roundTripMs },
    }));
  }
  const seconds = before === undefined ? 1 : now.uptimeSeconds - before.uptimeSeconds;
  const earlier = new Map(before?.peers.map((peer) => [peer.publicIp, peer.seen]));
  const rows = now.peers.map(({ publicIp, subnet, direct, health, seen, pathMtu }): PeerRow => {
    const then = earlier.get(publicIp) ?? seen;
    return {
      ...{ publicIp, subnet, way: direct ? 'direct' : 'tunnel' },
      outBits: (8 * Math.max(0, seen.sentBytes - then.sentBytes)) / seconds,
      inBits: (8 * Math.max(0, seen.receivedBytes - then.receivedBytes)) / seconds,
      heardSecondsAgo: seen.heardSecondsAgo,
      pathMtu: pathMtu?.mtu ?? null,
      ...{ health: health.state, roundTripMs: health.roundTripMs },
    };
  });
  const weight = (row: PeerRow): number => 1e15 * isNamed(row.publicIp) + row.outBits + row.inBits;
  return rows.sort((a, b) => weight(b) - weight(a)).slice(0, PEERS);
}

function factsOf(answer: Status | HostGwStatus): [string, string][] {
  const { version, build, lease, storeState, store, underlay, overlayNetwork } = answer;
  const { awaySeconds, member, reason } = storeState;
  const ends = lease.expiresInSeconds;
  const facts: [string, string][] = [
    ['weft', build === null ? version : `${version} (${build.commit})`],
    ['Process', `${answer.pid}, up ${duration(answer.uptimeSeconds)}`],
    ['Subnet', `${lease.subnet} of ${overlayNetwork}`],
    [
      'Lease',
      lease.lost ?? (ends === null ? 'reserved' : `ends in ${duration(ends)} unless renewed`),
    ],
    [
      'Store',
      awaySeconds === null
        ? (member ?? store)
        : `away for ${duration(awaySeconds)}: ${reason ?? ''}`,
    ],
    ['Underlay', `${underlay.interface}, ${underlay.address}, MTU ${underlay.mtu}`],
  ];
  if (answer.backend === 'vxlan') {
    const { device, offload, lanes } = answer;
    const running = lanes.filter((lane) => lane.running).length;
    facts.push(
      ['Device', `${device.name}, MTU ${device.mtu}`],
      ['Offload tier', offload.tier],
      ['Lanes', `${running} of ${lanes.length} running`],
    );
  }
  return facts;
}
