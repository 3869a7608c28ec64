/** What the tests in a network namespace of their own share. */
import { execFileSync } from 'node:child_process';

export const OURS = 0x0a630001; // 10.99.0.1
export const THEIRS = 0x0a630002; // 10.99.0.2, behind the TUN

export function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

export const isIpv4 = (protocol: number) => (packet: Buffer) =>
  packet[0]! >> 4 === 4 && packet[9] === protocol;
