/**
 * The supervisor: one process in namespaces of its own, inside which a lab lives.
 *
 *   the script as it was called
 *     └─ unshare: new mount, network and process namespaces (and user namespace, without root)
 *          └─ the same script again, as process 1 of them: the supervisor
 *               └─ everything the lab starts
 *
 * The kernel ends every process of a process namespace with its process 1, and the network
 * namespaces, links and mounts with the last process that used them: so nothing is left
 * behind, however the lab ends. (Control groups, which Docker engines make, have a guard for that:
 * cgroups.ts.)
 */
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { cgroupOf, guardCgroup } from './cgroups.js';
import { exitCode } from './command.js';

/** Holds the lab's number, by which those that run at once are told apart: its script's process id. */
export const LAB_MARK = 'WEFT_LAB';

/** Whether this process is the supervisor of a lab. The mark alone is inherited by its children. */
export function insideLab(): boolean {
  return process.env[LAB_MARK] !== undefined && process.pid === 1;
}

/** Where a program is in PATH or in the folders of system programs, or undefined. */
export function findProgram(name: string): string | undefined {
  const folders = [
    ...(process.env.PATH ?? '').split(':'),
    '/usr/sbin',
    '/sbin',
    '/usr/bin',
    '/bin',
  ];
  return folders
    .map((folder) => path.join(folder, name))
    .find((file) => {
      try {
        fs.accessSync(file, fs.constants.X_OK);
        return fs.statSync(file).isFile();
      } catch {
        return false;
      }
    });
}

export interface Needs {
  /** Programs beside those that every lab uses. */
  programs?: readonly string[];
  /** Whether the lab opens a TUN (weft does, kernel peers do not). */
  tun?: boolean;
  /** Whether root must be the machine's own, and not that of a user namespace: eBPF, files of root's. */
  root?: boolean;
}

export interface EnterOptions {
  /** Whether Docker engines will run in the lab: their control groups go with it. */
  docker?: boolean;
}

/** What this machine lacks for a lab, as one line that says what to do; undefined when nothing. */
export function labLacks(needs: Needs = {}): string | undefined {
  const programs = ['unshare', 'nsenter', 'setpriv', 'mount', 'ip', 'sysctl', 'hostname', 'cat'];
  const missing = [...programs, ...(needs.programs ?? [])].filter((name) => !findProgram(name));
  if (missing.length > 0) {
    return `a lab needs these programs, which are not installed: ${missing.join(', ')}`;
  }
  if (needs.root && !isMachinesRoot()) return 'this needs the root of the machine: run as root';
  if (needs.tun) {
    try {
      fs.closeSync(fs.openSync('/dev/net/tun', 'r+'));
    } catch (error) {
      return `a lab with weft needs to open /dev/net/tun (${(error as Error).message}): run as root`;
    }
  }
  if (insideLab()) return undefined;
  const [program, ...args] = unshareArgv(['true']);
  const tried = spawnSync(program!, args, { encoding: 'utf8', timeout: 10_000 });
  if (tried.status === 0) return undefined;
  return `a lab needs namespaces of its own (${tried.stderr.trim()}): ${cureFor(tried.stderr)}`;
}

/** The first user namespace has all users, each under its own number; a kernel without any has no such file. */
function isMachinesRoot(): boolean {
  if (process.getuid?.() !== 0) return false;
  const map = '/proc/self/uid_map';
  if (!fs.existsSync(map)) return true;
  return fs.readFileSync(map, 'utf8').trim().split(/\s+/).join(' ') === '0 0 4294967295';
}

/** What to do where `unshare` was refused. */
export function cureFor(refusal: string): string {
  // A chroot's root is a plain folder of another mount.
  if (/cannot change root filesystem propagation: Invalid argument/.test(refusal)) {
    return (
      'the root of this process is no mount point, as in a chroot; run outside of it, or make it ' +
      'one before: mount --bind FOLDER FOLDER, then chroot FOLDER'
    );
  }
  return process.getuid?.() === 0
    ? 'this process is root and may not make them; run outside of the container, or with --privileged'
    : 'run as root';
}

/**
 * Runs the current script again inside a new supervisor, with `argv` as its arguments, and
 * resolves with its exit code. Standard input, output and error are shared; signals that
 * reach this process are passed on; when this process dies, the supervisor dies with it.
 */
export async function enterLab(
  argv: readonly string[] = process.argv.slice(2),
  options: EnterOptions = {},
): Promise<number> {
  const script = process.argv[1];
  if (script === undefined) throw new Error('a lab runs a script again, and there is none');
  const [program, ...args] = unshareArgv([process.execPath, ...process.execArgv, script, ...argv]);
  const guard = options.docker ? guardCgroup(cgroupOf(String(process.pid))) : undefined;
  // `detached`: Ctrl-C reaches this process alone, which passes it on, so it arrives once.
  const child = spawn(program!, args, {
    stdio: 'inherit',
    detached: true,
    env: {
      ...process.env,
      PATH: `${process.env.PATH}:/usr/sbin:/sbin`,
      [LAB_MARK]: String(process.pid),
    },
  });
  const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'];
  // unshare itself holds signals back while it waits: they go to its child, the supervisor.
  const pass = (signal: NodeJS.Signals) => {
    for (const pid of childrenOf(child.pid)) process.kill(pid, signal);
  };
  for (const signal of signals) process.on(signal, pass);
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => resolve(exitCode(code, signal)));
    });
  } finally {
    for (const signal of signals) process.off(signal, pass);
    await guard?.finish();
  }
}

/**
 * setpriv ends unshare when this process ends (also by SIGKILL), and --kill-child ends
 * the supervisor when unshare does.
 */
function unshareArgv(argv: readonly string[]): string[] {
  const user = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  return [
    ...['setpriv', '--pdeathsig', 'SIGKILL'],
    ...['unshare', ...user, '--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc'],
    ...argv,
  ];
}

function childrenOf(parent: number | undefined): number[] {
  return fs.readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      // After the program's name, which may hold anything: state, parent, …
      const stat = fs.readFileSync(`/proc/${name}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return Number(fields[1]) === parent ? [Number(name)] : [];
    } catch {
      return []; // ended meanwhile
    }
  });
}

/**
 * Prepares the supervisor: /run empty and its own, loopback up, and signals that end it
 * (process 1 ignores a signal for which it has no handler). A program that handles a
 * signal itself decides what happens.
 */
export function prepareSupervisor(): void {
  if (!insideLab()) throw new Error('a lab opens inside enterLab() only');
  for (const argv of [
    // -n, else mount(8) makes a folder of its own in the /run that it hides.
    ['mount', '-n', '-t', 'tmpfs', '-o', 'mode=755', 'lab', '/run'],
    ['ip', 'link', 'set', 'lo', 'up'],
  ]) {
    const done = spawnSync(argv[0]!, argv.slice(1), { encoding: 'utf8', timeout: 10_000 });
    if (done.status !== 0) throw new Error(`\`${argv.join(' ')}\` failed: ${done.stderr.trim()}`);
  }
  // Whoever read the output has gone (`weft demo | head`): nobody needs the lab any more.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => process.exit(1));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (process.listenerCount(signal) === 1) process.exit(128 + os.constants.signals[signal]);
    });
  }
}
