/**
 * What the tests of the firewall rules share: a host whose weft they start and stop, and what its
 * rules are, beside listings that were recorded beside flanneld.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import type { Running } from '../../src/lab/command.js';
import { labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Network } from '../../src/lab/network.js';
import { IPTABLES, type Recorded } from '../control/host/firewall/recorded.js';
import { PREFIX, weftFlags } from './overlay.js';

export const FAST = '-iptables-resync=1';

const recorded = (title: string) => IPTABLES.find((one) => one.title === title)!;
export const MASQUERADED = recorded('--ip-masq');
export const NOT_RANDOM = recorded('--ip-masq --ip-masq-fully-random-disable');
export const FORWARDED = recorded('no --ip-masq (default forward rules)');

/** Why there can be no such host here; undefined when there can. */
export function firewallLacks(): string | undefined {
  return labLacks({ programs: ['etcd', 'iptables', 'ip6tables', 'nft', 'ping'], tun: true });
}

export class Firewall {
  readonly lab: Lab;
  readonly network: Network;
  readonly etcd: Etcd;
  readonly host: Host;
  readonly #wefts: Running[] = [];

  private constructor(lab: Lab, network: Network, etcd: Etcd, host: Host) {
    this.lab = lab;
    this.network = network;
    this.etcd = etcd;
    this.host = host;
  }

  static async open(): Promise<Firewall> {
    const lab = await Lab.open();
    const network = await lab.network();
    const etcd = await network.etcd();
    const host = await network.host('host1', { address: '192.168.56.11/24' });
    const firewall = new Firewall(lab, network, etcd, host);
    await firewall.configure();
    return firewall;
  }

  configure(more: object = {}): Promise<void> {
    const config = { Network: '10.20.0.0/16', Backend: { Type: 'vxlan' }, ...more };
    return this.etcd.put(`${PREFIX}/config`, JSON.stringify(config));
  }

  /** Stops the wefts that `start` made: so that a test that fails does not fail the next. */
  async stopAll(): Promise<void> {
    for (const weft of this.#wefts.splice(0)) await weft.stop();
  }

  async start(...flags: string[]): Promise<Running> {
    const weft = await this.startOn(this.host, ...flags);
    this.#wefts.push(weft);
    return weft;
  }

  /** On another host, for longer than a test. */
  async startOn(host: Host, ...flags: string[]): Promise<Running> {
    const weft = host.weft(...weftFlags(this.etcd), ...flags);
    await weft.waitFor(/ready: flannel/, 60_000);
    return weft;
  }

  /** What weft said. */
  async startAndStop(...flags: string[]): Promise<string> {
    const weft = await this.start(...flags);
    assert.equal(await weft.stop(), 0);
    return weft.output;
  }

  async say(...argv: string[]): Promise<string> {
    return (await this.host.run(argv)).stdout;
  }

  /** Without what iptables says of itself, what passed, and the guard's table (guard.test.ts). */
  async saved(program = 'iptables-save', host = this.host): Promise<string> {
    return (await host.run([program])).stdout
      .replace(/^#.*\n/gm, '')
      .replace(/^\*mangle[\s\S]*?COMMIT\n/gm, '')
      .replace(/\[\d+:\d+\]/g, '[0:0]');
  }

  tables(): Promise<string> {
    return this.say('nft', 'list', 'tables');
  }

  table(): Promise<string> {
    return this.say('nft', 'list', 'table', 'ip', 'flannel-ipv4');
  }

  down(): Promise<string> {
    return this.say(process.execPath, WEFT, 'down');
  }

  /** A recorded listing with a host's subnet in place of that host's. */
  expected({ listing, subnet }: Recorded, host = this.host): string {
    return `${listing.trimEnd().replaceAll(subnet, subnetOf(host))}\n`;
  }
}

export function subnetOf(host: Host): string {
  return host.subnetFile()!.subnet.replace(/\.1\//, '.0/');
}
