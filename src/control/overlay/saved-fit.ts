/** Whether a network that an earlier run saved is still this host's. */
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import type { ReadNetwork } from './saved.js';
import { formatSubnet, type Subnet, sameSubnet } from './subnet.js';

export interface Here {
  /** The text of the config in force. */
  readonly config: string;
  /** int32. */
  readonly publicIp: number;
  /** Of subnet.env. */
  readonly previousSubnet?: Subnet | undefined;
}

/** Why it is of no use here, for the log; undefined where it is. */
export function whyUnfit(saved: ReadNetwork, here: Here): string | undefined {
  const { config, publicIp, previousSubnet } = here;
  if (saved.config !== config) {
    return `the network config has changed since the network was saved ${saved.savedAt}`;
  }
  if (saved.publicIp !== publicIp) {
    const [then, now] = [formatAddress(saved.publicIp), formatAddress(publicIp)];
    return `the saved network is of the public IP ${then}, and ours is ${now}`;
  }
  if (previousSubnet !== undefined && !sameSubnet(previousSubnet, saved.subnet)) {
    const [then, now] = [formatSubnet(saved.subnet), formatSubnet(previousSubnet)];
    return `the saved network has our subnet as ${then}, subnet.env as ${now}`;
  }
  return undefined;
}
