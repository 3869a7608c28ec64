/**
 * A container: a namespace behind a bridge of its host, wired as Docker does it with the
 * `--bip` and `--mtu` that flannel's subnet.env gives.
 */
import { type Holder, hold, Namespace, NETWORK_ONLY, type Registry } from './namespace.js';
import type { SubnetFile } from './subnet-file.js';
import { withoutPrefix } from './switch.js';

export interface ContainerOptions {
  /** The host's bridge, made with the first container; docker0 unless told. */
  bridge?: string;
  /** The container's address; the next free one of the host's subnet unless told. */
  address?: string;
}

export class Container extends Namespace {
  /** The container's address, without the prefix length. */
  readonly address: string;
  /** The bridge's address, the container's gateway. */
  readonly gateway: string;

  private constructor(name: string, holder: Holder, address: string, gateway: string) {
    super(name, holder, NETWORK_ONLY);
    this.address = address;
    this.gateway = gateway;
  }

  /** Used by `Host.container`; `number` counts the host's containers from 1. */
  static async create(
    lab: Registry,
    host: Namespace,
    file: SubnetFile,
    number: number,
    name: string,
    options: ContainerOptions,
  ): Promise<Container> {
    const gateway = withoutPrefix(file.subnet);
    const prefix = file.subnet.split('/')[1]!;
    const octets = gateway.split('.').map(Number);
    const address = options.address ?? [...octets.slice(0, 3), octets[3]! + number].join('.');
    const bridge = options.bridge ?? 'docker0';
    const holder = await hold(name, NETWORK_ONLY);
    const container = lab.add(new Container(name, holder, address, gateway));

    const known = await host.run(['ip', 'link', 'show', bridge], { mayFail: true });
    if (known.code !== 0) {
      await host.ip(
        `link add ${bridge} mtu ${file.mtu} type bridge stp_state 0`,
        `address add ${file.subnet} dev ${bridge}`,
        `link set ${bridge} up`,
      );
    }
    const port = `veth-${name}`.slice(0, 15);
    await host.ip(
      `link add ${port} mtu ${file.mtu} type veth peer name eth0 mtu ${file.mtu} netns ${container.holder}`,
      `link set ${port} master ${bridge} up`,
    );
    await container.run(['hostname', name]);
    await container.ip(
      'link set lo up',
      `address add ${address}/${prefix} dev eth0`,
      'link set eth0 up',
      `route add default via ${gateway}`,
    );
    return container;
  }
}
