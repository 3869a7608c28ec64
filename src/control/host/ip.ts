/**
 * The `ip` program as a server: one long-lived `ip -j -force -batch -` that executes each
 * line as it arrives.
 *
 * Why not one spawn a change: from a store event to a kernel route there are a few
 * milliseconds in all. Measured (2 cores, iproute2 6.1, Node 20, median of 40):
 *
 *                        lines to the running child     one `ip -batch -` each
 *   1 route              0.2 ms                         3.8 ms (15 ms in a process of 200 MB)
 *   100 routes           1.2 ms                         4.9 ms (15 ms)
 *   1000 routes          9.5 ms                         12 ms (20 ms)
 *   1 route, both cores busy   0.14 ms                  6.7 ms
 *
 * and most of a spawn (fork) blocks the calling thread, in proportion to its memory.
 *
 * How a batch's end is known: the last line is one that `ip` cannot know, `sync`, so the child
 * writes "Command failed -:LINE" with the number of that line to standard error, which is
 * unbuffered. What failed before it is named in the same way, with the reason above it. Standard
 * output is another pipe and may arrive later, so a query also waits until its JSON is whole.
 *
 * The child ends itself on a line it cannot parse (a prefix of 99 bits), and it remembers a
 * device's index for good; so callers send checked lines only, and `restart` after a failure. After
 * a `link show`, its `addr show dev` tells no addresses any more (iproute2 6.1): ask `addr show`.
 */
import { HostError } from './errors.js';
import { processorMs } from './processor-time.js';
import type { Ended, Runner, Running } from './runner.js';

// Without -4: that would hide a link which has no IPv4 address (yet). Routes are IPv4 by default.
const ARGV = ['ip', '-j', '-force', '-batch', '-'];
const SYNC = 'sync';
/** Listings asked together: about 1 ms, so that a change which comes meanwhile is not kept waiting. */
const ASKED_AT_ONCE = 64;
/**
 * What a listing of a table takes as a rule is less. In a batch `ip` (6.1) does not ask the kernel to
 * be strict (NETLINK_GET_STRICT_CHK), and gets all routes there are, to choose from by itself: 120 ms
 * of a quarter of a million where the kernel's own choice takes 15.
 */
const LARGE_MS = 20;
/** So many listings are then made by a program each, until it is tried again. */
const BESIDE = 100;
/** Kernel changes take microseconds each; what lasts longer than this hangs. */
const TIMEOUT_MS = 10_000;

/** The part of a clock that is needed here. */
export interface Timers {
  now(): number;
  /** Calls back once after `ms`; returns a function that cancels it. */
  after(ms: number, call: () => void): () => void;
}

/** A line that `ip` refused, and its words for it. */
export interface Failure {
  line: string;
  reason: string;
}

interface Child {
  process: Running;
  /** Lines written to it so far: `ip` numbers them from 1. */
  lines: number;
  stdout: string;
  stderr: string;
  /** Called when something arrived. */
  wake: () => void;
  ended: HostError | null;
}

export class Ip {
  readonly #runner: Runner;
  readonly #timers: Timers;
  #child: Child | null = null;
  /** The batch before this one: batches run one after the other. */
  #last: Promise<unknown> = Promise.resolve();
  /** How many listings of tables are still to be made by a program each, and what those took. */
  #beside = 0;
  #besideMs = 0;
  #closed = false;

  constructor(runner: Runner, timers: Timers) {
    this.#runner = runner;
    this.#timers = timers;
  }

  /**
   * Executes `lines` in order (`route replace 10.5.1.0/24 dev flannel.1`), going on after one
   * that fails. Resolves to those that failed; rejects with a HostError when `ip` could not be
   * started, ended or hung, after which some of the lines may or may not have been executed.
   */
  change(lines: readonly string[]): Promise<Failure[]> {
    if (lines.length === 0) return Promise.resolve([]);
    return this.#inTurn(() => this.#exchange(lines, () => true));
  }

