/**
 * Three hosts on one network, all with weft or all with the kernel's VXLAN, a container behind each:
 * for what one peer, or a stranger, does to the others.
 */
import fs from 'node:fs';
import type { Container } from '../src/lab/container.js';
import type { Host } from '../src/lab/host.js';
import type { Lab } from '../src/lab/lab.js';
import { leaseKey, leaseValue } from '../src/lab/lease.js';
import type { Network } from '../src/lab/network.js';

export const TRIO = [1, 2, 3].map((n) => ({
  publicIp: `192.168.56.${10 + n}`,
  subnet: `10.10.${n}.0/24`,
  mac: `02:00:00:00:00:0${n}`,
}));

export interface Trio {
  readonly name: 'weft' | 'kernel';
  readonly network: Network;
  readonly hosts: readonly Host[];
  readonly ends: readonly Container[];
}

export async function openTrio(lab: Lab, name: Trio['name']): Promise<Trio> {
  const config = { Network: '10.10.0.0/16', SubnetLen: 24, Backend: { Type: 'vxlan' } };
  const subnets = TRIO.map((peer) => [leaseKey(peer), JSON.parse(leaseValue(peer))]);
  fs.writeFileSync(
    `${lab.shared}/network.json`,
    JSON.stringify({ config, subnets: Object.fromEntries(subnets) }),
  );
  const network = await lab.network();
  const hosts: Host[] = [];
  for (const [i, peer] of TRIO.entries()) {
    const host = await network.host(`${name}${i + 1}`, { address: `${peer.publicIp}/24` });
    hosts.push(host);
    if (name === 'kernel') {
      await host.kernelPeer({ ...peer, peers: TRIO.filter((other) => other !== peer) });
    } else {
      const weft = host.weft('-store-file=/run/shared/network.json', '-iface=ens33');
      await weft.waitFor(/ready/, 20_000);
    }
  }
  const ends: Container[] = [];
  for (const [i, host] of hosts.entries()) ends.push(await host.container(`${name}-c${i + 1}`));
  for (const end of ends.slice(1)) {
    await ends[0]!.run(['ping', '-c', '2', '-i', '0.1', '-W', '2', end.address]);
  }
  return { name, network, hosts, ends };
}
