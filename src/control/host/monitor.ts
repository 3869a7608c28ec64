/**
 * `ip monitor link address route netconf`: a line for each change of this host's links, addresses
 * and routes, and of what devices forward. What the line says is not read: whoever is called looks
 * for himself.
 *
 * It is a help and no need. When it ends, it is started again after a while; where it cannot run,
 * that is said once.
 */
import type { Clock, Log } from '../runtime.js';
import { type HostError, textOf } from './errors.js';
import type { Ended, Runner, Running } from './runner.js';

const ARGV = ['ip', 'monitor', 'link', 'address', 'route', 'netconf'];
/** Before it is started again; doubled each time up to the longest. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
/** What ran so long ran well. */
const STEADY_MS = 10_000;

export interface MonitorOptions {
  readonly runner: Pick<Runner, 'start'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Called at each change, and when changes may have been missed. */
  readonly changed: () => void;
}

export class Monitor {
  readonly #options: MonitorOptions;
  #process: Running | undefined;
  #cancel = () => {};
  #pauseMs = FIRST_PAUSE_MS;
  /** Whether it was said that it does not run. */
  #said = false;
  #stopped = false;
  #onEnd = () => {};

  constructor(options: MonitorOptions) {
    this.#options = options;
    this.#start();
  }

  /** Resolves when the program has ended. */
  stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    const process = this.#process;
    if (process === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onEnd = resolve;
      process.kill();
    });
  }

  #start(): void {
    const { runner, clock, changed } = this.#options;
    const begun = clock.now();
    let stderr = '';
    this.#process = runner.start(ARGV, {
      stdout: () => changed(),
      stderr: (text) => {
        stderr = (stderr + text).slice(-1_000);
      },
      ended: (how, error) => {
        this.#process = undefined;
        this.#onEnd();
        if (!this.#stopped) this.#ended(describe(how, stderr, error), clock.now() - begun);
      },
    });
  }

  #ended(why: string, ran: number): void {
    const { clock, log, changed } = this.#options;
    if (ran >= STEADY_MS) {
      this.#pauseMs = FIRST_PAUSE_MS;
      this.#said = false;
    }
    if (!this.#said) {
      log.warn(`${why}: changes of links and routes are seen every few seconds only, not at once`);
    }
    this.#said = true;
    this.#cancel = clock.after(this.#pauseMs, () => {
      this.#start();
      changed();
    });
    this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS);
  }
}

function describe(how: Ended, stderr: string, error: HostError | undefined): string {
  if (error !== undefined) return textOf(error);
  const last = stderr.trim().split('\n').at(-1) ?? '';
  const words = last === '' ? '' : `, ${last}`;
  return `ip monitor ended (${how.signal ?? `code ${how.code}`}${words})`;
}
