/**
 * The demo's hosts and containers, built step by step:
 *
 *        xbox1   xbox2                        xbox3   xbox4
 *          └ docker0 ┘                          └ docker0 ┘
 *           flannel.1                            flannel.1
 *     host1 192.168.56.11 ───── underlay ───── host2 192.168.56.12
 *                                  ├ etcd 192.168.56.131
 *                                  └ gateway 192.168.56.1 ───── outside 203.0.113.9
 *
 * The outside is there with Docker only, and so are Docker's own containers (engines.ts).
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Running } from '../../lab/command.js';
import type { Container } from '../../lab/container.js';
import type { Etcd } from '../../lab/etcd.js';
import { type Host, WEFT } from '../../lab/host.js';
import type { Lab } from '../../lab/lab.js';
import { leaseKey, leaseValue, type Peer } from '../../lab/lease.js';
import type { Network } from '../../lab/network.js';
import { type Screen, Unexpected } from './screen.js';

export interface Choices {
  /** Where configuration and leases live. */
  store: 'etcd' | 'file';
  /** Who does VXLAN on the hosts. */
  backend: 'weft' | 'kernel';
  /** Whether the containers are those of Docker engines. */
  docker: boolean;
}

/** A container as the checks see it: of the lab, or of a Docker engine. */
export type Box = Pick<Container, 'name' | 'address' | 'gateway' | 'run' | 'start'>;

/** The tutorial's configuration, to the letter: flannel takes field names in any case. */
const CONFIG = '{"Network":"10.10.0.0/16","Subnetlen":24,"Backend":{"Type":"Vxlan"}}';
export const PREFIX = '/docker-test/network';

/** The file store, by its path on the hosts. */
export const STORE_FILE = '/run/shared/network.json';

/** A host that knows nothing of the overlay, in a network of its own. */
export const OUTSIDE = { name: 'outside', address: '203.0.113.9' };

/** Where the command `weft` stands on the hosts, for `--enter`. */
const WRAPPER = 'bin/weft';
/** A small machine takes seconds to start both, and some to reach etcd. */
const JOIN_SECONDS = 45;

/** Leases for those that acquire none: the file store's and the kernel's hosts. */
const FIXED: readonly Peer[] = [
  { subnet: '10.10.1.0/24', publicIp: '192.168.56.11', mac: '02:00:00:00:00:0a' },
  { subnet: '10.10.2.0/24', publicIp: '192.168.56.12', mac: '02:00:00:00:00:0b' },
];

export class Stage {
  readonly choices: Choices;
  readonly hosts: Host[] = [];
  /** Two a host: the first host's, then the second's. */
  readonly containers: Box[] = [];
  /** The programs that run on the hosts, as they were started. */
  readonly daemons: { host: Host; running: Running }[] = [];
  /** With Docker only. */
  outside: Host | undefined;
  readonly #lab: Lab;
  readonly #screen: Screen;
  #etcd: Etcd | undefined;

  constructor(lab: Lab, screen: Screen, choices: Choices) {
    this.#lab = lab;
    this.#screen = screen;
    this.choices = choices;
  }

  async underlay(): Promise<void> {
    const network = await this.#lab.network();
    for (const [name, address] of [
      ['host1', '192.168.56.11/24'],
      ['host2', '192.168.56.12/24'],
    ] as const) {
      // An engine switches forwarding on by itself.
      const host = await network.host(name, { address, forwarding: !this.choices.docker });
      this.hosts.push(host);
      this.#screen.note(`${name}  ens33 ${address}, MTU ${network.switch.mtu}`);
    }
    if (this.choices.docker) await this.#beyond();
    const wrapper = path.join(this.#lab.shared, WRAPPER);
    fs.mkdirSync(path.dirname(wrapper), { recursive: true });
    fs.writeFileSync(wrapper, `#!/bin/sh\nexec "${process.execPath}" "${WEFT}" "$@"\n`, {
      mode: 0o755,
    });
  }

  async store(): Promise<void> {
    if (this.choices.store === 'etcd') await this.#startEtcd();
    else this.#writeFile();
  }

  async overlay(): Promise<void> {
    if (this.choices.backend === 'kernel') await this.#kernel();
    else await this.#weft();
    for (const host of this.hosts) {
      this.#screen.note(`${host.name}  /run/flannel/subnet.env:`);
      this.#screen.note(indent(host.read('/run/flannel/subnet.env') ?? ''));
    }
  }

  async plugContainers(): Promise<void> {
    const names = [
      ['xbox1', 'xbox2'],
      ['xbox3', 'xbox4'],
    ];
    for (const [index, host] of this.hosts.entries()) {
      for (const name of names[index]!) {
        const container = await host.container(name);
        this.containers.push(container);
        this.#screen.note(
          `${name}  on ${host.name}: ${container.address}, MTU ${host.subnetFile()!.mtu},` +
            ` gateway docker0 ${container.gateway}`,
        );
      }
    }
  }

