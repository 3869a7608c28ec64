/**
 * A lane: a TUN queue and its sockets, both ways; served by one thread with its memory, or by one
 * a direction, each with a memory and a Lane of its own of which it steps one side.
 * `step` runs one batch without any thread, on any Device and Underlay.
 */
import type { Device, Underlay } from '../io/device.js';
import type { LaneMemory } from '../io/memory.js';
import type { RouteReader } from '../routes/reader.js';
import { Counter, type Counters } from './counters.js';
import { Inbound, type InboundOptions } from './inbound.js';
import { Outbound } from './outbound.js';
import { SendQueue } from './send-queue.js';
import { Tap, type WallClock } from './tap/tap.js';
import { TooBig } from './too-big.js';
import { WriteQueue } from './write-queue.js';

/** What of a lane one thread serves. */
export type Directions = 'both' | 'outbound' | 'inbound';

export interface LaneOptions extends InboundOptions {
  /** Whether the underlay takes UDP_SEGMENT sends. */
  readonly udpSegment: boolean;
  /** Whether the TUN has a vnet header: without it, it takes single, finished packets. */
  readonly vnet: boolean;
  /** Peers that may have a socket of their own; as many as a lane can have unless told. */
  readonly peerSockets?: number;
  /** Whether the TUN takes super-packets, TCP ones at least; true unless told. */
  readonly merges?: boolean;
}

export class Lane {
  readonly #routes: RouteReader;
  readonly #counters: Counters;
  readonly #outbound: Outbound;
  readonly #inbound: Inbound;
  readonly #queue: SendQueue;
  readonly #writes: WriteQueue;
  readonly #tap: Tap;

  constructor(
    memory: LaneMemory,
    device: Device,
    underlay: Underlay,
    routes: RouteReader,
    counters: Counters,
    options: LaneOptions,
  ) {
    this.#routes = routes;
    this.#counters = counters;
    const tap = new Tap(memory, routes);
    const { udpSegment } = options;
    this.#tap = tap;
    this.#queue = new SendQueue(memory, underlay, routes.peers, counters, udpSegment, tap);
    const merges = options.vnet && options.merges !== false;
    this.#writes = new WriteQueue(memory, device, counters, options.vnet, merges, tap);
    const tooBig = new TooBig(memory, routes.peers, counters, this.#writes);
    this.#outbound = new Outbound(memory, device, routes, counters, this.#queue, tooBig, tap);
    this.#inbound = new Inbound(memory, underlay, routes, counters, this.#writes, options, tap);
  }

  /**
   * One turn: a batch outbound, a batch inbound, or only one of them where the other is known
   * to have nothing. Returns what moved (0: there was nothing), or -errno where nothing did and a
   * side could not be read.
   */
  step(outbound = true, inbound = true): number {
    this.#routes.refresh();
    this.#counters.samples.now = this.#routes.peers.now;
    const read = outbound ? this.#outbound.step() : 0;
    const received = inbound ? this.#inbound.step() : 0;
    if (this.#tap.on) this.#tap.publish();
    if (read < 0) this.#counters.add(Counter.read_errors, 1);
    if (received < 0) this.#counters.add(Counter.receive_errors, 1);
    return Math.max(read, 0) + Math.max(received, 0) || Math.min(read, received);
  }

  /** From the next step on its packets are shown to who reads the ring, by this clock; or not. */
  show(now: WallClock | undefined): void {
    if (now === undefined) this.#tap.end();
    else this.#tap.begin(now);
  }

  /** Whether super-packets leave by UDP_SEGMENT. */
  get udpSegment(): boolean {
    return this.#queue.udpSegment;
  }

  /** Whether merged packets are still written to the TUN. */
  get merges(): boolean {
    return this.#writes.merges;
  }
}
