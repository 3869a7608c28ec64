/** `weft status routes`: which subnet leads where. */
import { columns } from '../format.js';
import { type Line, under } from '../lines.js';
import type { HostGwStatus, Status } from '../status.js';

export function describeRoutesView(status: Status | HostGwStatus): Line[] {
  const { lease, peers, routes, underlay } = status;
  const tunnel = status.backend === 'vxlan' ? status.device.name : null;
  const rows = peers.map(({ subnet, publicIp, direct }) => {
    if (direct) return [subnet, publicIp, `direct, by ${underlay.interface}`];
    return [subnet, publicIp, tunnel === null ? 'no route' : `tunnel, by ${tunnel}`];
  });
  const own = [lease.subnet, 'this host', ''];
  const head = ['subnet', 'host', 'way'];
  return [
    ...under('routes', columns([head, own, ...rows])),
    ...routes.problems.map((problem): Line => ['problem', problem, 'bad']),
  ];
}
