/**
 * `ip monitor link address route netconf`: a line for each change of this host's links, addresses
 * and routes, and of what devices forward. What the line says is not read: whoever is called looks
 * for himself.
 *
 * It is a help and no need. When it ends, it is started again after a while; where it cannot run,
 * that is said once. Where a BGP daemon changes thousands of routes a second, to have them told
 * would cost more than it helps: then routes are left out for a while, and if that is not enough,
 * all. Meanwhile something may have changed every few seconds.
 */
import type { Clock, Log } from '../runtime.js';
import { type HostError, textOf } from './errors.js';
import type { Ended, Runner, Running } from './runner.js';

/** What is listened to: from all to nothing. */
const LEVELS: readonly (readonly string[])[] = [
  ['link', 'address', 'route', 'netconf'],
  ['link', 'address', 'netconf'],
  [],
];
/** So much in so long is too much: about 300 changes. All at once they may be containers that start. */
const LOUD_CHARACTERS = 20_000;
const LOUD_MS = 5_000;
/** For so long less is listened to then; doubled up to the longest while it is as loud again at once. */
const FIRST_REST_MS = 30_000;
const LONGEST_REST_MS = 600_000;
/** What is not listened to may have changed each so long. */
const GUESS_MS = 3_000;
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
  /** What is listened to, of LEVELS; and whether the program is being ended for another. */
  #level = 0;
  #changing = false;
  #cancelRest = () => {};
  #cancelGuess = () => {};
  #restMs = 0;
  /** When all was listened to last. */
  #allSince = 0;
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
    for (const cancel of [this.#cancel, this.#cancelRest, this.#cancelGuess]) cancel();
    const process = this.#process;
    if (process === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onEnd = resolve;
      process.kill();
    });
  }

  #start(): void {
    const { runner, clock, changed } = this.#options;
    const objects = LEVELS[this.#level]!;
    if (objects.length === 0) return;
    const begun = clock.now();
    if (this.#level === 0) this.#allSince = begun;
    let stderr = '';
    let since = begun;
    let heard = 0;
    this.#process = runner.start(['ip', 'monitor', ...objects], {
      stdout: (text) => {
        if (this.#changing) return;
        if (clock.now() - since >= LOUD_MS) [since, heard] = [clock.now(), 0];
        heard += text.length;
        if (heard > LOUD_CHARACTERS) this.#hearLess();
        else changed();
      },
      stderr: (text) => {
        stderr = (stderr + text).slice(-1_000);
      },
      ended: (how, error) => {
        this.#process = undefined;
        this.#onEnd();
        if (this.#stopped) return;
        if (!this.#changing) return this.#ended(describe(how, stderr, error), clock.now() - begun);
        this.#changing = false;
        this.#start();
        changed();
      },
    });
  }

  #hearLess(): void {
    const { clock, log, changed } = this.#options;
    if (this.#level === 0) {
      const again = clock.now() - this.#allSince < STEADY_MS;
      this.#restMs = again ? Math.min(2 * this.#restMs, LONGEST_REST_MS) : 0;
      this.#restMs ||= FIRST_REST_MS;
      log.debug('changes of routes come too fast to be followed: looking every few seconds');
      this.#cancelRest = clock.after(this.#restMs, () => this.#listenTo(0));
      const guess = () => {
        changed();
        this.#cancelGuess = clock.after(GUESS_MS, guess);
      };
      guess();
    }
    this.#listenTo(this.#level + 1);
  }

  #listenTo(level: number): void {
    if (level === 0) this.#cancelGuess();
    this.#level = level;
    if (this.#process === undefined) {
      this.#cancel();
      this.#start();
    } else {
      this.#changing = true;
      this.#process.kill();
    }
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
