/** A host for the tests of the firewall's check: what its programs print, and weft as it runs there. */
import { askingOnce } from '../../../../src/control/host/ask-ip.js';
import { HostError } from '../../../../src/control/host/errors.js';
import type { Ran, Runner } from '../../../../src/control/host/runner.js';
import type { Subject } from '../../../../src/operate/findings/check.js';

const VERSION = 'iptables v1.8.9 (nf_tables)\n';
export const BRIDGES = '[{"ifname":"docker0"},{"ifname":"flannel.1"}]';

/** A host: what its programs print, by their words; a program that is not there is ENOENT. */
export class Fake implements Runner {
  readonly ran: string[] = [];
  readonly answers: Record<string, string>;
  readonly lacks: readonly string[];

  constructor(answers: Record<string, string>, lacks: readonly string[] = []) {
    this.answers = { 'iptables --version': VERSION, ...answers };
    this.lacks = lacks;
  }

  run(argv: readonly string[]): Promise<Ran> {
    const words = argv.join(' ');
    this.ran.push(words);
    if (this.lacks.includes(argv[0]!)) {
      return Promise.reject(new HostError('ENOENT', `cannot run ${argv[0]}`));
    }
    const known = words.startsWith('ip -j') ? BRIDGES : this.answers[words];
    const stderr = known === undefined ? 'Error: No such file or directory' : '';
    const code = known === undefined ? 1 : 0;
    return Promise.resolve({ code, signal: null, stdout: known ?? '', stderr });
  }

  start(): never {
    throw new Error('not here');
  }
}

export const PEERS = [
  { publicIp: '192.168.56.12', subnet: '10.5.7.0/24', direct: false },
  { publicIp: '192.168.56.13', subnet: '10.5.8.0/24', direct: false },
];

export function subjectOf(runner: Runner, proc: string, more: Partial<Subject> = {}): Subject {
  return {
    ...{
      pid: null,
      runner,
      ask: askingOnce(runner),
      nftGeneration: null,
      proc,
      backend: 'vxlan',
      network: '10.5.0.0/16',
      subnet: '10.5.52.0/24',
    },
    ...{ device: 'flannel.1', mtu: 1450, subnetFile: '/run/flannel/subnet.env', peers: PEERS },
    underlay: {
      ...{ interface: 'ens33', address: '192.168.56.11', publicIp: '192.168.56.11' },
      ...{ mtu: 1500, port: 8472 },
    },
    ...more,
  };
}
