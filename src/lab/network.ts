/** An underlay network: a switch, and what is plugged into it. */
import { Etcd } from './etcd.js';
import { Host, type HostOptions } from './host.js';
import type { Registry } from './namespace.js';
import { makeSwitch, type Switch } from './switch.js';

export interface NetworkOptions {
  /** MTU of the switch and of all that is plugged into it; 1500 unless told. */
  mtu?: number;
  /**
   * The supervisor's address and prefix length, 192.168.56.1/24 unless told: so that it
   * (a test, say) can talk to etcd itself. As a gateway it leads nowhere, unless `Lab.route` is
   * called, and then to the lab's other networks.
   */
  address?: string;
}

export class Network {
  readonly switch: Switch;
  readonly #lab: Registry;

  private constructor(lab: Registry, made: Switch) {
    this.#lab = lab;
    this.switch = made;
  }

  /** Used by `Lab.network`. */
  static async create(lab: Registry, name: string, options: NetworkOptions): Promise<Network> {
    const address = options.address ?? '192.168.56.1/24';
    return new Network(lab, await makeSwitch(name, options.mtu ?? 1500, address));
  }

  /** Makes a host; its name must be new in the lab and at most 15 characters long. */
  host(name: string, options: HostOptions): Promise<Host> {
    return Host.create(this.#lab, this.switch, name, options);
  }

  /** Starts an etcd in a namespace of its own, at 192.168.56.131/24 unless told. */
  etcd(options: { name?: string; address?: string } = {}): Promise<Etcd> {
    const { name = 'etcd', address = '192.168.56.131/24' } = options;
    return Etcd.create(this.#lab, this.switch, name, address);
  }
}
