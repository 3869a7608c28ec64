/** Where and when a figure was made: printed above every result, stored in every JSON. */
import fs from 'node:fs';
import os from 'node:os';

export interface Machine {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly kernel: string;
  readonly node: string;
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
    command: `node ${process.argv.slice(1).map(shorten).join(' ')}`,
  };
}

/** Paths as seen from the project. */
function shorten(word: string): string {
  const root = new URL('../../', import.meta.url).pathname;
  return word.startsWith(root) ? word.slice(root.length) : word;
}

export function machineLine(machine: Machine): string {
  const { date, cpu, cores, kernel, node, congestionControl } = machine;
  return `${date}  ${cores} × ${cpu}, Linux ${kernel}, Node ${node}, TCP ${congestionControl}`;
}
