/**
 * Two hosts beside each other, one with weft and one with the kernel's VXLAN, and their common
 * peer behind a router, with the kernel's VXLAN: what passes between the two kernels is what must
 * pass between weft and the peer.
 *
 *   xbox1 ─ weft   (56.11) ═╗                                     ╔═ far (57.13) ─ xbox3
 *   xbox2 ─ kernel (56.12) ═╬═ net0 ═ router (supervisor) ═ net1 ═╝
 *                     etcd ═╝
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { type Running, run } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { labLacks } from '../../src/lab/enter.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Network } from '../../src/lab/network.js';
import type { Status } from '../../src/operate/status/status.js';
import { until } from '../control/fakes.js';
import { CONFIG, PREFIX, tcpTransfer, weftFlags } from './overlay.js';

export const FAR = '192.168.57.13';
/** VXLAN over IPv4, and ICMP echo over that. */
const VXLAN = 50;
const ECHO = 28;

type PathMtu = NonNullable<Status['peers'][number]['pathMtu']>;

/** Why paths cannot be measured in a lab here; undefined when they can. */
export async function pathsLack(programs: readonly string[] = []): Promise<string | undefined> {
  const needed = ['etcd', 'ping', 'bridge', 'nft', 'ethtool', ...programs];
  const lacks = labLacks({ programs: needed, tun: true });
  if (lacks !== undefined) return lacks;
  return import('raw-socket').then(
    () => undefined,
    () => 'the npm package raw-socket, which is built by make, g++ and python3',
  );
}

interface Around {
  readonly lab: Lab;
  readonly near: Network;
  readonly flags: readonly string[];
  readonly running: Running;
}

/** Starts weft as systemd does, where a hang-up makes it look at everything anew. */
async function start(
  host: Host,
  flags: readonly string[],
  around: readonly string[] = [],
): Promise<Running> {
  const argv = [...around, process.execPath, WEFT, 'up', ...flags];
  const running = host.start(argv, { name: 'weft', env: { NOTIFY_SOCKET: '/run/notify' } });
  await running.waitFor(/ready: flannel/, 10_000);
  return running;
}

export class Paths {
  readonly lab: Lab;
  readonly near: Network;
  running: Running;
  readonly #flags: readonly string[];
  readonly weft: Host;
  readonly kernel: Host;
  readonly far: Host;
  /** Behind weft, the kernel and the far peer. */
  readonly boxes: readonly [Container, Container, Container];

  private constructor(
    { lab, near, flags, running }: Around,
    [weft, kernel, far]: readonly [Host, Host, Host],
    boxes: readonly [Container, Container, Container],
  ) {
    this.lab = lab;
    this.near = near;
    this.#flags = flags;
    this.running = running;
    this.weft = weft;
    this.kernel = kernel;
    this.far = far;
    this.boxes = boxes;
  }

  /** @param before run before weft starts */
  static async open(before = async (): Promise<void> => {}): Promise<Paths> {
    const lab = await Lab.open();
    const near = await lab.network();
    const behind = await lab.network({ address: '192.168.57.1/24' });
    await lab.forward();
    const etcd = await near.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    const hosts = [
      await near.host('weft', { address: '192.168.56.11/24', offloads: false }),
      await near.host('kernel', { address: '192.168.56.12/24', offloads: false }),
      await behind.host('far', { address: `${FAR}/24`, offloads: false }),
    ] as const;
    const kernels = [
      await hosts[1].kernelPeer({ subnet: '10.10.202.0/24' }),
      await hosts[2].kernelPeer({ subnet: '10.10.203.0/24' }),
    ];
    for (const peer of kernels) await etcd.register(PREFIX, peer);
    await before();
    const flags = weftFlags(etcd);
    const running = await start(hosts[0], flags);
    for (const other of await etcd.peers(PREFIX)) {
      for (const peer of kernels) if (other.publicIp !== peer.publicIp) await peer.addPeer(other);
    }
    const boxes = [
      await hosts[0].container('xbox1'),
      await hosts[1].container('xbox2'),
      await hosts[2].container('xbox3'),
    ] as const;
    return new Paths({ lab, near, flags, running }, hosts, boxes);
  }

