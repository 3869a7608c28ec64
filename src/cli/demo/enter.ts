/** `weft demo --enter`: a shell, or one command, inside a host or container of a demo that runs. */
import { spawn } from 'node:child_process';
import { exitCode } from '../../lab/command.js';
import { enterArgv, findHolders } from '../../lab/namespace.js';
import { UsageError } from '../flags.js';

/** Resolves with the exit code of the shell or command. */
export async function enter(name: string, command: readonly string[]): Promise<number> {
  const holders = findHolders();
  // The latest demo, if several run.
  const holder = holders.filter((one) => one.name === name).sort((a, b) => b.pid - a.pid)[0];
  if (holder === undefined) {
    if (holders.length === 0) throw new UsageError('no demo runs; start one with: weft demo -keep');
    const names = [...new Set(holders.map((one) => one.name))].sort().join(', ');
    throw new UsageError(`the demo that runs has no ${JSON.stringify(name)}, only: ${names}`);
  }
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
