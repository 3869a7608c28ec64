/**
 * The lanes of a weft: how many, and their threads, from their start to their end.
 */

import type { Batch } from '../../dataplane/forward/batch.js';
import { createCounters, readTotals } from '../../dataplane/forward/counters.js';
import type { Directions, LaneOptions } from '../../dataplane/forward/lane.js';
import { LaneThread, type LaneWorkers } from '../../dataplane/forward/lane-thread.js';
import type { OpenTun } from '../../dataplane/io/tun.js';
import type { OpenUdp } from '../../dataplane/io/udp.js';
import type { Publisher } from '../../dataplane/routes/publisher.js';
import { counted } from '../../operate/status/format.js';
import type { LaneCount, Status } from '../../operate/status/status.js';
import { processorMs } from '../host/processor-time.js';
import type { Clock } from '../runtime.js';
import type { Shown } from './capture-session.js';
import type { Turning } from './lane-watch.js';

export const MOST_LANES = 16;
/** By default: so many processors a lane, and no more lanes than these. */
const PROCESSORS = 4;
const MOST_BY_DEFAULT = 4;

/** The lanes of a machine with so many processors, where nobody asked for a number. */
export function defaultLanes(processors: number): Pick<LaneCount, 'lanes' | 'reason'> {
  const lanes = Math.min(MOST_BY_DEFAULT, Math.max(1, Math.floor(processors / PROCESSORS)));
  const count = counted(processors, 'processor');
  let rule = `one for every ${PROCESSORS} of ${count}`;
  if (lanes === 1) rule = `${count}, more lanes from ${2 * PROCESSORS} on`;
  if (lanes === MOST_BY_DEFAULT) rule = `${count}, no more lanes unless asked for`;
  return { lanes, reason: `${rule}; -lanes sets it` };
}

/** What the lanes work on; the same number of queues and of sockets. */
export interface OpenLanes {
  readonly tun: OpenTun;
  readonly sockets: readonly OpenUdp[];
  readonly count: LaneCount;
}

/** How many threads there will be: readers of the routes, rows of the counters. */
export function threadsOf({ lanes, threads }: LaneCount): number {
  return lanes * threads;
}

/** A lane leaves its loop within the longest wait and a turn; so long is enough. */
const PATIENCE_MS = 1_500;

function which({ directions }: LaneThread): string {
  return directions === 'both' ? '' : ` (${directions})`;
}

interface Member {
  readonly lane: number;
  readonly thread: LaneThread;
}

/** `lane 0`, `lane 0 (inbound)`. */
function nameOf({ lane, thread }: Member): string {
  return `lane ${lane}${which(thread)}`;
}

/** The threads, as whoever has started them sees them. */
export type RunningLanes = Pick<Lanes, keyof Lanes>;

/** The threads. */
export class Lanes {
  readonly counters: SharedArrayBuffer;
  readonly count: LaneCount;
  /** Settles when packets can flow, or when a thread ended before that. */
  readonly started: Promise<unknown>;
  readonly #threads: readonly Member[];
  readonly #shown: readonly Shown[];

  /**
   * Starts them.
   * @param publisher made for `threadsOf(count)` lanes
   * @param counters those of earlier threads, which go on; new ones unless given
   * @param workers where the threads come from, and go when they end
   */
  constructor(
    { tun, sockets, count }: OpenLanes,
    publisher: Publisher,
    options: LaneOptions,
    counters = createCounters(threadsOf(count)),
    workers?: LaneWorkers,
  ) {
    this.count = count;
    this.counters = counters;
    const kinds: Directions[] = count.threads === 1 ? ['both'] : ['outbound', 'inbound'];
    this.#threads = sockets.flatMap(({ listener, sender, device }, lane) =>
      kinds.map((directions, kind) => ({
        lane,
        thread: new LaneThread({
          lane,
          directions,
          thread: lane * count.threads + kind,
          counters,
          publisher,
          tun: tun.queues[lane]!,
          listener,
          sender,
          device,
          options,
          workers,
        }),
      })),
    );
    this.#shown = this.#threads.map(({ thread }) => thread);
    this.started = Promise.all(this.#threads.map(({ thread }) => thread.started));
  }

  /** Calls back when a thread ends, with a line that names its lane. */
  onEnd(call: (line: string, error: Error | undefined, tunGone: boolean) => void): void {
    for (const { lane, thread } of this.#threads) {
      void thread.ended.then((error) => {
        const name = this.count.lanes === 1 ? 'the lane' : `lane ${lane}`;
        const line = `${name}${which(thread)} ended: ${error?.message ?? 'without an error'}`;
        call(line, error, thread.tunGone);
      });
    }
  }

  /**
   * Tells all to leave their loops, and waits until they have. Who does not is torn out of it, and
   * told by its name.
   */
  async stop(clock: Clock, torn: (name: string) => void): Promise<void> {
    const left = new Set(this.#threads);
    const cancel = clock.after(PATIENCE_MS, () => {
      for (const member of left) {
        torn(nameOf(member));
        member.thread.tear();
      }
    });
    await Promise.all(
      this.#threads.map(async (member) => {
        member.thread.stop();
        await member.thread.ended;
        left.delete(member);
      }),
    );
    cancel();
  }

  /** Whether every lane's super-packets leave by UDP_SEGMENT. */
  get udpSegment(): boolean {
    return this.#threads.every(
      ({ thread }) => thread.directions === 'inbound' || thread.udpSegment,
    );
  }

  /** Whether every lane writes merged packets to the TUN just now. */
  get merges(): boolean {
    return this.#threads.every(({ thread }) => thread.directions === 'outbound' || thread.merges);
  }

  get segmentationRefused(): number {
    return readTotals(this.counters).counters.segmentation_refused;
  }

  get turning(): Turning[] {
    return this.#threads.map((member) => ({ name: nameOf(member), turns: member.thread.turns }));
  }

  /** The threads, to be asked for what goes through them. */
  get shown(): readonly Shown[] {
    return this.#shown;
  }

  /** What the threads of these names work at just now. */
  batches(names: readonly string[]): Batch[] {
    const members = this.#threads.filter((member) => names.includes(nameOf(member)));
    return members.map(({ thread }) => thread.batch);
  }

  get reports(): Status['lanes'] {
    const { lanes, threads } = this.count;
    return Array.from({ length: lanes }, (_, lane) => {
      const own = this.#threads.filter((one) => one.lane === lane).map(({ thread }) => thread);
      const { counters } = readTotals(this.counters, lane * threads, threads);
      return {
        running: own.every(({ running }) => running),
        busySeconds: busySecondsOf(own),
        outboundPackets: counters.outbound_in_packets,
        inboundPackets: counters.inbound_in_packets,
      };
    });
  }
}

/** Processor time of these threads; null where the kernel does not tell. */
function busySecondsOf(threads: readonly LaneThread[]): number | null {
  let total = 0;
  for (const { kernelThread } of threads) {
    const ms = kernelThread === 0 ? undefined : processorMs(`self/task/${kernelThread}`);
    if (ms === undefined) return null;
    total += ms;
  }
  return total / 1000;
}
