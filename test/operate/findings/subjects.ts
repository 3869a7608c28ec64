/** A host to be looked at: what `ip` answers is given line by line, /proc is a folder of files. */
import { askingOnce } from '../../../src/control/host/ask-ip.js';
import type { Runner } from '../../../src/control/host/runner.js';
import type { Subject } from '../../../src/operate/findings/check.js';
import { plant, scratch } from '../../control/host/fakes.js';

export interface Told {
  /** By a line for `ip`; text: it is refused so. What is not named is answered by no rows. */
  readonly ip?: Readonly<Record<string, readonly object[] | string>>;
  readonly proc?: Readonly<Record<string, string>>;
  readonly subject?: Partial<Subject>;
}

export class FakeSubject {
  readonly proc: string;
  readonly asked: string[] = [];
  ip: Record<string, readonly object[] | string>;
  readonly #more: Partial<Subject>;

  constructor(t: { after(call: () => void): void }, { ip = {}, proc = {}, subject = {} }: Told) {
    this.proc = scratch(t);
    this.ip = { ...ip };
    this.#more = subject;
    this.write(proc);
  }

  write(files: Readonly<Record<string, string>>): void {
    plant(this.proc, { ...files });
  }

  get subject(): Subject {
    return {
      runner: this.#runner,
      ask: askingOnce(this.#runner),
      nftGeneration: null,
      proc: this.proc,
      pid: 4711,
      backend: 'vxlan',
      network: '10.10.0.0/16',
      subnet: '10.10.58.0/24',
      device: 'flannel.1',
      mtu: 1450,
      underlay: {
        ...{ interface: 'ens33', address: '192.168.56.11', publicIp: '192.168.56.11' },
        ...{ mtu: 1500, port: 8472 },
      },
      peers: [{ publicIp: '192.168.56.12', subnet: '10.10.59.0/24', direct: false }],
      ...this.#more,
    };
  }

  readonly #runner: Runner = {
    run: async (_argv, { input = '' } = {}) => {
      let [stdout, stderr] = ['', ''];
      for (const [i, line] of input.trimEnd().split('\n').entries()) {
        this.asked.push(line);
        const answer = this.ip[line] ?? [];
        if (typeof answer === 'string') stderr += `${answer}\nCommand failed -:${i + 1}\n`;
        else stdout += `${JSON.stringify(answer)}\n`;
      }
      return { code: stderr === '' ? 0 : 1, signal: null, stdout, stderr };
    },
    start: () => {
      throw new Error('nothing is to be started');
    },
  };
}

export const BRIDGE = {
  ifname: 'docker0',
  flags: ['BROADCAST', 'MULTICAST', 'UP', 'LOWER_UP'],
  mtu: 1450,
  operstate: 'UP',
  addr_info: [{ family: 'inet', local: '10.10.58.1', prefixlen: 24 }],
};
export const TUNNEL = {
  ...{ ifname: 'flannel.1', flags: ['POINTOPOINT', 'UP', 'LOWER_UP'], mtu: 1450 },
  addr_info: [{ family: 'inet', local: '10.10.58.0', prefixlen: 32 }],
};
export const UPLINK = {
  ...{ ifname: 'ens33', flags: ['BROADCAST', 'UP', 'LOWER_UP'], mtu: 1500, operstate: 'UP' },
  addr_info: [{ family: 'inet', local: '192.168.56.11', prefixlen: 24 }],
};
