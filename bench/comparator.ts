/**
 * The C forwarders on hosts of the lab: starts one, and wires its TUN as weft wires its own
 * (name, address, MTU, queue length, one route a peer).
 */
import type { Running } from '../src/lab/command.js';
import type { Host } from '../src/lab/host.js';
import type { Peer } from '../src/lab/lease.js';
import { formatSubnetFile, SUBNET_FILE } from '../src/lab/subnet-file.js';
import type { Programs } from './build-c.js';

export type Forwarder = 'limit' | 'one-packet';

export interface ComparatorOptions {
  /** This host as a peer; its public address is the host's. */
  readonly own: Peer;
  readonly peers: readonly Peer[];
  /** The TUN's MTU, 1450 unless told. */
  readonly mtu?: number;
  /** Packets that the TUN's queue holds, 5000 unless told, as weft sets it. */
  readonly txqueuelen?: number;
}

const DEVICE = 'flannel.1';

/** Starts a forwarder and waits until its TUN carries packets. `stop` it by the lab's close. */
export async function startComparator(
  host: Host,
  programs: Programs,
  forwarder: Forwarder,
  options: ComparatorOptions,
): Promise<Running> {
  const { own, peers, mtu = 1450, txqueuelen = 5000 } = options;
  const argv = [programs[forwarder], '--tun', DEVICE, '--local', own.publicIp];
  argv.push('--mac', own.mac, '--port', '8472', '--vni', '1', '--mtu', String(mtu));
  for (const peer of peers) argv.push('--peer', `${peer.subnet},${peer.publicIp},${peer.mac}`);
  const running = host.start(argv, { name: forwarder });
  await running.waitFor(/ready/, 5_000);
  await host.ip(
    `address add ${baseOf(own)}/32 dev ${DEVICE}`,
    `link set ${DEVICE} mtu ${mtu} txqueuelen ${txqueuelen} up`,
    ...peers.map((peer) => `route add ${peer.subnet} via ${baseOf(peer)} dev ${DEVICE} onlink`),
  );
  const subnet = own.subnet.replace(/\d+\//, (last) => `${Number.parseInt(last, 10) + 1}/`);
  const file = { network: '10.10.0.0/16', subnet, mtu, ipMasq: false };
  host.write(SUBNET_FILE, formatSubnetFile(file));
  return running;
}

/** The subnet's first address. */
function baseOf(peer: Peer): string {
  return peer.subnet.split('/')[0]!;
}
