/**
 * Runs the checks of operate/findings while weft runs, and keeps what they found last; the log is
 * told of it by the teller.
 *
 * A mistake in a check costs that check, never the packets.
 */
import type { AnyStatus, HostCheck, StatusCheck, Subject } from '../../operate/findings/check.js';
import { type Finding, wordsOf } from '../../operate/findings/finding.js';
import { HostError } from '../host/errors.js';
import type { Clock, Log } from '../runtime.js';
import { Pace, type Spent } from './pace.js';
import { describeUnexpected, stackOf } from './unexpected.js';

/** Between two rounds. */
const EVERY_MS = 2_000;
/** Between two looks of a check at the host, which starts programs. */
const LOOK_MS = 4_000;
/** Each check may take one part in so many of the time, unless it says so itself. */
const SHARE = 200;

export interface ExaminerOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly hostChecks: readonly HostCheck[];
  readonly statusChecks: readonly StatusCheck[];
  /** What looks cost; how long they last unless told. */
  readonly spent?: Spent | undefined;
  /** What is looked at, as it is now. */
  readonly subject: () => Subject;
  readonly status: () => AnyStatus;
}

export class Examiner {
  readonly #options: ExaminerOptions;
  readonly #hostChecks: readonly { readonly check: HostCheck; readonly pace: Pace }[];
  /** Of each check, what its last look found. */
  readonly #found = new Map<HostCheck, readonly Finding[]>();
  /** When each was looked with. */
  readonly #looked = new Map<HostCheck, number>();
  /** Of each, the words of what its last look found and the one before did not. */
  readonly #unsure = new Map<HostCheck, ReadonlySet<string>>();
  /** Those of which that was a look out of turn, to be sure. */
  readonly #outOfTurn = new Set<HostCheck>();
  #ofStatus: readonly Finding[] = [];
  #before: AnyStatus | undefined;
  /** Whose mistakes the log was told of, with the stack. */
  readonly #mistaken = new Set<string>();
  #running: Promise<void> | undefined;
  #cancel = () => {};
  #stopped = false;

  constructor(options: ExaminerOptions) {
    this.#options = options;
    this.#hostChecks = options.hostChecks.map((check) => ({
      check,
      pace: new Pace(options.clock, {
        share: check.share ?? SHARE,
        spent: options.spent,
        sureAfter: 1,
      }),
    }));
  }

  get findings(): readonly Finding[] {
    return [...this.#ofStatus, ...[...this.#found.values()].flat()];
  }

  /** Whether it is more than what a single look at a host that changes has seen. */
  isSure(finding: Finding): boolean {
    const words = wordsOf(finding);
    return ![...this.#unsure.values()].some((unsure) => unsure.has(words));
  }

  /** The first round is at once; the others follow by themselves. */
  start(): void {
    this.#running = this.#round().finally(() => {
      this.#running = undefined;
      if (this.#stopped) return;
      this.#cancel = this.#options.clock.after(EVERY_MS, () => this.start());
    });
  }

  /** Waits for a look that is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    await this.#running;
  }

  async #round(): Promise<void> {
    let subject: Subject | undefined;
    for (const { check, pace } of this.#hostChecks) {
      if (this.#stopped) return;
      const begun = this.#options.clock.now();
      if (begun - (this.#looked.get(check) ?? -Infinity) < LOOK_MS) continue;
      if (!pace.isDue && !this.#wantsToBeSure(check)) continue;
      if (pace.isDue) this.#outOfTurn.delete(check);
      else this.#outOfTurn.add(check);
      this.#looked.set(check, begun);
      const look = async () => {
        // One for all of a round: what one check has asked of the host, the next is told, too.
        subject ??= this.#options.subject();
        const seen = subject;
        return pace.run(() => lookWith(check, seen));
      };
      const found = await this.#guarded(check.name, look);
      const before = new Set((this.#found.get(check) ?? []).map(wordsOf));
      this.#unsure.set(check, new Set(found.map(wordsOf).filter((words) => !before.has(words))));
      this.#found.set(check, found);
    }
    this.#ofStatus = await this.#guarded('the status', () => this.#judge());
  }

  /** A look that found something new is followed by one more, however long its turn is away. */
  #wantsToBeSure(check: HostCheck): boolean {
    return (this.#unsure.get(check)?.size ?? 0) > 0 && !this.#outOfTurn.has(check);
  }

  async #judge(): Promise<readonly Finding[]> {
    const status = this.#options.status();
    const before = this.#before;
    this.#before = status;
    const found: Finding[] = [];
    for (const check of this.#options.statusChecks) {
      found.push(...(await this.#guarded('the status', async () => check(status, before))));
    }
    return found;
  }

  async #guarded(
    name: string,
    look: () => Promise<readonly Finding[]>,
  ): Promise<readonly Finding[]> {
    try {
      return await look();
    } catch (error) {
      if (!this.#mistaken.has(name)) {
        for (const line of stackOf(error)) this.#options.log.debug(line);
      }
      this.#mistaken.add(name);
      return [cannotLook(name, describeUnexpected(error, 'weft up -v=1'))];
    }
  }
}

/** A check that cannot look is a finding, too. */
export async function lookWith(check: HostCheck, subject: Subject): Promise<readonly Finding[]> {
  try {
    return await check.look(subject);
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return [cannotLook(check.name, error.message)];
  }
}

function cannotLook(name: string, why: string): Finding {
  const text = `${name} cannot be looked at: ${why}`;
  return {
    ...{ code: 'cannot-look', severity: 'note', scope: 'host' },
    ...{ about: name, text, cure: '' },
  };
}
