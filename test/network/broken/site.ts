/**
 * The hosts on which set-ups are broken, one after another:
 *
 *   alpha (.11)  a weft, which is asked what it finds
 *   beta  (.12)  a kernel peer
 *   gamma (.13)  another weft
 *
 * with etcd at .131, and a container on alpha.
 */
import process from 'node:process';
import type { Running } from '../../../src/lab/command.js';
import type { Etcd } from '../../../src/lab/etcd.js';
import { type Host, WEFT } from '../../../src/lab/host.js';
import type { KernelPeer } from '../../../src/lab/kernel-peer.js';
import { Lab } from '../../../src/lab/lab.js';
import type { Namespace } from '../../../src/lab/namespace.js';
import type { Network } from '../../../src/lab/network.js';
import { readStatus } from '../../../src/operate/status/socket.js';
import type { Status } from '../../../src/operate/status/status.js';
import { CONFIG, PREFIX, startWeft, weftFlags } from '../overlay.js';

export const HEALTHZ = 8998;
/** On a file system of its own, which can be filled. */
const FOLDER = '/run/log';
export const LOG = `${FOLDER}/weft.log`;

export class Site {
  readonly lab: Lab;
  readonly network: Network;
  readonly etcd: Etcd;
  readonly alpha: Host;
  readonly beta: Host;
  readonly gamma: Host;
  /** beta's. */
  readonly kernel: KernelPeer;
  /** alpha's, such as 10.10.52.0/24, and gamma's. */
  subnet = '';
  far = '';
  /** gamma's. */
  other: Running;
  readonly #weft: Running;

  private constructor(
    made: Pick<Site, 'lab' | 'network' | 'etcd' | 'alpha' | 'beta' | 'gamma' | 'kernel' | 'other'>,
    weft: Running,
  ) {
    this.lab = made.lab;
    this.network = made.network;
    this.etcd = made.etcd;
    this.alpha = made.alpha;
    this.beta = made.beta;
    this.gamma = made.gamma;
    this.kernel = made.kernel;
    this.other = made.other;
    this.#weft = weft;
  }

  static async open(): Promise<Site> {
    const lab = await Lab.open();
    const network = await lab.network();
    const etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    const host = (name: string, n: number) => network.host(name, { address: `192.168.56.${n}/24` });
    const [alpha, beta, gamma] = [
      await host('alpha', 11),
      await host('beta', 12),
      await host('gamma', 13),
    ];
    const kernel = await beta.kernelPeer({ subnet: '10.10.201.0/24' });
    await etcd.register(PREFIX, kernel);
    await alpha.run(['sh', '-c', `mkdir ${FOLDER} && mount -t tmpfs -o size=256k log ${FOLDER}`]);
    const flags = [...weftFlags(etcd), `-healthz-port=${HEALTHZ}`, '-lanes=2'];
    const up = `exec ${process.execPath} ${WEFT} up ${flags.join(' ')} 2>>${LOG}`;
    const weft = alpha.start(['sh', '-c', up], { name: 'weft up' });
    const other = await startWeft(gamma, etcd);
    const site = new Site({ lab, network, etcd, alpha, beta, gamma, kernel, other }, weft);
    while ((await site.status())?.peers.length !== 2) await pause(100);
    for (const one of await etcd.peers(PREFIX)) {
      if (one.publicIp !== kernel.publicIp) await kernel.addPeer(one);
      if (one.publicIp === alpha.address) site.subnet = one.subnet;
      if (one.publicIp === gamma.address) site.far = one.subnet;
    }
    await alpha.container('xbox1');
    const isWell = async () =>
      (await site.status())?.peers.every(({ health }) => health.state === 'well') === true;
    while (!(await isWell())) await pause(100);
    return site;
  }

  /** As alpha's weft tells; undefined while it tells none. */
  async status(): Promise<Status | undefined> {
    if (this.#weft.code !== undefined) throw new Error(`weft ended:\n${this.#weft.output}`);
    try {
      const answer = await readStatus(this.alpha.path('/run/weft/flannel.1.sock'));
      return 'findings' in answer ? (answer as Status) : undefined;
    } catch {
      return undefined;
    }
  }

  /** What alpha's log has from this byte on. */
  async log(from = 0): Promise<string> {
    return (await this.alpha.run(['tail', '-c', `+${from + 1}`, LOG])).stdout;
  }

  /** alpha's weft looks at everything anew, as by `systemctl reload weft`. */
  reload(): void {
    this.#weft.kill('SIGHUP');
  }

  async restartOther(): Promise<void> {
    this.other = await startWeft(this.gamma, this.etcd);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A table that drops; what it says is nft's. */
export async function nft(host: Namespace, hook: string, rule: string): Promise<void> {
  const chain = `chain c { type filter hook ${hook} priority -10; ${rule}\n }`;
  await host.run(['nft', '-f', '-'], { input: `table inet shut { ${chain}\n }` });
}

export function unshut(host: Namespace): Promise<unknown> {
  return host.run(['nft', 'delete', 'table', 'inet', 'shut']);
}

/** Does this again and again until it is stopped. */
export function again(host: Host, script: string): Running {
  return host.start(['sh', '-c', `while :; do ${script}; sleep 0.3; done`]);
}
