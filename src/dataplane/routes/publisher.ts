/**
 * Publishes routing tables to the lanes; lives on the main thread. The contract with the
 * lanes stands in snapshot.ts.
 */
import { type Plan, plan, write } from './builder.js';
import type { LocalRoute, Route } from './peer.js';
import { PeerRows } from './peer-rows.js';
import { Places } from './places.js';
import {
  ACTIVE,
  HELD,
  MAX_THREADS,
  NOTHING,
  type RoutesHandle,
  slotOf,
  stampOf,
  type TableMessage,
} from './snapshot.js';

/** Tables are allocated in steps of this, so that a few more routes need no new buffer. */
const STEP_BYTES = 64 * 1024;

/** For status. */
export interface Counts {
  /** Prefixes in the active table, our own included. */
  readonly routes: number;
  /** Distinct peers in the active table. */
  readonly peers: number;
  /** Memory of all tables together. */
  readonly bytes: number;
  /** How many tables have been published; the first one, empty, is made at start. */
  readonly epoch: number;
}

export interface PublisherOptions {
  readonly vni: number;
  /** The MAC address of our VTEP: the inner source of all we send. */
  readonly ownMac: Uint8Array;
  /** How many threads of lanes there will be. */
  readonly threads: number;
}

interface Port {
  postMessage(value: unknown): void;
}

export class Publisher {
  /** What is known and seen of each peer. */
  readonly rows: PeerRows;
  readonly #placing = new Places();
  readonly #vni: number;
  readonly #ownMac: Uint8Array;
  readonly #control: Int32Array;
  readonly #controlBuffer: SharedArrayBuffer;
  readonly #slots: (SharedArrayBuffer | undefined)[];
  readonly #ports: (Port | undefined)[];
  #epoch = 0;
  #routes = 0;
  #peers = 0;

  /** Publishes an empty table at once, so that a lane always finds one. */
  constructor(options: PublisherOptions) {
    const { threads } = options;
    if (!Number.isInteger(threads) || threads < 1 || threads > MAX_THREADS) {
      throw new RangeError(`routes: ${threads} threads; there can be 1 to ${MAX_THREADS}`);
    }
    if (options.ownMac.length !== 6) {
      throw new RangeError(`routes: own MAC address has ${options.ownMac.length} bytes, not 6`);
    }
    this.#vni = options.vni;
    this.#ownMac = options.ownMac.slice();
    this.#controlBuffer = new SharedArrayBuffer(4 * (HELD + threads));
    this.#control = new Int32Array(this.#controlBuffer);
    this.#slots = new Array(threads + 2).fill(undefined);
    this.#ports = new Array(threads).fill(undefined);
    this.rows = new PeerRows(threads);
    this.publish([], []);
  }

  /** The places, in the table and in `rows`, of the peers with this outer address (int32). */
  places(address: number): readonly number[] {
    return this.#placing.of(address);
  }

  /** For the workerData of a thread. Take it anew for each start of one. */
  get handle(): RoutesHandle {
    return { control: this.#controlBuffer, tables: this.#tables(), rows: this.rows.handle };
  }

  get counts(): Counts {
    return {
      routes: this.#routes,
      peers: this.#peers,
      bytes: this.#slots.reduce((sum, buffer) => sum + (buffer?.byteLength ?? 0), 0),
      epoch: this.#epoch,
    };
  }

  /**
   * Builds the next table from scratch and publishes it; a lane sees it from its next batch on.
   * Of equal prefixes the last wins, and a local one wins over a peer's; returns how many
   * routes lost that way. Throws RangeError, and leaves all as it was, for a prefix with
   * host bits, a length over 32, a MAC that has not six bytes, a port out of range.
   */
  publish(routes: readonly Route[], local: readonly LocalRoute[]): number {
    const next = plan(routes, local, this.#placing);
    for (const { peer, place, isNew } of next.peers) {
      const overlay = next.networks.get(place)!;
      if (isNew) this.rows.begin(place, peer.address, overlay);
      else this.rows.go(place, peer.address, overlay);
    }
    const slot = this.#freeSlot(next);
    write(this.#slots[slot]!, next, this.#vni, this.#ownMac);
    this.#epoch += 1;
    this.#routes = next.entries.length;
    this.#peers = next.peers.length;
    Atomics.store(this.#control, ACTIVE, stampOf(this.#epoch, slot));
    return next.duplicates;
  }

  /**
   * Takes the port through which tables in new buffers reach a thread. It is for routes alone.
   * What there is now is sent at once, so it does not matter how old its handle is.
   */
  attach(thread: number, port: Port): void {
    this.#checkThread(thread);
    this.#ports[thread] = port;
    for (const table of this.#tables()) port.postMessage(table);
  }

  /**
   * Lets go of the table that a thread holds. Only for one that has stopped: one that still
   * looked things up would see its table change. It may start again with a new RouteReader.
   */
  park(thread: number): void {
    this.#checkThread(thread);
    this.#ports[thread] = undefined;
    Atomics.store(this.#control, HELD + thread, NOTHING);
  }

  #tables(): TableMessage[] {
    return this.#slots.flatMap((buffer, slot) => (buffer === undefined ? [] : [{ slot, buffer }]));
  }

  /** A slot that nobody reads, with a buffer that is large enough, known to all lanes. */
  #freeSlot(plan: Plan): number {
    const used = new Set<number>();
    for (let i = 0; i < this.#control.length; i += 1) {
      const stamp = Atomics.load(this.#control, i);
      if (stamp !== NOTHING) used.add(slotOf(stamp));
    }
    const free = [...this.#slots.keys()].filter((slot) => !used.has(slot));
    const large = free.find((slot) => (this.#slots[slot]?.byteLength ?? 0) >= plan.bytes);
    if (large !== undefined) return large;

    const slot = free[0];
    if (slot === undefined)
      throw new Error('routes: no free table; more threads read than planned');
    const buffer = new SharedArrayBuffer(Math.ceil(plan.bytes / STEP_BYTES) * STEP_BYTES);
    this.#slots[slot] = buffer;
    for (const port of this.#ports) port?.postMessage({ slot, buffer } satisfies TableMessage);
    return slot;
  }

  #checkThread(thread: number): void {
    if (!Number.isInteger(thread) || thread < 0 || thread >= this.#ports.length) {
      throw new RangeError(`routes: thread ${thread}; there are ${this.#ports.length}, from 0`);
    }
  }
}
