/**
 * What must pass between weft and a kernel peer behind a router (src/lab/behind-router.ts) whatever
 * the path, and what weft says of it.
 */
import assert from 'node:assert/strict';
import { BehindRouter, FAR } from '../../src/lab/behind-router.js';
import type { Container } from '../../src/lab/container.js';
import { labLacks } from '../../src/lab/enter.js';
import type { Status } from '../../src/operate/status/status.js';
import { until } from '../control/fakes.js';
import { tcpTransfer } from './overlay.js';
import { statusOf } from './spoil.js';

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

export class Paths extends BehindRouter {
  /** @param before run before weft starts */
  static async open(before = async (): Promise<void> => {}): Promise<Paths> {
    return new Paths(await BehindRouter.build(before));
  }

  async status(): Promise<Status> {
    return await statusOf(this.weft);
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
      await this.forgetPaths();
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
    await this.forgetPaths();
    await tcpTransfer(behindKernel, far, 10_000_000);
    await tcpTransfer(behindWeft, far, 10_000_000);
    await tcpTransfer(far, behindWeft, 10_000_000);
  }
}

export function echo(from: Container, to: Container, size: number, df: 'do' | 'dont') {
  const few = ['-c', '1', '-W', '3', '-M', df, '-s', String(size)];
  return from.run(['ping', ...few, to.address], { mayFail: true });
}
