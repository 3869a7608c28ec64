/**
 * The one way out of the process: for signals, uncaught errors and the daemon's own reasons
 * alike. What was started is stopped in the reverse order, the lanes first of all since they
 * were started last; only then does the process end. While a lane is inside the addon, nothing
 * but its stop word ends it; a watchdog kills the process when the way out takes too long.
 */
import type { Log } from '../runtime.js';
import { messageOf } from '../store/store.js';

/** After so many milliseconds of leaving, SIGKILL. */
const WATCHDOG = 5_000;

export class Lifecycle {
  readonly #log: Log;
  readonly #steps: { name: string; stop: () => void | Promise<void> }[] = [];
  #leaving = false;

  constructor(log: Log) {
    this.#log = log;
  }

  get leaving(): boolean {
    return this.#leaving;
  }

  /** Takes charge of signals and uncaught errors. */
  install(): void {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => void this.leave(0, `got ${signal}`));
    }
    process.on('uncaughtException', (error) => void this.leave(1, describe(error)));
    process.on('unhandledRejection', (error) => void this.leave(1, describe(error)));
  }

  /** Remembers how to stop what was just started. */
  onLeave(name: string, stop: () => void | Promise<void>): void {
    this.#steps.push({ name, stop });
  }

  /** Stops everything and ends the process with `code`; a second call changes nothing. */
  async leave(code: number, reason: string): Promise<void> {
    if (this.#leaving) return;
    this.#leaving = true;
    if (code === 0) this.#log.info(`stopping: ${reason}`);
    else this.#log.error(reason);
    const watchdog = setTimeout(() => {
      this.#log.error('stopping took too long; killing the process');
      process.kill(process.pid, 'SIGKILL');
    }, WATCHDOG);
    for (const { name, stop } of this.#steps.reverse()) {
      try {
        await stop();
      } catch (error) {
        this.#log.warn(`stopping ${name}: ${messageOf(error)}`);
      }
    }
    clearTimeout(watchdog);
    if (code === 0) this.#log.info('stopped');
    process.exit(code);
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