  /**
   * Executes one listing (`route show dev flannel.1`) and resolves to its JSON, always an array.
   * Rejects with a HostError, `ip`'s own words in it, when it was refused.
   */
  query(line: string): Promise<unknown[]> {
    return this.#inTurn(async () => {
      let rows: unknown[] = [];
      const failures = await this.#exchange([line], (stdout, refused) => {
        if (refused > 0) return true;
        const whole = parseArray(stdout);
        if (whole !== null) rows = whole;
        return whole !== null;
      });
      if (failures.length === 0) return rows;
      this.restart();
      throw new HostError('EIP', `ip ${line}: ${failures[0]?.reason}`);
    });
  }

  /**
   * Executes many listings that each answer an array; resolves to what each line was answered, or
   * `ip`'s words for why it was refused. Of thousands, what others ask for comes in between.
   * Rejects with a HostError as `change` does, and when `ip` is closed meanwhile.
   */
  async queryAll(lines: readonly string[]): Promise<Map<string, unknown[] | string>> {
    const answers = new Map<string, unknown[] | string>();
    for (let from = 0; from < lines.length; from += ASKED_AT_ONCE) {
      if (this.#closed) throw new HostError('ECANCELED', 'ip is closed');
      await this.#ask(lines.slice(from, from + ASKED_AT_ONCE), answers);
    }
    return answers;
  }

  /**
   * The same, of listings that the kernel may have to look through a large table for: then each is
   * made by a program of its own, beside the others' lines.
   */
  async listAll(lines: readonly string[]): Promise<Map<string, unknown[] | string>> {
    if (this.#beside > 0) {
      const begun = this.#timers.now();
      this.#beside -= lines.length;
      const answers = new Map<string, unknown[] | string>();
      for (const line of lines) answers.set(line, await this.#listBeside(line));
      this.#besideMs += this.#timers.now() - begun;
      return answers;
    }
    const before = this.#tableMs();
    const answers = await this.queryAll(lines);
    if (this.#tableMs() - before > LARGE_MS * lines.length) this.#beside = BESIDE;
    return answers;
  }

  /** Processor time of the child, where it is told: it may have waited for others' work. */
  #tableMs(): number {
    const pid = this.#child?.process.pid;
    return (pid === undefined ? undefined : processorMs(pid)) ?? this.#timers.now();
  }

  async #listBeside(line: string): Promise<unknown[] | string> {
    if (this.#closed) throw new HostError('ECANCELED', 'ip is closed');
    const { code, signal, stdout, stderr } = await this.#runner.run([
      'ip',
      '-j',
      ...line.split(' '),
    ]);
    if (code === null) throw endedEarly({ code, signal }, stderr);
    if (code !== 0) return stderr.trim().replaceAll('\n', ' ');
    return parseArray(stdout) ?? 'ip did not answer in JSON';
  }

  /** Puts what each of these lines is answered to `answers`. */
  #ask(lines: readonly string[], answers: Map<string, unknown[] | string>): Promise<void> {
    return this.#inTurn(async () => {
      let arrays: string[] = [];
      const failures = await this.#exchange(lines, (stdout, refused) => {
        arrays = stdout.split('\n').filter((text) => text !== '');
        const wanted = lines.length - refused;
        return wanted === 0 || (stdout.endsWith('\n') && arrays.length === wanted);
      });
      for (const { line, reason } of failures) answers.set(line, reason);
      let next = 0;
      for (const line of lines) {
        if (answers.has(line)) continue;
        answers.set(line, parseArray(arrays[next] ?? '') ?? 'ip did not answer in JSON');
        next += 1;
      }
    });
  }

  /**
   * Milliseconds of a processor that it took so far, of the running child and of all listings beside
   * it (those as long as they lasted); undefined where the kernel does not tell.
   */
  spentMs(proc: string): number | undefined {
    const pid = this.#child?.process.pid;
    const ofChild = pid === undefined ? 0 : processorMs(pid, proc);
    return ofChild === undefined ? undefined : ofChild + this.#besideMs;
  }

  /** Ends the child. The next call starts a new one, which knows nothing of the old devices. */
  restart(): void {
    this.#child?.process.kill();
    this.#child = null;
  }

  /** Waits for what is under way, ends the child and waits until it has ended. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#last;
    const child = this.#child;
    if (child === null || child.ended !== null) return;
    await new Promise<void>((resolve) => {
      child.wake = () => {
        if (child.ended !== null) resolve();
      };
      this.restart();
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  /** `complete` tells whether all output is there, of lines of which so many were refused. */
  #exchange(
    lines: readonly string[],
    complete: (stdout: string, refused: number) => boolean,
  ): Promise<Failure[]> {
    const child = this.#running();
    const first = child.lines + 1;
    child.lines += lines.length + 1;
    child.stdout = '';
    child.stderr = '';
    const syncMark = mark(child.lines);
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        cancel();
        child.wake = () => {};
        settle();
      };
      const giveUp = (error: HostError) => {
        finish(() => reject(error));
        if (this.#child === child) this.restart();
      };
      const cancel = this.#timers.after(TIMEOUT_MS, () =>
        giveUp(new HostError('ETIMEDOUT', `ip did not answer within ${TIMEOUT_MS / 1000} s`)),
      );
      child.wake = () => {
        if (child.stderr.endsWith(syncMark)) {
          const failures = readFailures(child.stderr, lines, first);
          if (complete(child.stdout, failures.length)) {
            finish(() => resolve(failures));
            return;
          }
        }
        if (child.ended !== null) giveUp(child.ended);
      };
      child.process.write(`${lines.join('\n')}\n${SYNC}\n`);
      if (child.ended !== null) child.wake();
    });
  }

  #running(): Child {
    if (this.#child !== null && this.#child.ended === null) return this.#child;
    const child: Child = {
      process: { write: () => {}, kill: () => {} },
      lines: 0,
      stdout: '',
      stderr: '',
      wake: () => {},
      ended: null,
    };
    this.#child = child;
    child.process = this.#runner.start(ARGV, {
      stdout: (text) => {
        child.stdout += text;
        child.wake();
      },
      stderr: (text) => {
        child.stderr += text;
        child.wake();
      },
      ended: (how, error) => {
        child.ended = error ?? endedEarly(how, child.stderr);
        child.wake();
      },
    });
    return child;
  }
}

function mark(line: number): string {
  return `Command failed -:${line}\n`;
}

/** The refused lines of a batch whose first line is number `first`: reasons, then the mark. */
export function readFailures(stderr: string, lines: readonly string[], first: number): Failure[] {
  const failures: Failure[] = [];
  let reason: string[] = [];
  for (const text of stderr.split('\n')) {
    const number = /^Command failed -:(\d+)$/.exec(text)?.[1];
    if (number === undefined) {
      if (text !== '') reason.push(text);
      continue;
    }
    const line = lines[Number(number) - first];
    if (line !== undefined) failures.push({ line, reason: reason.join(' ') });
    reason = [];
  }
  return failures;
}

/** The array that `text` holds, or null while it is not whole. */
export function parseArray(text: string): unknown[] | null {
  // Most pieces end in the middle: look at the last character before parsing all of it again.
  if (!text.trimEnd().endsWith(']')) return null;
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

function endedEarly(how: Ended, stderr: string): HostError {
  const last = stderr.trim().split('\n').at(-1) ?? '';
  const code = how.signal ?? `code ${how.code}`;
  return new HostError('EIP', `ip ended (${code})${last === '' ? '' : `: ${last}`}`);
}
