/**
 * A lab: hosts, containers, etcd and kernel peers, each a network namespace, on networks
 * that are bridges. For the demo, the network tests and the bench.
 *
 *   supervisor ─ bridge net0 (192.168.56.1/24, the underlay's switch)
 *                  ├─ ens33 host alpha ─ docker0 ─ eth0 container xbox1
 *                  ├─ ens33 host beta  ─ docker0 ─ eth0 container xbox3
 *                  └─ eth0  etcd
 *
 *     if (!Lab.inside()) process.exit(await enterLab());
 *     const lab = await Lab.open();
 *     const network = await lab.network();
 *     const alpha = await network.host('alpha', { address: '192.168.56.11/24' });
 *     …
 *     await lab.close();
 */
import fs from 'node:fs';
import { run } from './command.js';
import { insideLab, prepareSupervisor } from './enter.js';
import { Host } from './host.js';
import type { Namespace, Registry } from './namespace.js';
import { Network, type NetworkOptions } from './network.js';
import type { PortOptions } from './switch.js';

/** Where the lab keeps its files: on the supervisor's own tmpfs, so they go with it. */
const DIRECTORY = '/run/lab';

export class Lab implements Registry {
  readonly shared = `${DIRECTORY}/shared`;
  readonly #spaces: Namespace[] = [];
  readonly networks: Network[] = [];

  private constructor() {}

  /** Whether this process is the supervisor; if not, `enterLab` makes one. */
  static inside(): boolean {
    return insideLab();
  }

  /** Opens the lab in the supervisor; once a process. */
  static async open(): Promise<Lab> {
    prepareSupervisor();
    const lab = new Lab();
    fs.mkdirSync(lab.shared, { recursive: true });
    // Switches forward frames; they do not filter them through iptables. No such sysctl
    // means a kernel without br_netfilter, where they never do.
    if (fs.existsSync('/proc/sys/net/bridge/bridge-nf-call-iptables')) {
      const names = ['iptables', 'ip6tables', 'arptables'];
      await run([
        ...['sysctl', '-q', '-w'],
        ...names.map((name) => `net.bridge.bridge-nf-call-${name}=0`),
      ]);
    }
    return lab;
  }

  /** Makes a network: a switch, and the supervisor's address on it. */
  async network(options: NetworkOptions = {}): Promise<Network> {
    const network = await Network.create(this, `net${this.networks.length}`, options);
    this.networks.push(network);
    return network;
  }

  /** Lets the supervisor, which is the gateway of every network, pass packets between them. */
  async route(): Promise<void> {
    await run(['sysctl', '-q', '-w', 'net.ipv4.ip_forward=1']);
  }

  /** Two hosts joined by one veth of this MTU: nothing of the underlay but the wire. */
  wire(
    names: readonly [string, string],
    options: readonly [PortOptions, PortOptions],
    mtu = 1500,
  ): Promise<readonly [Host, Host]> {
    return Host.createPair(this, names, mtu, options);
  }

  directory(...names: string[]): string {
    const directory = [DIRECTORY, ...names].join('/');
    fs.mkdirSync(directory, { recursive: true });
    return directory;
  }

  add<Space extends Namespace>(space: Space): Space {
    if (this.#spaces.some((other) => other.name === space.name)) {
      throw new Error(`the lab has a "${space.name}" already`);
    }
    this.#spaces.push(space);
    return space;
  }

  /** Stops everything in the order opposite to that in which it was made. */
  async close(): Promise<void> {
    for (const space of this.#spaces.splice(0).reverse()) await space.close();
  }
}
