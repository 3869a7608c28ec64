/**
 * The loop that keeps this host as weft made it, whoever changes it: its members look one after
 * another, each period and soon after something was seen to change, and put right what is not as
 * wanted. One whose look costs much looks less often, unless one before it had to put something
 * right.
 *
 * What was put right is one line of log for each look. What cannot be put right is a finding while
 * it lasts.
 */
import type { Finding } from '../../operate/findings/finding.js';
import { HostError } from '../host/errors.js';
import type { Clock, Fault, Log } from '../runtime.js';
import { messageOf } from '../store/store.js';
import { Pace, type Spent } from './pace.js';
import { stackOf } from './unexpected.js';

export type Kind = Pick<Finding, 'code' | 'severity'>;

export interface Member {
  /** For the log. */
  readonly name: string;
  /** Looks, and puts right; a phrase for each thing that was not as wanted. Rejects with why not. */
  reconcile(): Promise<readonly string[]>;
  /** What kind of finding it is when it cannot put something right; a warning unless told. */
  readonly kind?: Kind;
  /** Whether the last look is no measure of what a look costs, and the next not to be put off. */
  readonly isUnsettled?: boolean;
  /** Whether it knows that something is not as wanted: its next look is not put off. */
  readonly isUrgent?: boolean;
}

const PERIOD_MS = 3_000;
/** From a change to the look: changes come in groups. */
const SOON_MS = 100;
/**
 * Between two looks, however much changes; twice as long each time that so many looks in a row came
 * of changes and found nothing to do: others' routes come and go all day where BGP is spoken.
 */
const LEAST_MS = 500;
const IN_VAIN = 10;
/** More make no difference: a period is over. */
const MOST_IN_VAIN = 3 * IN_VAIN;

export class Reconciler {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #spent: Spent | undefined;
  readonly #members = new Map<Member, Pace>();
  readonly #faults = new Map<Member, Pick<Fault, 'text' | 'cure'>>();
  /** The last look's line; empty when all was well. */
  #said = '';
  /** When a look is wanted, and when the last one ended. */
  #wanted = Number.POSITIVE_INFINITY;
  #ended = 0;
  /** Looks in a row that came of changes, and found nothing to do. */
  #inVain = 0;
  #looking: Promise<void> | undefined;
  #cancel = () => {};
  /** A look by the loop itself is for a `running` one; `stopped` is for good. */
  #state: 'waiting' | 'running' | 'stopped' = 'waiting';

  /** `spent`: what looks cost; how long they last unless told. */
  constructor(clock: Clock, log: Log, spent?: Spent) {
    this.#clock = clock;
    this.#log = log;
    this.#spent = spent;
  }

  /** What cannot be put right just now. */
  get faults(): readonly string[] {
    return [...this.#faults.values()].map(({ text }) => text);
  }

  /** The same as findings. */
  get findings(): readonly Finding[] {
    return [...this.#faults].map(([{ name, kind }, { text, cure }]) => ({
      ...(kind ?? { code: 'not-put-right', severity: 'warning' }),
      ...{ scope: 'host', about: name, text, cure },
    }));
  }

  /** Looks after `member`, too, behind those that are there. */
  add(member: Member): void {
    this.#members.set(member, new Pace(this.#clock, { spent: this.#spent }));
  }

  /** The same, with a look at once, as a part of the start; again, it is the look alone. */
  async begin(member: Member): Promise<void> {
    if (!this.#members.has(member)) this.add(member);
    for (const what of await this.#look(member, new Pace(this.#clock))) this.#log.info(what);
  }

  start(): void {
    if (this.#state === 'waiting') this.#state = 'running';
    this.#ended = this.#clock.now();
    this.soon();
  }

  /** Looks after so long, or when a period is over if that is before. */
  soon(afterMs = SOON_MS): void {
    this.#wanted = Math.min(this.#wanted, this.#clock.now() + afterMs);
    this.#schedule();
  }

  /** Looks at once; resolves when it has. */
  async now(): Promise<void> {
    while (this.#looking !== undefined) await this.#looking;
    if (this.#state !== 'running') return;
    this.#cancel();
    await this.#begin(true);
  }

  /** Waits for a look that is under way: nothing is changed afterwards. */
  async stop(): Promise<void> {
    this.#state = 'stopped';
    this.#cancel();
    await this.#looking;
  }

  #schedule(): void {
    if (this.#state !== 'running' || this.#looking !== undefined) return;
    this.#cancel();
    const leastMs = LEAST_MS * 2 ** Math.floor(this.#inVain / IN_VAIN);
    const asked = Math.max(this.#wanted, this.#ended + leastMs);
    const at = Math.min(asked, this.#ended + PERIOD_MS);
    this.#cancel = this.#clock.after(Math.max(at - this.#clock.now(), 0), () => {
      void this.#begin(false);
    });
  }

  /** With `all`, also at what is not due. */
  #begin(all: boolean): Promise<void> {
    this.#looking = this.#lookAtAll(all).finally(() => {
      this.#looking = undefined;
      this.#ended = this.#clock.now();
      this.#schedule();
    });
    return this.#looking;
  }

  async #lookAtAll(all: boolean): Promise<void> {
    const isOfChange = this.#wanted <= this.#clock.now();
    this.#wanted = Number.POSITIVE_INFINITY;
    const did: string[] = [];
    for (const [member, pace] of this.#members) {
      if (this.#state === 'stopped') break;
      // What stands on something that was made anew just now may be gone with the old one.
      const isDue = pace.isDue || member.isUrgent === true;
      if (all || did.length > 0 || isDue) did.push(...(await this.#look(member, pace)));
    }
    this.#inVain = isOfChange && did.length === 0 ? Math.min(this.#inVain + 1, MOST_IN_VAIN) : 0;
    const line = did.join('; ');
    if (line !== '' && line !== this.#said) this.#log.warn(`put right: ${line}`);
    this.#said = line;
  }

  async #look(member: Member, pace: Pace): Promise<readonly string[]> {
    try {
      const isQuiet = (what: readonly string[]) => what.length === 0 && !member.isUnsettled;
      const did = await pace.run(() => member.reconcile(), isQuiet);
      this.#faults.delete(member);
      return did;
    } catch (error) {
      // Ended with weft itself, in the midst of a start: that is no fault of the host.
      if (error instanceof HostError && error.code === 'ECANCELED') return [];
      const cure = error instanceof HostError ? error.cure : '';
      const fault = { text: messageOf(error), cure };
      if (this.#state === 'stopped') return [];
      if (this.#faults.get(member)?.text !== fault.text) {
        for (const line of stackOf(error)) this.#log.debug(line);
      }
      this.#faults.set(member, fault);
      return [];
    }
  }
}
