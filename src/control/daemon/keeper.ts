/**
 * Looks after firewall rules each period, and sets them again when somebody took them away. What is
 * wrong is said when it begins, not while it lasts.
 */
import { HostError } from '../host/errors.js';
import type { Clock, Log } from '../runtime.js';

/** Rules that are set and looked at as one. */
export interface RuleSet {
  /** For the log: `firewall rules`. */
  readonly name: string;
  /** Makes them be there; a phrase for each thing that was not so. Throws a HostError. */
  ensure(): Promise<readonly string[]>;
  /** One phrase for each rule of others that keeps these from being reached. */
  readonly obstacles: readonly string[];
}

export class Keeper {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #periodMs: number;
  readonly #kept: Kept[] = [];
  #cancel = () => {};
  #looking: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(clock: Clock, log: Log, periodMs: number) {
    this.#clock = clock;
    this.#log = log;
    this.#periodMs = periodMs;
  }

  /** Looks after `set`, too, which was set just now, or could not be because of `refusal`. */
  add(set: RuleSet, refusal = ''): void {
    const kept = new Kept(set, this.#log, refusal);
    kept.sayObstacles();
    this.#kept.push(kept);
  }

  start(): void {
    if (this.#kept.length > 0) this.#later();
  }

  /** What is not as it should be just now. */
  get faults(): string[] {
    return this.#kept.flatMap((kept) => kept.faults);
  }

  /** Waits for a look that is under way: nothing is changed afterwards. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    await this.#looking;
  }

  #later(): void {
    if (this.#stopped) return;
    this.#cancel = this.#clock.after(this.#periodMs, () => {
      this.#looking = this.#look().finally(() => this.#later());
    });
  }

  async #look(): Promise<void> {
    for (const kept of this.#kept) if (!this.#stopped) await kept.look();
  }
}

/** A set of rules, and what was said of it last: empty while all is well. */
class Kept {
  readonly #set: RuleSet;
  readonly #log: Log;
  #wrong = '';
  #refusal: string;
  #obstacles = '';

  constructor(set: RuleSet, log: Log, refusal: string) {
    this.#set = set;
    this.#log = log;
    this.#refusal = refusal;
  }

  get faults(): string[] {
    return [this.#refusal, this.#obstacles].filter((line) => line !== '');
  }

  async look(): Promise<void> {
    const { name } = this.#set;
    try {
      const wrong = await this.#set.ensure();
      const line = wrong.length === 0 ? '' : `${name} set again: ${wrong.join(', ')}`;
      if (line !== '' && line !== this.#wrong) this.#log.warn(line);
      if (line === '' && this.#refusal !== '') this.#log.info(`${name}: all is well again`);
      this.#wrong = line;
      this.#refusal = '';
      this.sayObstacles();
    } catch (error) {
      const line = `${name} cannot be looked after: ${messageOfHost(error)}`;
      // While it lasts, the first words for it stay: `iptables` may put it in others each time.
      if (this.#refusal === '') this.#log.warn(line);
      this.#refusal ||= line;
    }
  }

  sayObstacles(): void {
    const rules = this.#set.obstacles.join(', ');
    const line = rules === '' ? '' : `a firewall rule of others: ${rules}`;
    if (line !== '' && line !== this.#obstacles) this.#log.warn(line);
    this.#obstacles = line;
  }
}

/** Whatever else is thrown is a mistake in weft. */
export function messageOfHost(error: unknown): string {
  if (error instanceof HostError) return error.message;
  throw error;
}
