/**
 * The one place where this folder starts programs: argument vectors, never a shell.
 * Everything else takes a `Runner`, so that unit tests can answer in its place.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { errnoOf, HostError, textOf } from './errors.js';

/** How a program ended. `code` is null when a signal ended it (a timeout does so by SIGKILL). */
export interface Ended {
  code: number | null;
  signal: string | null;
}

/** A program that has ended, with all it wrote. */
export interface Ran extends Ended {
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  /** Written to the program's standard input, which is then closed. */
  input?: string;
  /** After so long it is killed. Default 10 s. */
  timeoutMs?: number;
}

/** What a running program says. Exactly one `ended` comes last, also when it could not be started. */
export interface Listener {
  stdout(text: string): void;
  stderr(text: string): void;
  /** `error` is set when the program could not be started at all. */
  ended(how: Ended, error?: HostError): void;
}

/** A program that runs until it is told to stop. */
export interface Running {
  /** Absent where it could not be started. */
  readonly pid?: number | undefined;
  write(text: string): void;
  kill(): void;
}

export interface Runner {
  /** Runs a program to its end. Rejects with a HostError only if it could not be started. */
  run(argv: readonly string[], options?: RunOptions): Promise<Ran>;
  /** Starts a program that is spoken to through its standard input. */
  start(argv: readonly string[], listener: Listener): Running;
}

/** The Runner that starts real programs. */
export const systemRunner: Runner = {
  run(argv, options = {}) {
    return new Promise((resolve, reject) => {
      let stdout = '';
      let stderr = '';
      const child = launch(argv, options.timeoutMs ?? 10_000, {
        stdout: (text) => {
          stdout += text;
        },
        stderr: (text) => {
          stderr += text;
        },
        ended: (how, error) => (error ? reject(error) : resolve({ ...how, stdout, stderr })),
      });
      child?.stdin?.end(options.input ?? '');
    });
  },

  start(argv, listener) {
    const child = launch(argv, 0, listener);
    return {
      pid: child?.pid,
      write: (text) => {
        child?.stdin?.write(text);
      },
      kill: () => {
        child?.kill('SIGKILL');
      },
    };
  },
};

/** Undefined where it cannot be started, which the listener is told, but never at once. */
function launch(
  argv: readonly string[],
  timeoutMs: number,
  listener: Listener,
): ChildProcess | undefined {
  try {
    const child = start(argv, timeoutMs);
    listen(child, argv, listener);
    return child;
  } catch (error) {
    // Node tells some errors of a start by an event, and throws the others: ENOMEM, EPERM, E2BIG.
    const failure = cannotStart(argv[0] ?? '', error);
    queueMicrotask(() => listener.ended({ code: null, signal: null }, failure));
    return undefined;
  }
}

function start(argv: readonly string[], timeoutMs: number): ChildProcess {
  const [program = '', ...args] = argv;
  return spawn(program, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    // The messages are parsed, so they must not be translated; and a unit's or a user's
    // PATH often lacks the directories where ip and nft live.
    env: {
      ...process.env,
      LC_ALL: 'C',
      PATH: `${process.env.PATH ?? '/usr/bin:/bin'}:/usr/sbin:/sbin`,
    },
  });
}

function listen(child: ChildProcess, argv: readonly string[], listener: Listener): void {
  let ended = false;
  child.stdout?.setEncoding('utf8').on('data', (text: string) => listener.stdout(text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => listener.stderr(text));
  // A program that ended breaks the pipe; `close` below reports the end itself.
  child.stdin?.on('error', () => {});
  child.on('error', (error) => {
    if (ended || child.pid !== undefined) return;
    ended = true;
    listener.ended({ code: null, signal: null }, cannotStart(argv[0] ?? '', error));
  });
  child.on('close', (code, signal) => {
    if (ended) return;
    ended = true;
    listener.ended({ code, signal });
  });
}

/** What to install. */
function packageOf(program: string): string {
  if (program === 'ip') return '; install iproute2';
  if (program === 'nft') return '; install nftables';
  return /^ip6?tables/.test(program) ? '; install iptables' : '';
}

function cannotStart(program: string, error: unknown): HostError {
  const code = errnoOf(error);
  const why =
    code === 'ENOENT' ? `there is no such program in the PATH${packageOf(program)}` : textOf(error);
  return new HostError(code || 'ESPAWN', `cannot run ${program}: ${why}`);
}
