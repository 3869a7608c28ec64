/**
 * A lane: a TUN queue and its sockets, both ways; served by one thread with its memory, or by one
 * a direction, each with a memory and a Lane of its own of which it steps one side.
 * `step` runs one batch without any thread, on any Device and Underlay.
 */
import type { Device, Underlay } from '../io/device.js';
import type { LaneMemory } from '../io/memory.js';
import type { RouteReader } from '../routes/reader.js';
import type { Counters } from './counters.js';
import { Inbound, type InboundOptions } from './inbound.js';
import { Outbound } from './outbound.js';
import { SendQueue } from './send-queue.js';
import { WriteQueue } from './write-queue.js';

/** What of a lane one thread serves. */
export type Directions = 'both' | 'outbound' | 'inbound';

export interface LaneOptions extends InboundOptions {
  /** Whether the underlay takes UDP_SEGMENT sends. */
  readonly segments: boolean;
  /** Whether the TUN has a vnet header: without it, it takes single, finished packets. */
  readonly vnet: boolean;
  /** Whether the TUN takes super-packets, TCP ones at least; true unless told. */
  readonly merges?: boolean;
}

export class Lane {
  readonly #routes: RouteReader;
  readonly #outbound: Outbound;
  readonly #inbound: Inbound;
  readonly #queue: SendQueue;
  readonly #writes: WriteQueue;

  constructor(
    memory: LaneMemory,
    device: Device,
    underlay: Underlay,
    routes: RouteReader,
    counters: Counters,
    options: LaneOptions,
  ) {
    this.#routes = routes;
    this.#queue = new SendQueue(memory, underlay, counters, options.segments);
    this.#outbound = new Outbound(memory, device, routes, counters, this.#queue);
    const merges = options.vnet && options.merges !== false;
    this.#writes = new WriteQueue(memory, device, counters, options.vnet, merges);
    this.#inbound = new Inbound(memory, underlay, routes, counters, this.#writes, options);
  }

  /**
   * One turn: a batch outbound, a batch inbound, or only one of them where the other is known
   * to have nothing. Returns what moved; 0: there was nothing.
   */
  step(outbound = true, inbound = true): number {
    this.#routes.refresh();
    return (outbound ? this.#outbound.step() : 0) + (inbound ? this.#inbound.step() : 0);
  }

  /** Whether outbound waits for the underlay, so that the TUN is not to be read. */
  get blocked(): boolean {
    return this.#outbound.blocked;
  }

  /** While blocked: the descriptor that must take something first. */
  get waitsFor(): number {
    return this.#queue.waitsFor;
  }

  /** Whether super-packets still leave by UDP_SEGMENT. */
  get segments(): boolean {
    return this.#queue.segments;
  }

  /** Whether merged packets are still written to the TUN. */
  get merges(): boolean {
    return this.#writes.merges;
  }

  /** Packets that were read and wait for the underlay. */
  get queued(): number {
    return this.#outbound.queued;
  }
}
