/**
 * subnet.env on this host, and that it says of the network what it is to say.
 *
 * It is not weft's alone: `mk-docker-opts.sh -d /run/flannel/subnet.env` puts Docker's options into
 * it. So it is written again only when it is gone, cannot be read, or says something else of the
 * network; what it has beside is kept, and so are its mode and owner. Whoever writes other values
 * again and again is named, and opposed ever less often.
 */
import fs from 'node:fs';
import path from 'node:path';
import { HostError } from '../host/errors.js';
import type { Journal } from '../host/journal.js';
import {
  formatSubnetEnv,
  makeReadable,
  readSubnetEnv,
  type SubnetEnv,
  withOurs,
  writeSubnetEnv,
  wrongIn,
} from '../overlay/subnet-env.js';
import type { Clock } from '../runtime.js';
import { messageOf } from '../store/store.js';
import type { Member } from './reconcile.js';

/** So often it is put right in a row before it is said that somebody opposes. */
const REPAIRS = 3;
/** From then on between two of them; doubled each time up to the longest. */
const FIRST_PAUSE_MS = 10_000;
const LONGEST_PAUSE_MS = 300_000;
/** What was right so long, and twice the pause, is opposed by nobody. */
const QUIET_MS = 60_000;
/** The same of a program that wrote it by itself, and does so no more. */
const CALM_MS = 2_000;
/** After it was seen to change it is looked at again. */
const CHANGED_MS = 1_000;
/** Whoever writes it in several steps gets so long for them. */
const STEPS_MS = 500;

export interface SubnetFileOptions {
  readonly journal: Pick<Journal, 'record'>;
  readonly clock: Pick<Clock, 'now'>;
  /** Wants to look again after so many milliseconds. */
  readonly soon: (ms: number) => void;
}

export class SubnetFile implements Member {
  readonly name: string;
  readonly kind = { code: 'subnet-env', severity: 'error' } as const;
  readonly #options: SubnetFileOptions;
  #env: SubnetEnv;
  /** Whether it was found or made right once. */
  #begun = false;
  #written = false;
  /** What it said at the last look, if that was wrong: it may have been half of what it is to be. */
  #seen: string | undefined;
  /** How often it was put right in a row, and when last. */
  #repairs = 0;
  #repairedAt = 0;
  /** Which file it was at the last look, and whether it changed by itself while weft let it be. */
  #stamp = '';
  #restless = false;
  /** That somebody opposes, in the words of the first time; undefined while nobody does. */
  #opposed: HostError | undefined;

  constructor(file: string, env: SubnetEnv, options: SubnetFileOptions) {
    this.name = file;
    this.#env = env;
    this.#options = options;
  }

  /** Whether Docker and CNI can read it. */
  get written(): boolean {
    return this.#written;
  }

  /** The tunnel has another MTU: writes it. What fails is tried again by `reconcile`. */
  async changeMtu(mtu: number): Promise<void> {
    this.#env = { ...this.#env, mtu };
    try {
      this.#write(this.#look().text);
    } catch {
      this.#written = false;
    }
  }

  async reconcile(): Promise<string[]> {
    const { text, wrong } = this.#look();
    this.#written = wrong === undefined;
    if (!this.#begun) return this.#begin(text, wrong);
    if (wrong === undefined) return this.#keep();
    if (text !== undefined && text !== this.#seen) {
      this.#seen = text;
      this.#options.soon(STEPS_MS);
      return [];
    }
    return this.#repair(text, wrong);
  }

  #begin(text: string | undefined, wrong: string | undefined): string[] {
    if (wrong === undefined) this.#record();
    else this.#write(text);
    makeReadable(this.name);
    this.#begun = true;
    return wrong === undefined ? [] : [`wrote ${this.name}`];
  }

  /** It is as it is to be. */
  #keep(): string[] {
    this.#seen = undefined;
    const quiet = this.#options.clock.now() - this.#repairedAt;
    const longest = Math.max(QUIET_MS, 2 * this.#pauseMs);
    if (quiet >= (this.#restless ? CALM_MS : longest)) {
      this.#restless = false;
      this.#repairs = 0;
      this.#opposed = undefined;
    }
    if (this.#opposed !== undefined) throw this.#opposed;
    return [];
  }

  #repair(text: string | undefined, wrong: string): string[] {
    const now = this.#options.clock.now();
    if (this.#repairs >= REPAIRS) {
      this.#opposed ??= new HostError(
        'EBUSY',
        `another program keeps writing ${this.name}, ${wrong}: weft writes it again now and then`,
        'stop that program, or give weft a file of its own: -subnet-file=FILE',
      );
      const isPause = now < this.#repairedAt + this.#pauseMs;
      if (!this.#isCalm() && isPause) throw this.#opposed;
    }
    this.#write(text);
    this.#repairs += 1;
    this.#repairedAt = now;
    // Whoever opposes does so at once, as a rule.
    if (this.#repairs <= REPAIRS) this.#options.soon(STEPS_MS);
    if (this.#opposed !== undefined) throw this.#opposed;
    return [`wrote ${this.name}, ${wrong}`];
  }

  /**
   * Whether the program that opposes, which wrote it while weft let it be, does so no more. Of one
   * that writes only after weft has, nobody can tell: for those are the pauses.
   */
  #isCalm(): boolean {
    const before = this.#stamp;
    this.#stamp = stampOf(this.name);
    const isCalm = this.#restless && this.#stamp === before;
    if (before !== '' && this.#stamp !== before) this.#restless = true;
    if (this.#restless) this.#options.soon(isCalm ? CALM_MS : CHANGED_MS);
    return isCalm;
  }

  get #pauseMs(): number {
    const doubled = FIRST_PAUSE_MS * 2 ** Math.max(this.#repairs - REPAIRS, 0);
    return Math.min(doubled, LONGEST_PAUSE_MS);
  }

  /** What it says, if it can be read, and what is wrong with that. */
  #look(): { text: string | undefined; wrong: string | undefined } {
    try {
      const text = readSubnetEnv(this.name);
      return { text, wrong: text === undefined ? 'which was gone' : wrongIn(text, this.#env) };
    } catch (error) {
      return { text: undefined, wrong: `which could not be read (${messageOf(error)})` };
    }
  }

  /** Throws a HostError that says what comes of it. */
  #write(before: string | undefined): void {
    try {
      this.#record();
      writeSubnetEnv(this.name, withOurs(before ?? '', this.#env));
    } catch (error) {
      const lack = before === undefined ? 'miss it' : 'read other values there';
      const why = messageOf(error);
      const text = `cannot write ${this.name}: ${why}; Docker and CNI will ${lack}`;
      const folder = path.dirname(this.name);
      const remark = 'rights, and room: weft tries again by itself';
      throw new HostError('EIO', text, `ls -ld ${folder}; df -h ${folder}   (${remark})`);
    }
    this.#written = true;
    this.#seen = undefined;
    this.#stamp = '';
  }

  /** Only our lines: the others are not weft's to take back. */
  #record(): void {
    this.#options.journal.record({
      kind: 'file',
      path: this.name,
      wrote: formatSubnetEnv(this.#env),
    });
  }
}

/** Changes whenever the file is written; empty while there is none. */
function stampOf(file: string): string {
  try {
    const { ino, mtimeNs } = fs.statSync(file, { bigint: true });
    return `${ino} ${mtimeNs}`;
  } catch {
    return '';
  }
}
