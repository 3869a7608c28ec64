/**
 * ICMP echo by the program `ping`, for where there is no raw socket of our own: one process an
 * echo, which is no matter for a command that sends a few.
 */
import type { EchoResult } from './echo.js';
import { LARGER_THAN_DEVICE } from './echo.js';
import { textOf } from './errors.js';
import { formatAddress } from './ipv4.js';
import type { Runner } from './runner.js';

/** IPv4 and ICMP. */
const HEADERS = 28;

/** What ping says of an ICMP "unreachable", and its code. */
const UNREACHABLE: readonly (readonly [RegExp, number])[] = [
  [/Destination Net Unreachable/, 0],
  [/Destination Host Unreachable/, 1],
  [/Destination Port Unreachable/, 3],
  [/Packet filtered|Communication.* prohibited/i, 13],
];

export class Ping {
  readonly #runner: Runner;
  readonly #source: string;
  readonly #vrf: string | undefined;

  /** `source`: our own address, dotted. */
  constructor(runner: Runner, source: string, vrf?: string) {
    this.#runner = runner;
    this.#source = source;
    this.#vrf = vrf;
  }

  /** As `Echo.send`. Never rejects. */
  async send(to: number, size: number, ms: number): Promise<EchoResult> {
    const seconds = String(Math.max(1, Math.ceil(ms / 1000)));
    const from = this.#vrf === undefined ? [] : ['-I', this.#vrf];
    const argv = [
      ...['ping', '-n', '-c', '1', '-W', seconds, '-w', seconds, '-M', 'do'],
      ...['-s', String(Math.max(0, size - HEADERS)), ...from, '-I', this.#source],
      formatAddress(to),
    ];
    try {
      const { code, stdout, stderr } = await this.#runner.run(argv, { timeoutMs: ms + 2_000 });
      return code === 0 ? { kind: 'answered' } : readFailure(stdout, stderr);
    } catch (error) {
      return { kind: 'cannot', why: textOf(error) };
    }
  }
}

/** What ping printed of an echo without an answer. */
export function readFailure(stdout: string, stderr: string): EchoResult {
  const text = `${stdout}\n${stderr}`;
  const from = /^From (\d+\.\d+\.\d+\.\d+)/m.exec(text)?.[1];
  const tooBig = /Frag(?:mentation)? needed.*mtu ?= ?(\d+)/i.exec(text);
  if (from !== undefined && tooBig !== null) {
    return { kind: 'too big', mtu: Number(tooBig[1]), from };
  }
  const told = UNREACHABLE.find(([pattern]) => pattern.test(text));
  if (from !== undefined && told !== undefined) {
    return { kind: 'unreachable', code: told[1], from };
  }
  if (/message too long/i.test(text)) return { kind: 'cannot', why: LARGER_THAN_DEVICE };
  const why = /^ping: (?:sendmsg: |sendto: |connect: )?(.+)$/m.exec(text)?.[1];
  return why === undefined ? { kind: 'silent' } : { kind: 'cannot', why };
}
