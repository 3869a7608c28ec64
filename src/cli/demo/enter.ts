/** `weft demo --enter`: a shell, or one command, inside a host or container of a demo that runs. */
import { spawn } from 'node:child_process';
import { exitCode } from '../../lab/command.js';
import { enterArgv, findHolders, type Held } from '../../lab/namespace.js';
import { UsageError } from '../flags.js';

/**
 * Resolves with the exit code of the shell or command. `target` is a name, or `name@number`
 * where several demos run.
 */
export async function enter(target: string, command: readonly string[]): Promise<number> {
  const holder = find(target);
  const inside = command.length > 0 ? command : [process.env.SHELL ?? '/bin/sh'];
  const argv = enterArgv(holder, inside);
  const folders = [
    '/run/shared/bin',
    '/run/lab/shared/bin',
    process.env.PATH,
    '/usr/sbin',
    '/sbin',
  ];
  const child = spawn(argv[0]!, argv.slice(1), {
    stdio: 'inherit',
    env: { ...process.env, PATH: folders.join(':') },
  });
  // Ctrl-C is for the program inside.
  process.on('SIGINT', () => {});
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(exitCode(code, signal)));
  });
}

function find(target: string): Held {
  const held = findHolders();
  if (held.length === 0) throw new UsageError('no demo runs; start one with: weft demo -keep');
  const [name, lab] = target.split('@');
  const found = held.filter((one) => one.name === name && (lab === undefined || one.lab === lab));
  const labs = new Set(held.map((one) => one.lab));
  const full = (one: Held) => (labs.size === 1 ? one.name : `${one.name}@${one.lab}`);
  if (found.length > 1) {
    throw new UsageError(`several demos run; say which: ${found.map(full).join(', ')}`);
  }
  if (found.length === 0) {
    const names = held.map(full).sort().join(', ');
    throw new UsageError(`there is no ${JSON.stringify(target)}, only: ${names}`);
  }
  return found[0]!;
}
