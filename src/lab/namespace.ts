/**
 * A network namespace, held open by a process that does nothing: `cat` on a pipe from the
 * supervisor. It ends when the pipe is closed, hence also with the supervisor.
 *
 * Programs enter with `nsenter`, not `ip netns exec`: that one mounts /sys anew, which hides
 * the control groups, and needs names under /run that the rest of the machine could see.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError, type Result, Running, type RunOptions, run } from './command.js';
import { LAB_MARK } from './enter.js';

/** The process that holds a namespace. */
export type Holder = ChildProcess;

/** The lab, as far as what is made in it needs to know it. */
export interface Registry {
  /** A folder that every host sees as `/run/shared`, by its path in the supervisor. */
  readonly shared: string;
  /** A new folder of the lab, by its path in the supervisor. */
  directory(...names: string[]): string;
  /** Registers something that the lab closes at its end; its name must be new. */
  add<Space extends Namespace>(space: Space): Space;
}

export class Namespace {
  readonly name: string;
  readonly #holder: Holder;
  readonly #enter: string[];
  readonly #running: Running[] = [];
  readonly #closing: (() => Promise<unknown>)[] = [];

  protected constructor(name: string, holder: Holder, kinds: readonly string[]) {
    this.name = name;
    this.#holder = holder;
    this.#enter = ['nsenter', '--target', String(holder.pid), ...kinds];
  }

  /** The process that holds the namespace; `ip link … netns <holder>` takes it. */
  get holder(): number {
    return this.#holder.pid!;
  }

  /**
   * Runs a program inside, to its end; see `run`. Its working directory is that of the
   * supervisor for a container, and `/` for a host, which has mounts of its own.
   */
  run(argv: readonly string[], options: RunOptions = {}): Promise<Result> {
    return run([...this.#enter, ...argv], options);
  }

  /** Starts a program inside that runs until it is stopped; `close` stops it as well. */
  start(
    argv: readonly string[],
    options: { name?: string; env?: Record<string, string> } = {},
  ): Running {
    const name = options.name ?? argv[0]!;
    const running = new Running(name, [...this.#enter, ...argv], options.env);
    this.#running.push(running);
    return running;
  }

  /** Runs many `ip` commands with one process; each without the leading `ip`. */
  async ip(...commands: string[]): Promise<void> {
    try {
      await this.run(['ip', '-batch', '-'], { input: `${commands.join('\n')}\n` });
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      // `ip` does not say which line it means.
      const argv = ['ip', '-batch', ...commands.map((command) => `"${command}"`)];
      throw new CommandError(argv, `failed on ${this.name}`, error.code, error.stderr);
    }
  }

  /** Sets sysctls, written `name=value`. */
  async sysctl(...settings: string[]): Promise<void> {
    await this.run(['sysctl', '-q', '-w', ...settings]);
  }

  /** Has `close` do this before it stops anything. */
  onClose(work: () => Promise<unknown>): void {
    this.#closing.push(work);
  }

  /**
   * Stops what runs inside, the last started first, then whatever went on without us (a daemon that a
   * typed line left), and lets the namespace go: with one process in it, it would still answer by its addresses.
   */
  async close(): Promise<void> {
    for (const work of this.#closing.splice(0)) await work();
    for (const running of this.#running.splice(0).reverse()) await running.stop();
    await endAll(() => this.#left());
    if (this.#holder.exitCode !== null || this.#holder.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#holder.once('close', resolve));
    this.#holder.ref();
    this.#holder.stdin!.end();
    await ended;
  }

  /** The processes in this network namespace beside its holder. */
  #left(): number[] {
    const own = networkOf(this.holder);
    if (own === undefined || own === networkOf('self')) return [];
    const pids = fs.readdirSync('/proc').filter((entry) => /^\d+$/.test(entry));
    return pids.map(Number).filter((pid) => pid !== this.holder && networkOf(pid) === own);
  }
}

/** The network namespace of a process, undefined of one that has ended. */
function networkOf(pid: number | 'self'): string | undefined {
  try {
    return fs.readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return undefined;
  }
}

/** Ends processes of the lab that nobody stops, until none is found. */
async function endAll(find: () => number[]): Promise<void> {
  const until = performance.now() + END_MS;
  for (let left = find(); left.length > 0; left = find()) {
    if (performance.now() > until) throw new Error(`processes ${left.join(', ')} do not end`);
    for (const pid of left) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {} // ended meanwhile
    }
    await sleep(10);
  }
}

const END_MS = 10_000;

/** Which kinds of namespaces a new `Namespace` has of its own, as `unshare` and `nsenter` call them. */
export const NETWORK_ONLY = ['--net', '--uts'] as const;
export const NETWORK_AND_MOUNTS = ['--net', '--uts', '--mount'] as const;

/** The environment variable by which a holder is recognised from outside. */
const MARK = 'WEFT_LAB_NAMESPACE';

/** Starts a holder and waits until its namespaces are there: `cat` echoes a line, so it was reached. */
export async function hold(name: string, kinds: readonly string[]): Promise<Holder> {
  const propagation = kinds.includes('--mount') ? ['--propagation', 'private'] : [];
  const argv = ['unshare', ...kinds, ...propagation, 'cat'];
  const holder = spawn(argv[0]!, argv.slice(1), {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, [MARK]: name },
  });
  holder.stdin.on('error', () => {}); // told by `close`
  holder.stdin.write('\n');
  let stderr = '';
  holder.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  await new Promise<void>((resolve, reject) => {
    const failed = (what: string, code?: number) =>
      reject(new CommandError(argv, what, code, stderr));
    const timer = setTimeout(() => {
      holder.kill('SIGKILL');
      failed('was not ready after 10 s');
    }, 10_000);
    holder.stdout.once('data', () => {
      clearTimeout(timer);
      resolve();
    });
    holder.once('error', () => failed('could not be started'));
    holder.once('close', (code) => {
      clearTimeout(timer);
      failed(`failed with code ${code}`, code ?? undefined);
    });
  });
  // Nothing more comes from it, and it alone keeps nobody waiting.
  holder.stdout.destroy();
  holder.stderr.destroy();
  (holder.stdin as Socket).unref();
  holder.unref();
  return holder;
}

/** A holder as the rest of the machine sees it. */
export interface Held {
  name: string;
  /** The number of its lab. */
  lab: string;
  pid: number;
}

/** The holders of all labs that run on this machine and that this user may look at. */
export function findHolders(): Held[] {
  return fs.readdirSync('/proc').flatMap((entry) => {
    if (!/^\d+$/.test(entry)) return [];
    try {
      const environment = fs.readFileSync(`/proc/${entry}/environ`, 'utf8').split('\0');
      const value = (mark: string) =>
        environment.find((variable) => variable.startsWith(`${mark}=`))?.slice(mark.length + 1);
      const name = value(MARK);
      return name === undefined ? [] : [{ name, lab: value(LAB_MARK) ?? '', pid: Number(entry) }];
    } catch {
      return []; // another user's, or ended meanwhile
    }
  });
}

/**
 * How to run `argv` beside a holder, from outside the lab. In the lab's process namespace
 * too: the /proc that is seen there belongs to it.
 */
export function enterArgv(holder: Held, argv: readonly string[]): string[] {
  const target = ['nsenter', '--target', String(holder.pid)];
  const user = fs.readlinkSync(`/proc/${holder.pid}/ns/user`);
  const own = user === fs.readlinkSync('/proc/self/ns/user');
  const kinds = ['--net', '--uts', '--mount', '--pid'];
  return [...target, ...(own ? [] : ['--user', '--preserve-credentials']), ...kinds, ...argv];
}
