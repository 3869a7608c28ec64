/** `weft status peers`: each with its ways, what went both ways, and what is wrong with it. */
import { ago, bytes, columns, count } from '../format.js';
import { type Line, under } from '../lines.js';
import type { HostGwStatus, Status } from '../status.js';
import { aboutPeer } from '../traffic.js';

export function describePeersView(status: Status | HostGwStatus): Line[] {
  if (status.peers.length === 0) return [['peers', 'none yet: this host is alone in the network']];
  if (status.backend !== 'vxlan') {
    const rows = status.peers.map(({ subnet, publicIp, direct }) => [
      ...[subnet, publicIp, direct ? 'direct' : 'no route'],
    ]);
    return under('peers', columns([['subnet', 'public IP', ''], ...rows]));
  }
  const head = ['public IP', 'subnet', 'way', 'path MTU', 'sent', '', 'heard', '', 'last heard'];
  const rows = status.peers.map(({ publicIp, subnet, direct, pathMtu, seen }) => [
    ...[publicIp, subnet, direct ? 'direct' : 'tunnel', pathMtu === null ? '?' : `${pathMtu.mtu}`],
    ...[count(seen.sentPackets), bytes(seen.sentBytes)],
    ...[count(seen.receivedPackets), bytes(seen.receivedBytes)],
    seen.heardSecondsAgo === null ? 'never' : ago(seen.heardSecondsAgo),
  ]);
  const [titles = '', ...lines] = columns([head, ...rows]);
  const shown = lines.flatMap((line, i) => {
    const about = aboutPeer(status.peers[i]!.seen, status.underlay.mtu);
    return [line, ...about.map((text) => `  ${text}`)];
  });
  return under('peers', [titles, ...shown]);
}
