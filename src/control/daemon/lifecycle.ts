/**
 * The one way out of the process: for signals, uncaught errors and the daemon's own reasons
 * alike. What was started is stopped in the reverse order, each thing once, so a lane is joined
 * before its TUN and sockets are closed; only then does the process end. While a lane is inside
 * the addon, nothing but its stop word ends it; a watchdog kills the process when the way out
 * takes too long.
 */

import { AddonError, loadNative } from '../../dataplane/io/native.js';
import type { Log } from '../runtime.js';
import { messageOf } from '../store/store.js';
import { describeUnexpected, stackOf } from './unexpected.js';

/** After so long on the way out, SIGKILL. */
const WATCHDOG_MS = 5_000;

/** These end weft in order. SIGHUP does so until it means something else. */
const END = ['SIGINT', 'SIGTERM', 'SIGQUIT'] as const;
/**
 * These would end it without a word, and mean nothing to it: as to flanneld, which catches them.
 * SIGUSR1 starts Node's debugger where nobody takes it (cli/no-debugger.ts). The others are the
 * kernel's business: docs/migration.md has the table.
 */
const NOTHING = [
  ...(['SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGVTALRM', 'SIGPROF'] as const),
  ...(['SIGIO', 'SIGPWR', 'SIGXCPU'] as const),
];

/** The process is on its way out, so nothing more is to be started. */
export class Leaving extends Error {
  override readonly name = 'Leaving';
}

/** Not process.exit() where it can be helped: see native/process.c. */
function end(code: number): void {
  try {
    loadNative().exitAtOnce(code);
  } catch (error) {
    if (!(error instanceof AddonError)) throw error;
    process.exit(code);
  }
}

export class Lifecycle {
  readonly #log: Log;
  readonly #exit: (code: number) => void;
  readonly #flush: () => void;
  readonly #steps: { name: string; stop: () => void | Promise<void> }[] = [];
  #begin: (reason: string) => void = () => {};
  #hangUp: (() => Promise<void>) | undefined;
  #leaving = false;
  /** What is being stopped just now. */
  #stopping = 'nothing yet';

  /** `exit` ends the process; `flush` waits a moment for the last lines of log. */
  constructor(log: Log, exit: (code: number) => void = end, flush = () => {}) {
    this.#log = log;
    this.#exit = exit;
    this.#flush = flush;
  }

  get leaving(): boolean {
    return this.#leaving;
  }

  /** Takes charge of signals and uncaught errors. */
  install(): void {
    for (const signal of END) process.on(signal, () => void this.leave(0, `got ${signal}`));
    for (const signal of NOTHING) {
      // Once is enough: others may come a thousand times a second.
      process.once(signal, () => this.#log.info(`got ${signal}, which means nothing to weft`));
      process.on(signal, () => {});
    }
    process.on('SIGHUP', () => {
      if (this.#hangUp === undefined) void this.leave(0, 'got SIGHUP');
      else if (!this.#leaving) this.#hangUp().catch((error) => this.#failed(error));
    });
    process.on('uncaughtException', (error) => this.#failed(error));
    process.on('unhandledRejection', (error) => this.#failed(error));
  }

  /** Calls back once when the way out begins, before anything is stopped. */
  onBegin(call: (reason: string) => void): void {
    this.#begin = call;
  }

  /** What SIGHUP means from now on, in place of the end: a closed terminal sends it, too. */
  onHangUp(call: () => Promise<void>): void {
    this.#hangUp = call;
  }

  /** Remembers how to stop what was just started. */
  onLeave(name: string, stop: () => void | Promise<void>): void {
    this.#steps.push({ name, stop });
  }

  /**
   * Waits for one step of the start; rejects with Leaving when the way out began meanwhile. So
   * what comes after it makes nothing that nobody would stop.
   */
  async unlessLeaving<T>(work: Promise<T>): Promise<T> {
    try {
      const done = await work;
      if (!this.#leaving) return done;
    } catch (error) {
      if (!this.#leaving) throw error;
    }
    throw new Leaving('stopped while starting');
  }

  /** Stops everything and ends the process with `code`; a second call changes nothing. */
  async leave(code: number, reason: string): Promise<void> {
    if (this.#leaving) return;
    this.#leaving = true;
    if (code === 0) this.#log.info(`stopping: ${reason}`);
    else this.#log.error(reason);
    const watchdog = setTimeout(() => {
      const what = `stopping ${this.#stopping} takes longer than ${WATCHDOG_MS / 1000} s`;
      this.#log.error(`${what}; killing the process (${reason})`);
      this.#flush();
      process.kill(process.pid, 'SIGKILL');
    }, WATCHDOG_MS);
    this.#begin(reason);
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      this.#stopping = step.name;
      try {
        await step.stop();
      } catch (error) {
        this.#log.warn(`stopping ${step.name}: ${messageOf(error)}`);
      }
    }
    clearTimeout(watchdog);
    if (code === 0) this.#log.info('stopped');
    this.#flush();
    this.#exit(code);
  }

  #failed(error: unknown): void {
    for (const line of stackOf(error)) this.#log.debug(line);
    const what = describeUnexpected(error, 'weft up -v=1');
    if (this.#leaving) this.#log.warn(`while stopping ${this.#stopping}: ${what}`);
    else void this.leave(1, what);
  }
}
