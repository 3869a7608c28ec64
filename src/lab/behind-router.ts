/**
 * Two hosts beside each other, one with weft and one with the kernel's VXLAN, and their common
 * peer behind a router, with the kernel's VXLAN: what passes between the two kernels is what must
 * pass between weft and the peer.
 *
 *   xbox1 ─ weft   (56.11) ═╗                                     ╔═ far (57.13) ─ xbox3
 *   xbox2 ─ kernel (56.12) ═╬═ net0 ═ router (supervisor) ═ net1 ═╝
 *                     etcd ═╝
 */
import process from 'node:process';
import { type Running, run } from './command.js';
import type { Container } from './container.js';
import type { Etcd } from './etcd.js';
import { type Host, WEFT } from './host.js';
import type { KernelPeer } from './kernel-peer.js';
import { Lab } from './lab.js';
import type { Network } from './network.js';

/** The address of the peer behind the router. */
export const FAR = '192.168.57.13';
/** Where the network stands in etcd. */
export const PREFIX = '/coreos.com/network';

interface Parts {
  readonly lab: Lab;
  readonly near: Network;
  readonly etcd: Etcd;
  readonly weft: Host;
  readonly kernel: Host;
  readonly far: Host;
  /** The kernel's VTEPs, on `kernel` and on `far`. */
  readonly peers: readonly [KernelPeer, KernelPeer];
  /** Behind weft, the kernel and the far peer. */
  readonly boxes: readonly [Container, Container, Container];
  readonly running: Running;
}

export class BehindRouter {
  readonly lab: Lab;
  readonly near: Network;
  readonly etcd: Etcd;
  readonly weft: Host;
  readonly kernel: Host;
  readonly far: Host;
  readonly peers: Parts['peers'];
  readonly boxes: Parts['boxes'];
  /** The weft that runs, or ran last. */
  running: Running;

  constructor(parts: Parts) {
    this.lab = parts.lab;
    this.near = parts.near;
    this.etcd = parts.etcd;
    this.weft = parts.weft;
    this.kernel = parts.kernel;
    this.far = parts.far;
    this.peers = parts.peers;
    this.boxes = parts.boxes;
    this.running = parts.running;
  }

  /** @param before run before weft starts */
  static async build(before = async (): Promise<void> => {}): Promise<Parts> {
    const lab = await Lab.open();
    const near = await lab.network();
    const behind = await lab.network({ address: '192.168.57.1/24' });
    await lab.forward();
    const etcd = await near.etcd();
    const config = { Network: '10.10.0.0/16', SubnetLen: 24, Backend: { Type: 'vxlan' } };
    await etcd.put(`${PREFIX}/config`, JSON.stringify(config));
    const weft = await near.host('weft', { address: '192.168.56.11/24', offloads: false });
    const kernel = await near.host('kernel', { address: '192.168.56.12/24', offloads: false });
    const far = await behind.host('far', { address: `${FAR}/24`, offloads: false });
    const peers = [
      await kernel.kernelPeer({ subnet: '10.10.202.0/24' }),
      await far.kernelPeer({ subnet: '10.10.203.0/24' }),
    ] as const;
    for (const peer of peers) await etcd.register(PREFIX, peer);
    await before();
    const running = await startWeft(weft, etcd, [], []);
    for (const other of await etcd.peers(PREFIX)) {
      for (const peer of peers) if (other.publicIp !== peer.publicIp) await peer.addPeer(other);
    }
    const boxes = [
      await weft.container('xbox1'),
      await kernel.container('xbox2'),
      await far.container('xbox3'),
    ] as const;
    return { lab, near, etcd, weft, kernel, far, peers, boxes, running };
  }

  /** Starts weft again, by a program that runs it, and with more flags. */
  async startWeft(by: readonly string[] = [], more: readonly string[] = []): Promise<Running> {
    this.running = await startWeft(this.weft, this.etcd, by, more);
    return this.running;
  }

  /** As an operator does: weft measures all paths anew. */
  remeasure(): void {
    this.running.kill('SIGHUP');
  }

  /** What the containers learnt of paths before. */
  async forgetPaths(): Promise<void> {
    for (const box of this.boxes) await box.run(['ip', 'route', 'flush', 'cache']);
  }

  /** The router's link to the far peer. */
  static async setLink(mtu: number): Promise<void> {
    await run(['ip', 'link', 'set', 'net1', 'mtu', String(mtu)]);
  }

  /** Rules of the router: it sends and forwards no ICMP of these types. */
  static filter(types: string): Promise<void> {
    return BehindRouter.drop(`icmp type ${types}`);
  }

  /** Rules of the router: it neither sends nor forwards what matches. */
  static async drop(what: string): Promise<void> {
    const rules = ['forward', 'output'].map(
      (hook) =>
        `add chain inet lab ${hook} { type filter hook ${hook} priority 0; }\n` +
        `add rule inet lab ${hook} ${what} drop`,
    );
    await run(['nft', '-f', '-'], { input: ['add table inet lab', ...rules, ''].join('\n') });
  }

  static async noFilter(): Promise<void> {
    await run(['nft', 'delete', 'table', 'inet', 'lab'], { mayFail: true });
  }
}

/** Starts weft as systemd does, where a hang-up makes it look at everything anew. */
async function startWeft(
  host: Host,
  etcd: Etcd,
  by: readonly string[],
  more: readonly string[],
): Promise<Running> {
  const flags = [`-etcd-endpoints=${etcd.endpoint}`, `-etcd-prefix=${PREFIX}`, '-iface=ens33'];
  const argv = [...by, process.execPath, WEFT, 'up', ...flags, ...more];
  const running = host.start(argv, { name: 'weft', env: { NOTIFY_SOCKET: '/run/notify' } });
  await running.waitFor(/ready: flannel/, 10_000);
  return running;
}