  /** Starts weft again, by a program that runs it, and with more flags. */
  async startWeft(by: readonly string[], more: readonly string[] = []): Promise<Running> {
    this.running = await start(this.weft, [...this.#flags, ...more], by);
    return this.running;
  }

  /** The router's link to the far peer. */
  static async setLink(mtu: number): Promise<void> {
    await run(['ip', 'link', 'set', 'net1', 'mtu', String(mtu)]);
  }

  /** Rules of the router: it sends and forwards no ICMP of these types. */
  static filter(types: string): Promise<void> {
    return Paths.drop(`icmp type ${types}`);
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

  async status(): Promise<Status> {
    const { stdout } = await this.weft.run([process.execPath, WEFT, 'status', '--json'], {
      mayFail: true,
    });
    return JSON.parse(stdout);
  }

  /** What weft says of the path to the far peer. */
  async pathMtu(): Promise<PathMtu | null> {
    const { peers } = await this.status();
    return peers.find(({ publicIp }) => publicIp === FAR)?.pathMtu ?? null;
  }

  /** Waits until weft says so of the path to the far peer. */
  async becomes(wanted: Partial<PathMtu>, ms = 30_000): Promise<PathMtu> {
    let last: PathMtu | null = null;
    try {
      return await until(async () => {
        last = await this.pathMtu();
        const all = last as unknown as Record<string, unknown> | null;
        return Object.entries(wanted).every(([name, value]) => all?.[name] === value) && last!;
      }, ms);
    } catch {
      assert.fail(`wanted ${JSON.stringify(wanted)}, is ${JSON.stringify(last)}`);
    }
  }

  /** As an operator does: weft measures all paths anew. */
  remeasure(): void {
    this.running.kill('SIGHUP');
  }

  /**
   * What passes between two kernels passes between weft and one: pings with and without DF, and
   * 10 MB of TCP each way. `mtu` is that of the path. Beyond what weft knows of it an inner sender
   * that forbids fragments may be told that in place of an answer.
   */
  async allPasses(mtu: number): Promise<void> {
    const [behindWeft, behindKernel, far] = this.boxes;
    const inner = mtu - VXLAN;
    const told = ((await this.pathMtu())?.mtu ?? 0) - VXLAN;
    for (const [from, to] of [
      [behindKernel, far],
      [behindWeft, far],
      [far, behindWeft],
    ] as const) {
      const way = `${from.name} to ${to.name}`;
      await forgetPaths([from, to]);
      for (const size of new Set([56, 1000, inner - ECHO, inner - ECHO + 1, 1400, 1422, 4000])) {
        const { code, stdout } = await echo(from, to, size, 'dont');
        assert.equal(code, 0, `${way}, ${size} bytes without DF: ${stdout}`);
      }
      for (const size of new Set([56, 1000, Math.min(inner - ECHO, 1422)])) {
        const { code, stdout } = await echo(from, to, size, 'do');
        assert.equal(code, 0, `${way}, ${size} bytes with DF: ${stdout}`);
      }
      const { code, stdout } = await echo(from, to, 1422, 'do');
      const isTold = new RegExp(`[Ff]rag.* needed.*mtu ?= ?${told}`).test(stdout);
      assert.ok(code === 0 || (from === behindWeft && isTold), `${way}, 1422 with DF: ${stdout}`);
    }
    await forgetPaths(this.boxes);
    await tcpTransfer(behindKernel, far, 10_000_000);
    await tcpTransfer(behindWeft, far, 10_000_000);
    await tcpTransfer(far, behindWeft, 10_000_000);
  }
}

export function echo(from: Container, to: Container, size: number, df: 'do' | 'dont') {
  const few = ['-c', '1', '-W', '3', '-M', df, '-s', String(size)];
  return from.run(['ping', ...few, to.address], { mayFail: true });
}

/** What the containers learnt of paths before. */
export async function forgetPaths(boxes: readonly Container[]): Promise<void> {
  for (const box of boxes) await box.run(['ip', 'route', 'flush', 'cache']);
}
