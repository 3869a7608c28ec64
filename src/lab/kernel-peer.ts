/**
 * A host that does VXLAN in the kernel, set up as flannel sets it up: the peer against
 * which weft is measured, and which knows nothing of weft.
 */
import { createHash } from 'node:crypto';
import type { Peer } from './lease.js';
import type { Namespace } from './namespace.js';
import type { SubnetFile } from './subnet-file.js';

export interface KernelPeerOptions {
  subnet: string;
  /** The whole overlay, for subnet.env; 10.10.0.0/16 unless told. */
  network?: string;
  /** Made from the subnet unless told. */
  mac?: string;
  /** The host's underlay address unless told. */
  publicIp?: string;
  /** 1 unless told. */
  vni?: number;
  /** 8472 unless told. */
  port?: number;
  /** Those known from the start; `addPeer` adds more. */
  peers?: readonly Peer[];
}

export class KernelPeer implements Peer {
  readonly #host: Namespace;
  /** What flannel would write into subnet.env here. */
  readonly subnetFile: SubnetFile;
  readonly subnet: string;
  readonly publicIp: string;
  readonly mac: string;
  readonly vni: number;
  /** The VXLAN device, flannel.<VNI>. */
  readonly device: string;

  private constructor(host: Namespace, mtu: number, publicIp: string, options: KernelPeerOptions) {
    this.#host = host;
    this.subnet = options.subnet;
    this.publicIp = publicIp;
    this.mac = options.mac ?? macFor(options.subnet);
    this.vni = options.vni ?? 1;
    this.device = `flannel.${this.vni}`;
    this.subnetFile = {
      network: options.network ?? '10.10.0.0/16',
      subnet: options.subnet.replace(/\d+\//, (last) => `${Number.parseInt(last, 10) + 1}/`),
      mtu,
      ipMasq: false,
    };
  }

  /** Used by `Host.kernelPeer`; `mtu` is the overlay's, `address` the host's on the underlay. */
  static async create(
    host: Namespace,
    mtu: number,
    address: string,
    options: KernelPeerOptions,
  ): Promise<KernelPeer> {
    const peer = new KernelPeer(host, mtu, options.publicIp ?? address, options);
    await host.ip(
      `link add ${peer.device} address ${peer.mac} mtu ${mtu} type vxlan id ${peer.vni}` +
        ` dev ens33 local ${peer.publicIp} dstport ${options.port ?? 8472} nolearning`,
      `address add ${baseOf(peer)}/32 dev ${peer.device}`,
      `link set ${peer.device} up`,
    );
    for (const other of options.peers ?? []) await peer.addPeer(other);
    return peer;
  }

  /** Neighbour, forwarding entry, route: flannel's order. A known subnet is replaced. */
  async addPeer(other: Peer): Promise<void> {
    const base = baseOf(other);
    const { device } = this;
    await this.#host.ip(
      `neighbour replace ${base} lladdr ${other.mac} dev ${device} nud permanent`,
    );
    await this.#host.run([
      ...['bridge', 'fdb', 'replace', other.mac, 'dev', device],
      ...['dst', other.publicIp, 'self', 'permanent'],
    ]);
    await this.#host.ip(`route replace ${other.subnet} via ${base} dev ${device} onlink`);
  }

  async removePeer(other: Peer): Promise<void> {
    const base = baseOf(other);
    const { device } = this;
    await this.#host.ip(
      `route delete ${other.subnet} via ${base} dev ${device} onlink`,
      `neighbour delete ${base} lladdr ${other.mac} dev ${device}`,
    );
    await this.#host.run([
      ...['bridge', 'fdb', 'delete', other.mac, 'dev', device, 'dst', other.publicIp, 'self'],
    ]);
  }
}

/** The subnet's first address: the VTEP's own, and the gateway of its route. */
function baseOf(peer: Peer): string {
  return peer.subnet.split('/')[0]!;
}

/** A MAC that is the same in every run, locally administered. */
function macFor(subnet: string): string {
  const digits = createHash('sha256').update(subnet).digest('hex').slice(0, 10);
  return `02:${digits.match(/../g)!.join(':')}`;
}
