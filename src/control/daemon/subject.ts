/** What the checks of operate/findings are told, from what the daemon has made. */

import { formatAddress } from '../../dataplane/wire/ipv4.js';
import type { Subject } from '../../operate/findings/check.js';
import { askingOnce } from '../host/ask-ip.js';
import { formatSubnet } from '../overlay/subnet.js';
import type { Host } from './host.js';
import { isVxlan, type Parts } from './report.js';

export interface Surroundings {
  readonly host: Pick<Host, 'runner' | 'proc' | 'pid' | 'nftGeneration'>;
  readonly network: string;
}

export function subjectOf(parts: Parts, { host, network }: Surroundings): Subject {
  const { name, mtu, underlay, lease, carrier } = parts;
  const port = isVxlan(parts) ? parts.backend.port : null;
  return {
    runner: host.runner,
    ask: askingOnce(host.runner),
    nftGeneration: host.nftGeneration(),
    proc: host.proc,
    pid: host.pid,
    backend: parts.backend.type,
    network,
    subnet: formatSubnet(lease.subnet),
    device: isVxlan(parts) ? name : null,
    mtu,
    underlay: {
      interface: underlay.name,
      address: underlay.address,
      publicIp: underlay.publicIp,
      mtu: underlay.mtu,
      port,
    },
    peers: carrier.peers.map((peer) => ({
      publicIp: formatAddress(peer.publicIp),
      subnet: formatSubnet(peer.subnet),
      direct: carrier.isDirect(peer),
    })),
  };
}
