/** What the tests of the firewall's findings share: a host with weft, whose firewall they spoil. */
import assert from 'node:assert/strict';
import { askingOnce } from '../../src/control/host/ask-ip.js';
import type { Runner } from '../../src/control/host/runner.js';
import type { Container } from '../../src/lab/container.js';
import type { Host } from '../../src/lab/host.js';
import type { Subject } from '../../src/operate/findings/check.js';
import type { Finding } from '../../src/operate/findings/finding.js';
import { FirewallCheck } from '../../src/operate/findings/firewall/check.js';
import { type Overlay, openOverlay } from './overlay.js';
import { eventually, passes, statusOf } from './spoil.js';

/** 10 s are promised; on a busy machine the looks keep their share, and it is a minute. */
const TOLD_WITHIN = 75_000;

export interface Fault {
  readonly name: string;
  /** Lines for a shell. */
  readonly make: string;
  /** Others that take back what iptables-restore does not, the cure's rules too. */
  readonly mend?: string;
  /** What must stand in the text. */
  readonly says: RegExp;
  readonly severity?: 'error' | 'warning';
}

export class Spoiled {
  readonly overlay: Overlay;
  readonly host: Host;
  readonly boxes: readonly [Container, Container];
  /** One for all: it remembers its last look. */
  readonly #check = new FirewallCheck();

  private constructor(overlay: Overlay) {
    this.overlay = overlay;
    this.host = overlay.hosts[0];
    this.boxes = overlay.containers;
  }

  /** The second host is a kernel's VTEP. */
  static async open(config: object = {}): Promise<Spoiled> {
    return new Spoiled(await openOverlay(['weft', 'kernel'], true, config));
  }

  sh(lines: string, host = this.host) {
    return host.run(['sh', '-ec', lines]);
  }

  async findings(): Promise<readonly Finding[]> {
    return (await statusOf(this.host)).findings;
  }

  /** Waits until these are the codes, and no others. */
  async untilCodes(...codes: string[]): Promise<readonly Finding[]> {
    let found: readonly Finding[] = [];
    await eventually(
      async () => {
        found = await this.findings();
        return found.map(({ code }) => code).join() === codes.join();
      },
      () => `want ${codes.join() || 'none'}, found ${JSON.stringify(found, undefined, 1)}`,
      TOLD_WITHIN,
    );
    return found;
  }

  async pass(): Promise<boolean> {
    const [a, b] = this.boxes;
    return (await passes(a, b)) && (await passes(b, a));
  }

  /** As the daemon's check sees the host just now, without the waiting between its looks. */
  async look(): Promise<readonly Finding[]> {
    return await this.#check.look(this.#subject());
  }

  #subject(): Subject {
    const { host, overlay } = this;
    const [first, peer] = overlay.hosts;
    const own = (one: Host) => one.subnetFile()!.subnet.replace(/\.1\//, '.0/');
    return {
      runner: runnerOf(host),
      ask: askingOnce(runnerOf(host)),
      nftGeneration: null,
      pid: null,
      proc: `/proc/${host.holder}`,
      backend: 'vxlan',
      network: '10.10.0.0/16',
      subnet: own(first),
      device: 'flannel.1',
      mtu: 1450,
      underlay: {
        ...{ interface: 'ens33', address: first.address, publicIp: first.address },
        ...{ mtu: 1500, port: 8472 },
      },
      peers: [{ publicIp: peer.address, subnet: own(peer), direct: false }],
    };
  }

  /** Makes a fault, sees it found alone, runs the cure as it stands, sees it over. */
  async tell({ make, mend = '', says, severity = 'error' }: Fault): Promise<Finding> {
    let found: readonly Finding[] = [];
    try {
      assert.deepEqual(await this.look(), []);
      assert.ok(await this.pass(), 'packets pass before');
      await this.sh('iptables-save > /run/rules');
      await this.sh(make);
      found = await this.look();
      assert.deepEqual(
        found.map(({ code }) => code),
        ['firewall-drop'],
        JSON.stringify(found),
      );
      assert.match(found[0]!.text, says);
      assert.equal(found[0]!.severity, severity);
      if (severity === 'error') assert.equal(await this.pass(), false, 'packets are dropped');
      await this.sh(found[0]!.cure);
      assert.deepEqual(await this.look(), [], found[0]!.cure);
      assert.ok(await this.pass(), `packets pass after: ${found[0]!.cure}`);
    } finally {
      await this.sh(`${mend}\niptables-restore < /run/rules`);
    }
    assert.deepEqual(await this.look(), []);
    assert.ok(await this.pass(), 'packets pass afterwards');
    return found[0]!;
  }
}

/** Runs programs on a host of the lab. */
export function runnerOf(host: Host): Runner {
  return {
    run: async (argv, options) => {
      const input = options?.input === undefined ? {} : { input: options.input };
      const { code, stdout, stderr } = await host.run(argv, { mayFail: true, ...input });
      return { code, signal: null, stdout, stderr };
    },
    start: () => assert.fail('a check runs programs to their end'),
  };
}
