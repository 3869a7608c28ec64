/**
 * Programs that the lab runs: to their end (`run`), or beside it (`Running`).
 * Argument vectors only, everything with a time limit, every failure with what was run.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import os from 'node:os';

export interface RunOptions {
  /** Text for the program's standard input; without it the program reads an empty one. */
  input?: string;
  /** Milliseconds after which the program is killed and `run` rejects; 20 s unless told. */
  timeout?: number;
  /** Resolve with the exit code of a program that fails, instead of rejecting. */
  mayFail?: boolean;
  /** Added to the environment. */
  env?: Record<string, string>;
}

/** What a program that ended left behind. */
export interface Result {
  /** The exit code; 128 + the signal's number when a signal ended the program, as a shell counts. */
  code: number;
  stdout: string;
  stderr: string;
}

/** A program failed, could not be started, or took too long. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly argv: readonly string[];
  /** The exit code, or undefined when the program did not start or was stopped for taking too long. */
  readonly code: number | undefined;
  readonly stderr: string;

  constructor(argv: readonly string[], what: string, code: number | undefined, stderr: string) {
    const said = stderr.trim();
    super(`\`${argv.join(' ')}\` ${what}${said === '' ? '' : `: ${said}`}`);
    this.argv = argv;
    this.code = code;
    this.stderr = stderr;
  }
}

/** One number for the two ways a process can end. */
export function exitCode(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + (signal === null ? 0 : os.constants.signals[signal]);
}

/**
 * Runs a program to its end.
 * Rejects with a CommandError when it cannot be started, exits with another code than 0
 * (unless `mayFail`), or is not done within the timeout.
 */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<Result> {
  const timeout = options.timeout ?? 20_000;
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0]!, argv.slice(1), {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
    });
    let stdout = '';
    let stderr = '';
    let late = false;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    // A program that ends without reading its input is no failure of ours: its exit code tells.
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, timeout);
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(new CommandError(argv, 'could not be started', undefined, error.message));
    });
    child.once('close', (exit, signal) => {
      clearTimeout(timer);
      const code = exitCode(exit, signal);
      if (late) {
        const what = `was not done after ${timeout} ms and was killed`;
        reject(new CommandError(argv, what, undefined, stderr || stdout));
      } else if (code !== 0 && !options.mayFail) {
        reject(new CommandError(argv, `failed with code ${code}`, code, stderr || stdout));
      } else {
        resolve({ code, stdout, stderr });
      }
    });
  });
}

/** How much of a long-running program's output is kept, in characters; the oldest goes first. */
const OUTPUT_KEPT = 1 << 20;

/** A program that runs beside the lab until it is stopped; its output is collected. */
export class Running {
  readonly name: string;
  readonly argv: readonly string[];
  /** Resolves with the exit code when the program has ended, however it ended. Never rejects. */
  readonly exited: Promise<number>;
  readonly #child: ChildProcess;
  #output = '';
  #code: number | undefined;
  #wakers = new Set<() => void>();

  constructor(name: string, argv: readonly string[], env: Record<string, string> = {}) {
    this.name = name;
    this.argv = argv;
    const child = spawn(argv[0]!, argv.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-OUTPUT_KEPT);
        this.#wake();
      });
    }
    this.exited = new Promise((resolve) => {
      const ended = (code: number) => {
        this.#code ??= code;
        this.#wake();
        resolve(this.#code);
      };
      child.once('error', (error) => {
        this.#output += `${error.message}\n`;
        ended(127);
      });
      child.once('close', (exit, signal) => ended(exitCode(exit, signal)));
    });
  }

  /** The process id as the lab sees it, or undefined when the program could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** The exit code, or undefined while the program runs. */
  get code(): number | undefined {
    return this.#code;
  }

  /** Standard output and standard error so far, as they came. */
  get output(): string {
    return this.#output;
  }

  /** The last `lines` lines of the output. */
  tail(lines: number): string {
    return this.#output.trimEnd().split('\n').slice(-lines).join('\n');
  }

  /**
   * Waits until the output matches. Rejects with a CommandError when the program ends
   * before it does, or after `ms` milliseconds.
   */
  waitFor(pattern: RegExp, ms: number): Promise<RegExpMatchArray> {
    return new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        this.#wakers.delete(look);
      };
      const look = () => {
        const match = this.#output.match(pattern);
        if (match !== null) {
          done();
          resolve(match);
        } else if (this.#code !== undefined) {
          done();
          const what = `ended with code ${this.#code} before it said ${pattern}`;
          reject(new CommandError(this.argv, what, this.#code, this.tail(20)));
        }
      };
      const timer = setTimeout(() => {
        done();
        const what = `did not say ${pattern} within ${ms} ms`;
        reject(new CommandError(this.argv, what, undefined, this.tail(20)));
      }, ms);
      this.#wakers.add(look);
      look();
    });
  }

  /** Sends a signal; does nothing when the program has ended. */
  kill(signal: NodeJS.Signals): void {
    if (this.#code === undefined) this.#child.kill(signal);
  }

  /** SIGTERM, and SIGKILL when the program is still there after `limit` ms. Resolves with the exit code. */
  async stop(limit = 20_000): Promise<number> {
    this.kill('SIGTERM');
    const timer = setTimeout(() => this.kill('SIGKILL'), limit);
    const code = await this.exited;
    clearTimeout(timer);
    return code;
  }

  #wake(): void {
    for (const waker of [...this.#wakers]) waker();
  }
}
