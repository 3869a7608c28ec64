/**
 * Tells the log what is wrong, whoever found it: the parts of the daemon or a check. A finding is
 * one line of log when it has lasted and is sure, and one when it is over, however often it comes and
 * goes. One that follows from a greater fault has its line if it is left when that is over. What has
 * another reason than was said is said again.
 */
import { withoutConsequences } from '../../operate/findings/consequences.js';
import { type Finding, keyOf, wordsOf } from '../../operate/findings/finding.js';
import { type Clock, type Log, lineOf } from '../runtime.js';

/** Between two rounds. */
const EVERY_MS = 2_000;
/** The log is told of what has lasted: a fault in the midst of somebody's change is soon over. */
const LASTS_MS = 4_000;
/** More findings than this of one round are told as a number. */
const TOLD = 10;
/** What came back within this time, in the same words, is not said again. */
const SILENT_MS = 120_000;

export interface TellerOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** All that is wrong just now, with what follows from it. */
  readonly findings: () => readonly Finding[];
  /** Whether more than a single look has found it; all of them unless given. */
  readonly isSure?: (finding: Finding) => boolean;
  /** Codes of those that say themselves, at once, what they are. */
  readonly elsewhere?: readonly string[];
}

export class Teller {
  readonly #options: TellerOptions;
  /** What the log was told of and is not over, as it was told; by its key. */
  #open = new Map<string, Finding>();
  /** Since when each is found, and when it was said, if that was not long ago; by its words. */
  #since = new Map<string, number>();
  readonly #said = new Map<string, number>();
  #cancel = () => {};

  constructor(options: TellerOptions) {
    this.#options = options;
  }

  /** The first round is at once; the others follow by themselves. */
  start(): void {
    const { clock, isSure = () => true } = this.#options;
    const lasts = (words: string) => clock.now() - (this.#since.get(words) ?? 0) >= LASTS_MS;
    this.#round((words, finding) => lasts(words) && isSure(finding));
    this.#cancel = clock.after(EVERY_MS, () => this.start());
  }

  stop(): void {
    this.#cancel();
  }

  /**
   * What is wrong with this host is said now, for one who cannot wait until it has lasted; what is
   * wrong with a peer may follow from what is not found yet.
   */
  tellHost(): void {
    this.#round((_, { scope }) => scope === 'host');
  }

  #round(isDue: (words: string, finding: Finding) => boolean): void {
    const { clock, log, elsewhere = [] } = this.#options;
    const found = this.#options.findings();
    const there = new Set(found.map(keyOf));
    const told = withoutConsequences(found).filter(({ code }) => !elsewhere.includes(code));
    const now = new Map(told.map((finding) => [keyOf(finding), finding]));
    const at = clock.now();
    const since = (words: string) => this.#since.get(words) ?? at;
    this.#since = new Map([...now.values()].map(wordsOf).map((words) => [words, since(words)]));
    for (const [words, said] of this.#said) if (at - said >= SILENT_MS) this.#said.delete(words);
    // What is explained since it was said is not over.
    const over = [...this.#open].filter(([key]) => !there.has(key));
    const news = [...now].filter(([key, finding]) => {
      const words = wordsOf(finding);
      const open = this.#open.get(key);
      const isSaid = this.#said.has(words) || (open !== undefined && wordsOf(open) === words);
      return !isSaid && isDue(words, finding);
    });
    for (const [key] of over) this.#open.delete(key);
    for (const [key, finding] of news) {
      this.#open.set(key, finding);
      this.#said.set(wordsOf(finding), at);
    }
    for (const [, finding] of news.slice(0, TOLD)) say(log, finding);
    if (news.length > TOLD) log.warn(`${news.length - TOLD} more findings (see: weft status)`);
    for (const [, { text }] of over.slice(0, TOLD)) log.info(`over: ${text}`);
    if (over.length > TOLD) log.info(`over: ${over.length - TOLD} more findings`);
  }
}

function say(log: Log, finding: Finding): void {
  const line = lineOf(finding);
  if (finding.severity === 'note') log.info(line);
  else log.warn(line);
}
