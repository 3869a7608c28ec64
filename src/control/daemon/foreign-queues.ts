/**
 * Another process that has our multi-queue TUN open, as any may that runs as root. The lanes'
 * packets do not go to it (native/steer.c), but what it writes there enters this host as if weft
 * had: so it is a fault while it lasts.
 */
import { counted } from '../../operate/status/format.js';
import { HostError } from '../host/errors.js';
import type { Runner } from '../host/runner.js';
import { countQueues, type Opener } from '../host/tun-queues.js';
import type { Clock } from '../runtime.js';
import type { Member } from './reconcile.js';

/** Between two looks while all is well: each starts `ip`. */
const EVERY_MS = 15_000;

export interface ForeignQueuesOptions {
  readonly device: string;
  /** Our own queues. */
  readonly queues: number;
  readonly runner: Runner;
  readonly clock: Clock;
  /** Which other processes have it open. */
  readonly find: (device: string) => Promise<readonly Opener[]>;
}

export class ForeignQueues implements Member {
  readonly name: string;
  readonly kind = { code: 'foreign-queue', severity: 'warning' } as const;
  readonly #options: ForeignQueuesOptions;
  /** When to look again. */
  #next = 0;

  constructor(options: ForeignQueuesOptions) {
    this.name = `the queues of ${options.device}`;
    this.#options = options;
  }

  /** Rejects with a HostError that names the process, as long as there is one. */
  async reconcile(): Promise<readonly string[]> {
    const { device, queues, runner, clock, find } = this.#options;
    if (clock.now() < this.#next) return [];
    // While the device is gone it has none, and whoever makes it anew says so.
    const there = (await countQueues(runner, device)) ?? 0;
    if (there <= queues) {
      this.#next = clock.now() + EVERY_MS;
      return [];
    }
    this.#next = 0;
    throw opened(device, there - queues, await find(device));
  }
}

function opened(device: string, foreign: number, openers: readonly Opener[]): HostError {
  const names = openers.map(({ pid, name }) => `process ${pid} (${name})`);
  const who = names.length === 0 ? 'a process that weft cannot see' : names.join(', ');
  const text =
    `${who} has opened ${device} too (${counted(foreign, 'queue')} more than ` +
    `weft's): it gets none of its packets, but what it writes there enters this host`;
  const pids = openers.map(({ pid }) => pid).join(' ');
  return new HostError(
    'EBUSY',
    text,
    pids === ''
      ? `grep -ls ${device} /proc/[0-9]*/fdinfo/*   (as the host's root: names the process, to be ended)`
      : `kill ${pids}`,
  );
}