  /** The last lines of each daemon's log, for a step that failed; without what engines chat. */
  evidence(): string {
    return this.daemons
      .map(({ host, running }) => {
        const ended = running.code === undefined ? '' : ` (ended with code ${running.code})`;
        const name = `${running.name} on ${host.name}${ended}`;
        const lines = running.output.split('\n').filter((line) => !line.includes(' level=info '));
        const end = lines.join('\n').trimEnd().split('\n').slice(-12).join('\n');
        return `the end of the log of ${name}:\n${indent(end)}`;
      })
      .join('\n');
  }

  /** The underlay's gateway, by its address there. */
  get gateway(): string {
    return this.#network().switch.gateway;
  }

  /** A second network behind the underlay's gateway, and a host in it. */
  async #beyond(): Promise<void> {
    const beyond = await this.#lab.network({ address: '203.0.113.1/24' });
    await this.#lab.forward();
    const { name, address } = OUTSIDE;
    this.outside = await beyond.host(name, { address: `${address}/24` });
    this.#screen.note(`${name}  ${address}, behind the gateway ${this.gateway}`);
  }

  async #startEtcd(): Promise<void> {
    this.#etcd = await this.#network().etcd();
    await this.#etcd.put(`${PREFIX}/config`, CONFIG);
    this.#screen.note(`etcd   ${this.#etcd.endpoint}`);
    this.#screen.note(`${PREFIX}/config`);
    this.#screen.note(`  = ${CONFIG}`);
  }

  #writeFile(): void {
    const subnets = FIXED.map((peer) => [leaseKey(peer), JSON.parse(leaseValue(peer))] as const);
    const network = { config: JSON.parse(CONFIG), subnets: Object.fromEntries(subnets) };
    const file = path.join(this.#lab.shared, path.basename(STORE_FILE));
    fs.writeFileSync(file, `${JSON.stringify(network, undefined, 2)}\n`);
    this.#screen.note(`${STORE_FILE}, which both hosts read`);
    this.#screen.note(`  config  ${CONFIG}`);
    for (const peer of FIXED) {
      this.#screen.note(`  subnets ${leaseKey(peer)}  PublicIP ${peer.publicIp}`);
    }
  }

  async #weft(): Promise<void> {
    const flags =
      this.#etcd === undefined
        ? [`-store-file=${STORE_FILE}`]
        : [`-etcd-endpoints=${this.#etcd.endpoint}`, `-etcd-prefix=${PREFIX}`];
    const all = [...flags, '-iface=ens33', ...(this.choices.docker ? ['-ip-masq'] : [])];
    this.#screen.note(this.#screen.dim(`on each host: weft up ${all.join(' ')}`));
    for (const host of this.hosts) this.daemons.push({ host, running: host.weft(...all) });
    const shown = new Set<string>();
    const deadline = Date.now() + JOIN_SECONDS * 1_000;
    while (!(await this.#joined())) {
      await this.#showLeases(shown);
      const ended = this.daemons.find(({ running }) => running.code !== undefined);
      if (ended !== undefined) {
        throw new Unexpected('weft to go on running', `weft on ${ended.host.name} ended`);
      }
      if (Date.now() > deadline) {
        throw new Unexpected(
          `subnet.env on both hosts, and a route to the other through flannel.1, within ${JOIN_SECONDS} s`,
          (await Promise.all(this.hosts.map((host) => this.#described(host)))).join('\n'),
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await this.#showLeases(shown);
  }

  async #showLeases(shown: Set<string>): Promise<void> {
    for (const { key, value } of (await this.#etcd?.list(`${PREFIX}/subnets/`)) ?? []) {
      if (shown.has(key)) continue;
      shown.add(key);
      this.#screen.note(`new key ${key}`);
      this.#screen.note(`  = ${value}`);
    }
  }

  /** Whether each host has its subnet and a route to the other's. */
  async #joined(): Promise<boolean> {
    if (this.hosts.some((host) => host.subnetFile() === undefined)) return false;
    for (const host of this.hosts) {
      const argv = ['ip', '-4', 'route', 'show', 'dev', 'flannel.1'];
      const { stdout } = await host.run(argv, { mayFail: true });
      const missing = this.hosts.some(
        (other) => other !== host && !stdout.includes(`${subnetOf(other)} `),
      );
      if (missing) return false;
    }
    return true;
  }

  async #described(host: Host): Promise<string> {
    const routes = await host.run(['ip', '-4', 'route'], { mayFail: true });
    const file = host.subnetFile() === undefined ? 'no subnet.env' : 'subnet.env';
    return `${host.name}: ${file}; its routes:\n${indent(routes.stdout)}`;
  }

  async #kernel(): Promise<void> {
    const peers = [];
    for (const [index, host] of this.hosts.entries()) {
      const { subnet, mac } = FIXED[index]!;
      const peer = await host.kernelPeer({ subnet, mac });
      peers.push(peer);
      await this.#etcd?.register(PREFIX, peer);
    }
    await peers[0]!.addPeer(peers[1]!);
    await peers[1]!.addPeer(peers[0]!);
    await this.#showLeases(new Set());
  }

  #network(): Network {
    return this.#lab.networks[0]!;
  }
}

/** 10.10.58.0/24, from the bridge's address in subnet.env. */
export function subnetOf(host: Host): string {
  return host.subnetFile()!.subnet.replace(/\.\d+\//, '.0/');
}

function indent(text: string): string {
  return text.trimEnd().replaceAll(/^/gm, '  ');
}
