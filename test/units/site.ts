/**
 * Where the units are tried, one a release: a machine that boots, an etcd, and a host of another
 * flannel network node with a container, whose VXLAN is the kernel's.
 *
 *   box ─ docker0 ─ machine ─ ens33 ══ switch ══ ens33 ─ peer ─ docker0 ─ far
 *                                        ╚══ etcd
 */
import assert from 'node:assert/strict';
import type { Container } from '../../src/lab/container.js';
import type { Etcd } from '../../src/lab/etcd.js';
import type { KernelPeer } from '../../src/lab/kernel-peer.js';
import type { Lab } from '../../src/lab/lab.js';
import type { Network } from '../../src/lab/network.js';
import { Machine, pause } from './machine.js';

export const PREFIX = '/coreos.com/network';
export const CONFIG = '{"Network":"10.10.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}';
const FAR_SUBNET = '10.10.201.0/24';
export const DROP_IN = '/etc/systemd/system/docker.service.d/weft.conf';

export class Site {
  readonly machine: Machine;
  readonly address: string;
  readonly etcd: Etcd;
  readonly #peer: KernelPeer;
  readonly #far: Container;

  private constructor(
    machine: Machine,
    address: string,
    etcd: Etcd,
    peer: KernelPeer,
    far: Container,
  ) {
    this.machine = machine;
    this.address = address;
    this.etcd = etcd;
    this.#peer = peer;
    this.#far = far;
  }

  /** `number` tells the sites of a lab apart. */
  static async make(lab: Lab, network: Network, number: string, root: string): Promise<Site> {
    const etcd = await network.etcd({
      name: `etcd${number}`,
      address: `192.168.56.1${number}/24`,
    });
    await etcd.put(`${PREFIX}/config`, CONFIG);
    const host = await network.host(`peer${number}`, { address: `192.168.56.2${number}/24` });
    const peer = await host.kernelPeer({ subnet: FAR_SUBNET });
    await etcd.register(PREFIX, peer);
    const far = await host.container(`far${number}`);
    const address = `192.168.56.${number}`;
    const options = { name: `debian${number}`, root, address: `${address}/24` };
    return new Site(new Machine(lab, network, options), address, etcd, peer, far);
  }

  /** Flags for /etc/default/weft; the file as somebody edits it. */
  async flags(...more: string[]): Promise<void> {
    const flags = [`-etcd-endpoints=${this.etcd.endpoint}`, '-iface=ens33', '-ip-masq', '-lanes=2'];
    await this.machine.write(
      '/etc/default/weft',
      `WEFT_OPTIONS=${[...flags, ...more].join(' ')}\n`,
    );
  }

  /** `systemctl show`, a property. */
  property(unit: string, name: string): Promise<string> {
    return this.machine.sh(`systemctl show ${unit} -p ${name} --value`);
  }

  /** What the journal has of a unit since the last boot, without whatever stands in front. */
  journal(unit: string): Promise<string> {
    return this.machine.sh(`journalctl -b -u ${unit} -o cat --no-pager`);
  }

  /** How long the boot took, in milliseconds. It ends with nothing that failed and nothing left to do. */
  async booted(): Promise<number> {
    const began = Date.now();
    const state = await this.machine.sh(
      'systemctl is-system-running --wait; systemctl --failed --no-legend; systemctl list-jobs --no-legend',
      { timeout: 90_000 },
    );
    assert.equal(state, 'running');
    return Date.now() - began;
  }

  /** The subnet of subnet.env, with the host address that a bridge takes. */
  async subnet(): Promise<string> {
    const file = await this.machine.sh('cat /run/flannel/subnet.env');
    return /^FLANNEL_SUBNET=(\S+)$/m.exec(file)![1]!;
  }

  /** The address of a bridge, with its prefix length. */
  async bridge(name: string): Promise<string> {
    const text = await this.machine.sh(`ip -j -4 addr show ${name}`);
    const [link] = JSON.parse(text) as { addr_info: { local: string; prefixlen: number }[] }[];
    const [first] = link!.addr_info;
    return `${first!.local}/${first!.prefixlen}`;
  }

  async dockerIsOnTheSubnet(): Promise<void> {
    assert.equal(await this.bridge('docker0'), await this.subnet());
  }

  /** weft runs, several lanes and all, and has nothing to complain of. */
  async weftIsWell(): Promise<void> {
    const status = await this.machine.sh('weft status');
    assert.match(status, /^lanes +2; running$/m);
    assert.doesNotMatch(status, /^(?:fault|starting)/m);
  }

  /** The far container, by the kernel's VXLAN and weft's, reaches this address. */
  async answers(address: string): Promise<void> {
    for (const other of await this.etcd.peers(PREFIX)) {
      if (other.publicIp === this.address) await this.#peer.addPeer(other);
    }
    await within(8_000, `${address} answers the far container`, async () => {
      const ping = ['ping', '-c', '1', '-W', '1', address];
      return (await this.#far.run(ping, { mayFail: true })).code === 0;
    });
  }

  /** The address of a container of Docker's. */
  box(name: string): Promise<string> {
    const field = '{{.NetworkSettings.IPAddress}}';
    return this.machine.sh(`docker inspect -f '${field}' ${name}`);
  }

  get far(): string {
    return this.#far.address;
  }
}

export async function within(ms: number, what: string, holds: () => Promise<boolean>) {
  const deadline = Date.now() + ms;
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, `not within ${ms} ms: ${what}`);
    await pause(100);
  }
}
