/**
 * While the network config is waited for: whether the underlay interface that was asked for is
 * there. The choice is made once the config is known, as flanneld makes it, since at boot the
 * interface may come up later than weft; but a name that was mistyped shows at once.
 */
import { chooseInterface, type Selection } from '../host/interfaces.js';
import type { Runner } from '../host/runner.js';
import type { Clock, Log } from '../runtime.js';
import { messageOf } from '../store/store.js';

/** Not at once: mostly the config is there by then, and the choice itself tells. */
const FIRST_MS = 1_000;
const EVERY_MS = 5_000;

export class EarlyLook {
  readonly #runner: Runner;
  readonly #selection: Selection;
  readonly #clock: Clock;
  readonly #log: Log;
  #cancel: () => void;
  #ended = false;
  #problem = '';

  constructor(runner: Runner, selection: Selection, clock: Clock, log: Log) {
    this.#runner = runner;
    this.#selection = selection;
    this.#clock = clock;
    this.#log = log;
    this.#cancel = clock.after(FIRST_MS, () => void this.#look());
  }

  /** Why no interface could be chosen just now; empty where one could. */
  get problem(): string {
    return this.#problem;
  }

  end(): void {
    this.#ended = true;
    this.#problem = '';
    this.#cancel();
  }

  async #look(): Promise<void> {
    let problem = '';
    try {
      await chooseInterface(this.#runner, this.#selection);
    } catch (error) {
      problem = messageOf(error);
    }
    if (this.#ended) return;
    if (problem !== this.#problem) {
      if (problem === '') this.#log.info('the underlay interface is there now');
      else
        this.#log.warn(`${problem}; the start ends if it is so once the network config is known`);
    }
    this.#problem = problem;
    this.#cancel = this.#clock.after(EVERY_MS, () => void this.#look());
  }
}
