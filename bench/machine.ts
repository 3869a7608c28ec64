/** Where and when a figure was made: printed above every result, stored in every JSON. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

export interface Machine {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly kernel: string;
  readonly node: string;
  /** TCP's of this network namespace; a program whose hosts have another says so itself. */
  readonly congestionControl: string;
  readonly command: string;
}

export function describeMachine(): Machine {
  return {
    date: new Date().toISOString(),
    cpu: os.cpus()[0]?.model ?? 'unknown',
    cores: os.cpus().length,
    kernel: os.release(),
    node: process.version,
    congestionControl: fs.readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim(),
    command: commandOf(process.argv),
  };
}

/** How the running program is called from the project's folder. */
export function commandOf(argv: readonly string[]): string {
  const name = path.basename(argv[1] ?? '', '.js');
  const words = argv.slice(2).map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word}'`));
  return ['npm run bench --', ...(name === 'side-by-side' ? [] : [name]), ...words].join(' ');
}

export function machineLine(machine: Machine): string {
  const { date, cpu, cores, kernel, node, congestionControl } = machine;
  return `${date}  ${cores} × ${cpu}, Linux ${kernel}, Node ${node}, TCP ${congestionControl}`;
}
