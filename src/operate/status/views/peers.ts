/** `weft status peers`: each with its ways, what went both ways, and what is wrong with it. */
import { ago, bytes, columns, count } from '../format.js';
import { type Line, under } from '../lines.js';
import type { PeerHealth } from '../peer-health.js';
import type { HostGwStatus, Status } from '../status.js';
import { aboutPeer } from '../traffic.js';

export function describePeersView(status: Status | HostGwStatus): Line[] {
  if (status.peers.length === 0) return [['peers', 'none yet: this host is alone in the network']];
  if (status.backend !== 'vxlan') {
    const rows = status.peers.map(({ subnet, publicIp, direct, health }) => [
      ...[publicIp, subnet, direct ? 'direct' : 'no route', health.state, timeOf(health)],
    ]);
    return under('peers', columns([['public IP', 'subnet', 'way', 'health', ''], ...rows]));
  }
  const head = ['public IP', 'subnet', 'health', 'round trip', 'way', 'path MTU'];
  const traffic = ['sent', '', 'heard', '', 'last heard'];
  const rows = status.peers.map(({ publicIp, subnet, direct, health, pathMtu, seen }) => [
    ...[publicIp, subnet, health.state, timeOf(health)],
    ...[direct ? 'direct' : 'tunnel', pathMtu === null ? '?' : `${pathMtu.mtu}`],
    ...[count(seen.sentPackets), bytes(seen.sentBytes)],
    ...[count(seen.receivedPackets), bytes(seen.receivedBytes)],
    seen.heardSecondsAgo === null ? 'never' : ago(seen.heardSecondsAgo),
  ]);
  const [titles = '', ...lines] = columns([[...head, ...traffic], ...rows]);
  const shown = lines.flatMap((line, i) => {
    const { seen, health } = status.peers[i]!;
    const words = health.state === 'well' ? [] : [health.words, health.todo];
    const about = [...words.filter((text) => text !== ''), ...aboutPeer(seen, status.underlay.mtu)];
    return [line, ...about.map((text) => `  ${text}`)];
  });
  return under('peers', [titles, ...shown]);
}

function timeOf({ roundTripMs }: PeerHealth): string {
  return roundTripMs === null ? '–' : `${roundTripMs.toFixed(1)} ms`;
}
