/**
 * Sets firewall rules, looks after them each period, and sets them again when somebody took them
 * away, which is said once. What cannot be put right is a fault while it lasts.
 *
 * None of it is a reason not to start: what cannot be set is a fault, and tried again each period.
 */

import { HostError } from '../host/errors.js';
import type { Clock, Fault, Log } from '../runtime.js';
import { Pace } from './pace.js';

/** Rules that are set and looked at as one. */
export interface RuleSet {
  /** For the log: `firewall rules`. */
  readonly name: string;
  /** Makes them be there; a phrase for each thing that was not so. Throws a HostError. */
  ensure(): Promise<readonly string[]>;
  /** One phrase for each rule of others that keeps these from being reached. */
  readonly obstacles: readonly Fault[];
  /** What is to be told of them once, though they are there; empty when nothing is. */
  readonly remark: string;
  /** What is said when they are there for the first time; empty when nothing is. */
  readonly done: string;
  /** What is said when they cannot be set. */
  refusal(why: string): Said;
  /**
   * What tells that all is as it was, of nftables' generation and whatever else the rules depend on:
   * while it is what it was before a look that found all well, there is no need for another. Null
   * where nothing tells.
   */
  witness(generation: number | null): Promise<string | null>;
  /** Whether there is nothing more to look after. */
  readonly isOver?: boolean;
}

export type Said = Pick<Fault, 'text' | 'cure'>;

/** The start waits so long for the first look: whatever holds it up, the overlay comes up. */
const PATIENCE_MS = 3_000;
/** A look of this length each `-iptables-resync` is what the operator asked for. */
const FREE_MS = 50;
/** So many looks in a row are spared at most. */
const MOST_SPARED = 11;

export class Keeper {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #periodMs: number;
  readonly #generation: () => number | null;
  #kept: Kept[] = [];
  #cancel = () => {};
  #looking: Promise<void> = Promise.resolve();
  #pending = false;
  #stopped = false;

  /** `generation`: of nftables' rules. */
  constructor(clock: Clock, log: Log, periodMs: number, generation: () => number | null) {
    this.#clock = clock;
    this.#generation = generation;
    this.#log = log;
    this.#periodMs = periodMs;
  }

  /** Looks after `set`, too, behind those that are there. */
  add(set: RuleSet): void {
    this.#kept.push(new Kept(set, this.#clock, this.#log, this.#generation));
  }

  /** Sets them all for the first time; resolves when that is done, or lasts too long to wait for. */
  async start(): Promise<void> {
    if (this.#kept.length === 0) return;
    this.#pending = true;
    const first = this.#look().finally(() => {
      this.#pending = false;
      this.#later();
    });
    this.#looking = first;
    await new Promise<void>((resolve, reject) => {
      const cancel = this.#clock.after(PATIENCE_MS, resolve);
      first.then(resolve, reject).finally(cancel);
    });
  }

  /** What is not as it should be just now. */
  get faults(): Fault[] {
    const text =
      'the firewall rules are not set yet: the firewall programs take long; weft goes on, and ' +
      'sets them meanwhile';
    const pending = this.#pending ? [{ about: 'firewall programs', text, cure: '' }] : [];
    return [...pending, ...this.#kept.flatMap((kept) => kept.faults)];
  }

  /** Waits for a look that is under way: nothing is changed afterwards. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    await this.#looking;
  }

  #later(): void {
    this.#kept = this.#kept.filter((kept) => !kept.isOver);
    if (this.#stopped || this.#kept.length === 0) return;
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
  readonly #pace: Pace;
  readonly #generation: () => number | null;
  /** The witness of the last look, if that found all well; and looks spared since. */
  #seen: string | null = null;
  #spared = 0;
  /** Whether they were there once. */
  #isMade = false;
  #wrong = '';
  /** How often in a row they were not as wanted. */
  #again = 0;
  #refusal: Said | undefined;
  #obstacles: readonly Fault[] = [];
  #remark = '';

  constructor(set: RuleSet, clock: Clock, log: Log, generation: () => number | null) {
    this.#set = set;
    this.#generation = generation;
    this.#log = log;
    this.#pace = new Pace(clock, { freeMs: FREE_MS });
  }

  get isOver(): boolean {
    return this.#set.isOver === true;
  }

  get faults(): Fault[] {
    const { name } = this.#set;
    const undone = { text: `${this.#wrong}: somebody undoes it each time`, cure: WHO_UNDOES };
    return [
      ...(this.#refusal === undefined ? [] : [{ about: name, ...this.#refusal }]),
      ...this.#obstacles,
      ...(this.#again > 1 ? [{ about: `${name} undone`, ...undone }] : []),
    ];
  }

  async look(): Promise<void> {
    if (!this.#pace.isDue) return;
    try {
      // Before the look, so that what changes meanwhile is seen by the next.
      const now = await this.#set.witness(this.#generation());
      if (now !== null && now === this.#seen && this.#spared < MOST_SPARED) {
        this.#spared += 1;
        return;
      }
      [this.#seen, this.#spared] = [null, 0];
      const isQuiet = (wrong: readonly string[]) => wrong.length === 0;
      const wrong = await this.#pace.run(() => this.#set.ensure(), isQuiet);
      if (isQuiet(wrong)) this.#seen = now;
      this.#accept(wrong);
    } catch (error) {
      const why = messageOfHost(error);
      const { name } = this.#set;
      const said = this.#isMade
        ? { text: `${name} cannot be looked after: ${why}`, cure: '' }
        : this.#set.refusal(why);
      // While it lasts, the first words for it stay: `iptables` may put it in others each time.
      this.#refusal ??= said;
    }
  }

  #accept(wrong: readonly string[]): void {
    const { name, done, remark } = this.#set;
    this.#refusal = undefined;
    if (this.#isMade) this.#say(wrong);
    else {
      this.#log.debug(`${name} before: ${wrong.join(', ') || 'as wanted'}`);
      if (done !== '') this.#log.info(done);
    }
    this.#isMade = true;
    if (remark !== '' && remark !== this.#remark) this.#log.warn(`${name}: ${remark}`);
    this.#remark = remark;
    this.#obstacles = this.#set.obstacles.map((rule) => {
      return { ...rule, text: `a firewall rule of others: ${rule.text}` };
    });
  }

  #say(wrong: readonly string[]): void {
    const line = wrong.length === 0 ? '' : `${this.#set.name} set again: ${wrong.join(', ')}`;
    if (line !== '' && line !== this.#wrong) this.#log.warn(line);
    this.#wrong = line;
    this.#again = line === '' ? 0 : this.#again + 1;
  }
}

const WHO_UNDOES =
  'stop what rewrites the firewall, or let it leave chains of others alone; to see who it is: ' +
  'nft monitor trace, auditctl -a always,exit -S setsockopt';

/** Whatever else is thrown is a mistake in weft. */
function messageOfHost(error: unknown): string {
  if (error instanceof HostError) return error.message;
  throw error;
}
