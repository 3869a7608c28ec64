/**
 * A host: a namespace with `ens33` on the underlay, and a /run of its own, where subnet.env,
 * weft's socket and the like stand.
 */
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Running } from './command.js';
import { Container, type ContainerOptions } from './container.js';
import { KernelPeer, type KernelPeerOptions } from './kernel-peer.js';
import { type Holder, hold, Namespace, NETWORK_AND_MOUNTS, type Registry } from './namespace.js';
import { formatSubnetFile, parseSubnetFile, SUBNET_FILE, type SubnetFile } from './subnet-file.js';
import { join, type PortOptions, plug, type Switch, withoutPrefix } from './switch.js';

/** weft's command, as `npm run setup` builds it. */
export const WEFT = fileURLToPath(new URL('../cli/weft.js', import.meta.url));

export interface HostOptions extends PortOptions {
  /** Whether the host has a default route, to the network's gateway; true unless told. */
  defaultRoute?: boolean;
  /** Whether IPv4 forwarding is on, as Docker or an operator leaves a host; true unless told. */
  forwarding?: boolean;
}

export class Host extends Namespace {
  /** The underlay address, without the prefix length. */
  readonly address: string;
  readonly #lab: Registry;
  readonly #switch: Switch;
  /** The host's /run, by its path in the supervisor. */
  readonly #runDirectory: string;
  #containers = 0;

  private constructor(lab: Registry, into: Switch, name: string, holder: Holder, address: string) {
    super(name, holder, NETWORK_AND_MOUNTS);
    this.#lab = lab;
    this.#switch = into;
    this.address = withoutPrefix(address);
    this.#runDirectory = lab.directory('hosts', name);
  }

  /** Used by `Network.host`. */
  static async create(
    lab: Registry,
    into: Switch,
    name: string,
    options: HostOptions,
  ): Promise<Host> {
    const host = await Host.#unplugged(lab, into, name, options);
    await plug(host, 'ens33', into, options);
    if (options.defaultRoute !== false) await host.ip(`route add default via ${into.gateway}`);
    return host;
  }

  /** Used by `Lab.wire`: two hosts and one veth between them. */
  static async createPair(
    lab: Registry,
    names: readonly [string, string],
    mtu: number,
    options: readonly [PortOptions, PortOptions],
  ): Promise<readonly [Host, Host]> {
    const none = { name: '', mtu, gateway: '' };
    const hosts = [
      await Host.#unplugged(lab, none, names[0], options[0]),
      await Host.#unplugged(lab, none, names[1], options[1]),
    ] as const;
    await join(hosts, 'ens33', mtu, options);
    return hosts;
  }

  static async #unplugged(
    lab: Registry,
    into: Switch,
    name: string,
    options: HostOptions,
  ): Promise<Host> {
    const holder = await hold(name, NETWORK_AND_MOUNTS);
    const host = lab.add(new Host(lab, into, name, holder, options.address));
    // A folder of the supervisor's becomes the host's /run, so that both can read what is there.
    await host.run(['mount', '--bind', lab.shared, lab.directory('hosts', name, 'shared')]);
    await host.run(['mount', '--rbind', host.#runDirectory, '/run']);
    await host.run(['hostname', name]);
    const forwarding = options.forwarding === false ? 0 : 1;
    await host.sysctl(`net.ipv4.ip_forward=${forwarding}`);
    return host;
  }

  /** Where a file under the host's /run is for the supervisor. */
  path(file: string): string {
    if (!file.startsWith('/run/')) throw new Error(`${file} is not under /run`);
    return path.join(this.#runDirectory, file.slice('/run'.length));
  }

  /** Writes a file under the host's /run, with its folder. */
  write(file: string, text: string): void {
    fs.mkdirSync(path.dirname(this.path(file)), { recursive: true });
    fs.writeFileSync(this.path(file), text);
  }

  /** The text of a file under the host's /run, or undefined while there is none. */
  read(file: string): string | undefined {
    return fs.existsSync(this.path(file)) ? fs.readFileSync(this.path(file), 'utf8') : undefined;
  }

  /** What subnet.env says, or undefined while there is none. */
  subnetFile(): SubnetFile | undefined {
    const text = this.read(SUBNET_FILE);
    return text === undefined ? undefined : parseSubnetFile(text);
  }

  /** Starts `weft up` here with these flags. */
  weft(...flags: string[]): Running {
    return this.start([process.execPath, WEFT, 'up', ...flags], { name: 'weft up' });
  }

  /** Makes this host a flannel node that uses the kernel's VXLAN. Not beside weft in one host. */
  async kernelPeer(options: KernelPeerOptions): Promise<KernelPeer> {
    const peer = await KernelPeer.create(this, this.#switch.mtu - 50, this.address, options);
    this.write(SUBNET_FILE, formatSubnetFile(peer.subnetFile));
    return peer;
  }

  /** Makes a container behind this host's bridge, as subnet.env says; see `Container`. */
  async container(name: string, options: ContainerOptions = {}): Promise<Container> {
    const file = this.subnetFile();
    if (file === undefined) {
      throw new Error(`${this.name} has no ${SUBNET_FILE}: start weft or a kernel peer first`);
    }
    const number = ++this.#containers;
    return Container.create(this.#lab, this, file, number, name, options);
  }
}
