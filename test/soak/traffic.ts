/** Pings between the two containers, both ways, and one TCP connection that lives as long as the soak. */
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Running } from '../../src/lab/command.js';
import type { Site } from './site.js';

const DRIP = fileURLToPath(new URL('./drip.js', import.meta.url));
const DRIP_PORT = '40010';

/** What was lost between two containers, in packets. */
export interface Lost {
  readonly sent: number;
  readonly lost: number;
}

export class Pings {
  readonly #running: readonly Running[];

  constructor({ stations: [one, other] }: Site) {
    const ways = [
      [one.container, other.container],
      [other.container, one.container],
    ] as const;
    this.#running = ways.map(([from, to]) =>
      from.start(['ping', '-q', '-i', '0.05', to.address], { name: 'ping' }),
    );
  }

  /** Waits for answers that are under way, and counts. */
  async end(): Promise<Lost> {
    let sent = 0;
    let lost = 0;
    for (const ping of this.#running) {
      // A ping that has just left would count as lost.
      ping.kill('SIGQUIT');
      await sleep(5);
      ping.kill('SIGINT');
      await ping.exited;
      const [, out, back] = /(\d+) packets transmitted, (\d+) received/.exec(ping.output) ?? [];
      sent += Number(out);
      // The last one may be under way.
      lost += Math.max(Number(out) - Number(back) - 1, 0);
    }
    return { sent, lost };
  }
}

/** Whether some pings pass each way, none lost. */
export async function passes({ stations: [one, other] }: Site): Promise<boolean> {
  const few = ['ping', '-q', '-c', '5', '-i', '0.05', '-W', '1'];
  const ways = await Promise.all([
    one.container.run([...few, other.container.address], { mayFail: true }),
    other.container.run([...few, one.container.address], { mayFail: true }),
  ]);
  return ways.every(({ stdout }) => stdout.includes(' 0% packet loss'));
}

/** Bytes that count up, a little each 100 ms, on one connection. */
export class Drip {
  readonly #to: Running;
  readonly #from: Running;

  private constructor(to: Running, from: Running) {
    this.#to = to;
    this.#from = from;
  }

  static async start({ stations: [one, other] }: Site): Promise<Drip> {
    const to = other.container.start([process.execPath, DRIP, 'take', DRIP_PORT]);
    await to.waitFor(/listening/, 60_000);
    const from = one.container.start([
      ...[process.execPath, DRIP, 'give', other.container.address, DRIP_PORT],
    ]);
    await to.waitFor(/connected/, 60_000);
    return new Drip(to, from);
  }

  /** What is wrong with it; empty while all is well. */
  get fault(): string {
    for (const end of [this.#to, this.#from]) {
      if (end.code !== undefined) return `the connection ended: ${end.tail(2)}`;
    }
    return '';
  }

  /** Megabytes that arrived right. */
  get megabytes(): number {
    return Number(/.*\b(\d+) MB right/s.exec(this.#to.output)?.[1] ?? 0);
  }
}
