/** What the tests of the firewall's findings share: a host with weft, whose firewall they spoil. */
import assert from 'node:assert/strict';
import type { Container } from '../../src/lab/container.js';
import type { Host } from '../../src/lab/host.js';
import type { Finding } from '../../src/operate/findings/finding.js';
import { type Overlay, openOverlay } from './overlay.js';
import { eventually, passes, statusOf } from './spoil.js';

/** What findings are promised in. */
export const TOLD_WITHIN = 10_000;

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

  private constructor(overlay: Overlay) {
    this.overlay = overlay;
    this.host = overlay.hosts[0];
    this.boxes = overlay.containers;
  }

  /** The second host is a kernel's VTEP. */
  static async open(): Promise<Spoiled> {
    return new Spoiled(await openOverlay(['weft', 'kernel'], true));
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

  /** Makes a fault, sees it told alone, runs the cure as it stands, sees it over. */
  async tell({ make, mend = '', says, severity = 'error' }: Fault): Promise<void> {
    try {
      await this.untilCodes();
      assert.ok(await this.pass(), 'packets pass before');
      await this.sh('iptables-save > /run/rules');
      await this.sh(make);
      const [finding] = await this.untilCodes('firewall-drop');
      assert.match(finding!.text, says);
      assert.equal(finding!.severity, severity);
      if (severity === 'error') assert.equal(await this.pass(), false, 'packets are dropped');
      await this.sh(finding!.cure);
      await this.untilCodes();
      assert.ok(await this.pass(), `packets pass after: ${finding!.cure}`);
    } finally {
      await this.sh(`${mend}\niptables-restore < /run/rules`);
    }
    await this.untilCodes();
    assert.ok(await this.pass(), 'packets pass afterwards');
  }
}
