/** The flags of `weft capture` as a request to the weft that runs, and as where its packets go. */
import {
  CAPTURE_FORMAT,
  type CaptureRequest,
  RATE_MAX,
  SNAP_MAX,
} from '../../control/daemon/capture-request.js';
import { DROP_NAMES } from '../../dataplane/forward/drops.js';
import type { CaptureFilter } from '../../dataplane/forward/tap/filter.js';
import { ICMP, parseAddress, TCP, UDP } from '../../dataplane/wire/ipv4.js';
import { type Flags, UsageError } from '../flags.js';
import { nearest } from '../manual/nearest.js';

const MB = 1_000_000;
const PROTOCOLS: Readonly<Record<string, number>> = { icmp: ICMP, tcp: TCP, udp: UDP };

/** Throws a UsageError that names the flag. */
export function requestOf(flags: Flags, pid: number): CaptureRequest {
  const rate = within(flags, 'rate', RATE_MAX / MB) * MB;
  const what = oneOf(flags, 'what', ['inner', 'outer', 'both']);
  const direction = oneOf(flags, 'direction', ['in', 'out', 'both']);
  const filter: CaptureFilter = {
    inner: what !== 'outer',
    outer: what !== 'inner',
    inbound: direction !== 'out',
    outbound: direction !== 'in',
    dropsOnly: flags.given('reason'),
    reason: reasonOf(flags),
    peer: flags.given('peer') ? address(flags, 'peer') : undefined,
    network: networkOf(flags),
    protocol: protocolOf(flags),
    port: flags.given('port') ? within(flags, 'port', 65_535) : undefined,
    snap: within(flags, 'snap', SNAP_MAX) || SNAP_MAX,
    limited: rate > 0,
  };
  return { format: CAPTURE_FORMAT, pid, filter, rate };
}

/** Where packets go, and until when. */
export interface Wanted {
  /** A path, or `-`. */
  readonly file: string;
  readonly asText: boolean;
  /** Files in turn, 0 for one; and the bytes of each. */
  readonly files: number;
  readonly fileBytes: number;
  /** 0: no end. */
  readonly count: number;
  readonly seconds: number;
}

/** Throws a UsageError that names the flag. `toTerminal`: what standard output is. */
export function wantedOf(flags: Flags, toTerminal: boolean): Wanted {
  const file = flags.given('w') ? flags.text('w') : '-';
  const asText = flags.given('text') ? flags.bool('text') : toTerminal && !flags.given('w');
  const files = within(flags, 'ring', 10_000);
  if (file === '') throw new UsageError('-w needs the name of a file, or -');
  if (file === '-' && toTerminal && !asText) {
    throw new UsageError(
      'a capture is no text, and standard output is a terminal: pipe it (weft capture | wireshark ' +
        '-k -i -), name a file with -w, or leave -w out for a line a packet',
    );
  }
  if (files > 0 && (file === '-' || asText)) {
    throw new UsageError('-ring is for pcapng files: name the first one with -w');
  }
  if (flags.given('size') && files === 0) throw new UsageError('-size goes with -ring');
  const size = within(flags, 'size', 1_000_000);
  if (size === 0) throw new UsageError('-size 0 leaves no room for packets');
  const count = within(flags, 'count', Number.MAX_SAFE_INTEGER);
  const seconds = within(flags, 'seconds', 2_000_000);
  return { file, asText, files, fileBytes: size * MB, count, seconds };
}

function within(flags: Flags, name: string, most: number): number {
  const value = flags.int(name);
  if (value >= 0 && value <= most) return value;
  throw new UsageError(`-${name} ${flags.text(name)} is not within 0 and ${most}`);
}

function oneOf(flags: Flags, name: string, words: readonly string[]): string {
  const word = flags.text(name);
  if (words.includes(word)) return word;
  throw new UsageError(`-${name} ${JSON.stringify(word)} is none of ${words.join(', ')}`);
}

function address(flags: Flags, name: string): number {
  const value = parseAddress(flags.text(name));
  if (value === undefined) throw new UsageError(`-${name} ${flags.text(name)} is no IPv4 address`);
  return value;
}

function reasonOf(flags: Flags): number | undefined {
  const name = flags.text('reason');
  if (!flags.given('reason') || name === 'any') return undefined;
  const names: readonly string[] = DROP_NAMES.slice(1);
  if (names.includes(name)) return names.indexOf(name) + 1;
  const near = nearest(name, names);
  const meant = near === undefined ? `one of any, ${names.join(', ')}` : `did you mean ${near}?`;
  throw new UsageError(`-reason ${JSON.stringify(name)} is no reason of a drop; ${meant}`);
}

function networkOf(flags: Flags): CaptureFilter['network'] {
  if (flags.given('host') && flags.given('net')) {
    throw new UsageError('-host and -net ask for the same: give one of them');
  }
  if (flags.given('host')) return { address: address(flags, 'host'), length: 32 };
  if (!flags.given('net')) return undefined;
  const [, begin = '', length = ''] = /^([\d.]+)\/(\d{1,2})$/.exec(flags.text('net')) ?? [];
  const value = parseAddress(begin);
  if (value === undefined || Number(length) > 32) {
    throw new UsageError(`-net ${flags.text('net')} is no IPv4 prefix such as 10.1.2.0/24`);
  }
  return { address: value, length: Number(length) };
}

function protocolOf(flags: Flags): number | undefined {
  if (!flags.given('proto')) return undefined;
  const text = flags.text('proto').toLowerCase();
  const number = PROTOCOLS[text] ?? (/^\d{1,3}$/.test(text) ? Number(text) : 256);
  if (number <= 255) return number;
  throw new UsageError(`-proto ${flags.text('proto')} is none of tcp, udp, icmp, 0 to 255`);
}
