/**
 * What a lane shows to who looks at its packets (`weft capture`). While nobody does, it costs the
 * lane one comparison at each place where it could be asked, a few a batch and one a drop; none is
 * on the way of a packet that goes through.
 *
 * Nothing here waits, and nothing changes what the lane does: what cannot be kept is counted.
 */
import type { LaneMemory } from '../../io/memory.js';
import type { RouteReader } from '../../routes/reader.js';
import { Filter } from './filter.js';
import { InboundTap } from './inbound.js';
import { OutboundTap } from './outbound.js';
import { Recorder } from './ring.js';

/** Milliseconds since 1970, with a fraction. */
export type WallClock = () => number;

/** What outbound and its queue tell. */
export type SeesOutbound = Pick<Tap, 'on' | 'packets' | 'refusedPacket' | 'messages' | 'unsent'>;
/** What inbound and its queue tell. */
export type SeesInbound = Pick<Tap, 'on' | 'datagrams' | 'refused' | 'writes' | 'unwritten'>;

export class Tap {
  /** Whether somebody looks; the rest is to be called only then. */
  on = false;
  readonly #memory: LaneMemory;
  readonly #routes: RouteReader;
  readonly #recorder: Recorder;
  readonly #filter: Filter;
  /** Made when somebody looks for the first time. */
  #outbound: OutboundTap | undefined;
  #inbound: InboundTap | undefined;
  #now: WallClock = () => 0;

  constructor(memory: LaneMemory, routes: RouteReader) {
    this.#memory = memory;
    this.#routes = routes;
    this.#recorder = new Recorder(memory.bytes, memory.words);
    this.#filter = new Filter(memory.bytes, memory.words);
  }

  /** Begins, between two batches, with what stands in the ring's header. */
  begin(now: WallClock): void {
    const recorder = this.#recorder;
    const filter = this.#filter;
    filter.read();
    recorder.begin(filter.snap, filter.limited, filter.isOpen);
    this.#outbound ??= new OutboundTap(this.#memory, this.#routes, recorder, filter);
    this.#inbound ??= new InboundTap(this.#memory, this.#routes, recorder, filter);
    this.#now = now;
    this.on = true;
  }

  end(): void {
    this.on = false;
  }

  packets(rows: number, size: number): void {
    this.#recorder.batch(this.#now());
    this.#outbound!.packets(rows, size);
  }

  refusedPacket(row: number, reason: number): void {
    this.#outbound!.refused(row, reason);
  }

  messages(rows: number, counts: Int32Array): void {
    this.#outbound!.messages(rows, counts);
  }

  unsent(row: number, count: number, size: number, reason: number): void {
    this.#outbound!.unsent(row, count, size, reason);
  }

  datagrams(rows: number): void {
    this.#recorder.batch(this.#now());
    this.#inbound!.datagrams(rows);
  }

  refused(row: number, from: number, to: number, size: number, reason: number): void {
    this.#inbound!.refused(row, from, to, size, reason);
  }

  writes(rows: number, before: number): void {
    this.#inbound!.writes(rows, before);
  }

  unwritten(row: number, lost: number, before: number, reason: number): void {
    this.#inbound!.unwritten(row, lost, before, reason);
  }

  /** The verdicts of a batch are final: it can be read from now on. */
  publish(): void {
    this.#recorder.publish();
  }
}

function nothing(): void {}

/** For who is shown to nobody. */
export const UNSEEN: SeesOutbound & SeesInbound = {
  on: false,
  packets: nothing,
  refusedPacket: nothing,
  messages: nothing,
  unsent: nothing,
  datagrams: nothing,
  refused: nothing,
  writes: nothing,
  unwritten: nothing,
};
