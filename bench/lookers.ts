/**
 * Those who look at the weft of two hosts: a `weft status -watch`, a reader of metrics and page, and
 * captures. Watchers are stopped and go on (SIGSTOP, SIGCONT), so that a switch costs nothing that would
 * be measured; a capture is begun anew, since a weft goes on to show packets to one that only stands.
 */
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Running } from '../src/lab/command.js';
import { type Host, WEFT } from '../src/lab/host.js';
import type { Looker } from './look-round.js';
import { family, processMs } from './processor-time.js';

const ONLOOKER = fileURLToPath(new URL('./tools/onlooker.js', import.meta.url));
/** Who goes on after a stop has caught up, and its code is compiled again. */
const SETTLE_MS = 2_000;
/** Before they are stopped for the first time: their code is compiled. */
const WARM_UP_MS = 3_000;

/** Who looks: the watchers at both ends or none, and captures at so many ends. */
export interface Looks {
  readonly watched: boolean;
  readonly captures: 0 | 1 | 2;
}

/** What a round waits. */
export function waitMs({ captures }: Looks, settleMs: number): number {
  return SETTLE_MS + (captures > 0 ? settleMs : SETTLE_MS);
}

interface Watcher {
  readonly who: Exclude<Looker, 'weft'>;
  readonly program: Running;
}

export class Lookers {
  captured = 0;
  missed = 0;
  readonly #hosts: readonly Host[];
  readonly #watchers: readonly Watcher[];
  readonly #on: (end: number) => readonly string[];
  readonly #settleMs: number;
  #captures: readonly Running[] = [];

  /**
   * @param on what a program at an end is started with
   * @param settleMs until a capture has carried what its lanes had saved up, and its code is compiled
   */
  static async start(
    hosts: readonly Host[],
    metrics: string,
    on: (end: number) => readonly string[],
    settleMs: number,
  ): Promise<Lookers> {
    const watchers: Watcher[] = [];
    for (const [end, host] of hosts.entries()) {
      const node = (...words: string[]) => host.start([...on(end), process.execPath, ...words]);
      const dash = node(WEFT, 'dash', '-port=0');
      const [page] = await dash.waitFor(/http:\S+/, 10_000);
      const onlooker = node(ONLOOKER, page, metrics);
      await onlooker.waitFor(/looking/, 10_000);
      const status = node(WEFT, 'status', '-watch');
      watchers.push(
        { who: 'page', program: dash },
        { who: 'reader', program: onlooker },
        { who: 'status', program: status },
      );
    }
    const lookers = new Lookers(hosts, watchers, on, settleMs);
    await sleep(WARM_UP_MS);
    lookers.#signal('SIGSTOP');
    return lookers;
  }

  private constructor(
    hosts: readonly Host[],
    watchers: readonly Watcher[],
    on: (end: number) => readonly string[],
    settleMs: number,
  ) {
    this.#hosts = hosts;
    this.#watchers = watchers;
    this.#on = on;
    this.#settleMs = settleMs;
  }

  /** Processor time so far of each kind that runs just now, in milliseconds. */
  times(): Record<Exclude<Looker, 'weft'>, number> {
    const times = { status: 0, page: 0, reader: 0, capture: 0 };
    for (const { who, program } of this.#running) {
      for (const pid of familyOf(program)) times[who] += processMs(pid);
    }
    return times;
  }

  get #running(): Watcher[] {
    const captures = this.#captures.map((program) => ({ who: 'capture', program }) as const);
    return [...this.#watchers, ...captures].filter(({ program }) => program.code === undefined);
  }

  /** They look from now on. */
  async begin({ watched, captures }: Looks): Promise<void> {
    if (watched) this.#signal('SIGCONT');
    const node = [process.execPath, WEFT, 'capture', '-w', '/run/look.pcapng'];
    this.#captures = this.#hosts
      .slice(0, captures)
      .map((host, end) => host.start([...this.#on(end), ...node]));
    await Promise.all(this.#captures.map((one) => one.waitFor(/capturing on/, 20_000)));
    await sleep(waitMs({ watched, captures }, this.#settleMs) - SETTLE_MS);
  }

  /** Nobody looks from now on. */
  async end(): Promise<void> {
    for (const capture of this.#captures) capture.kill('SIGINT');
    for (const capture of this.#captures) {
      await capture.exited;
      const [, captured, missed] = /(\d+) packets? captured, (\d+) not/.exec(capture.output) ?? [];
      this.captured += Number(captured);
      this.missed += Number(missed);
    }
    this.#captures = [];
    this.#signal('SIGSTOP');
    await sleep(SETTLE_MS);
  }

  /** Ends them all: who is stopped would not hear of it. */
  async close(): Promise<void> {
    for (const { program } of this.#running) {
      for (const pid of familyOf(program)) process.kill(pid, 'SIGCONT');
    }
    await Promise.all(this.#watchers.map(({ program }) => program.stop()));
    await Promise.all(this.#captures.map((one) => one.stop()));
  }

  /** Throws for one that has ended by itself: what it would have cost is not measured. */
  #signal(signal: NodeJS.Signals): void {
    for (const { program } of this.#watchers) {
      const { name, code, output } = program;
      if (code !== undefined) throw new Error(`${name} has ended: ${output}`);
      for (const one of familyOf(program)) process.kill(one, signal);
    }
  }
}

function familyOf({ pid }: Running): number[] {
  return family(pid as number);
}
