/**
 * A lane thread's view of the routes. Call `refresh` once a batch; between two calls all answers
 * come from one and the same table. The contract with the publisher stands in snapshot.ts.
 * Nothing here allocates but the adoption of a buffer that was not seen before.
 */
import { PeerView } from './peer-rows.js';
import { ACTIVE, HELD, NOTHING, type RoutesHandle, slotOf, type TableMessage } from './snapshot.js';
import { Table } from './table.js';

export class RouteReader {
  /** The rows of the peers that `lookup` and `peerByAddress` answer. */
  readonly peers: PeerView;
  readonly #control: Int32Array;
  readonly #held: number;
  readonly #receive: () => unknown;
  readonly #tables: (Table | undefined)[] = [];
  #table: Table;
  #adopted = NOTHING;

  /**
   * `receive` takes the next message from the thread's port, as receiveMessageOnPort gives it
   * (`{ message }`) or the bare message, and gives undefined when there is none.
   */
  constructor(handle: RoutesHandle, thread: number, receive: () => unknown) {
    this.#control = new Int32Array(handle.control);
    this.#held = HELD + thread;
    if (this.#held >= this.#control.length) {
      throw new RangeError(
        `routes: thread ${thread}; there are ${this.#control.length - HELD}, from 0`,
      );
    }
    this.#receive = receive;
    this.peers = new PeerView(handle.rows, thread);
    for (const message of handle.tables) this.#take(message);
    this.#table = this.#adopt();
  }

  /** Adopts the newest table and acknowledges it, which gives the one before back. */
  refresh(): void {
    if (Atomics.load(this.#control, ACTIVE) !== this.#adopted) this.#table = this.#adopt();
  }

  /** NO_ROUTE, LOCAL, or the peer behind the longest prefix that holds `destination` (int32). */
  lookup(destination: number): number {
    return this.#table.lookup(destination);
  }

  /**
   * The peer with this outer address (int32), or 0. Where one host has several peers
   * (two subnets with a MAC each), always the same one of them.
   */
  peerByAddress(address: number): number {
    return this.#table.peerByAddress(address);
  }

  /** The outer address of a peer, int32. */
  address(peer: number): number {
    return this.#table.address(peer);
  }

  /** The UDP port of a peer. */
  port(peer: number): number {
    return this.#table.port(peer);
  }

  /**
   * Copies the 22 bytes that go in front of an inner IP packet at `at` into [at - 22, at):
   * VXLAN header, the peer's MAC, our MAC, type IPv4.
   */
  stamp(bytes: Uint8Array, at: number, peer: number): void {
    this.#table.stamp(bytes, at, peer);
  }

  #adopt(): Table {
    let stamp = Atomics.load(this.#control, ACTIVE);
    for (;;) {
      Atomics.store(this.#control, this.#held, stamp);
      const again = Atomics.load(this.#control, ACTIVE);
      if (again === stamp) break;
      stamp = again;
    }
    this.#adopted = stamp;

    // The buffer was sent before `active` moved, so it is here by now.
    for (let message = this.#receive(); message !== undefined; message = this.#receive()) {
      this.#take(unwrap(message));
    }
    const table = this.#tables[slotOf(stamp)];
    if (table === undefined) {
      throw new Error(
        `routes: table ${slotOf(stamp)} never reached thread ${this.#held - HELD}; attach its port to the publisher`,
      );
    }
    table.open();
    return table;
  }

  #take(message: TableMessage): void {
    this.#tables[message.slot] = new Table(message.buffer);
  }
}

function unwrap(message: unknown): TableMessage {
  const wrapped = message as TableMessage | { readonly message: TableMessage };
  return 'message' in wrapped ? wrapped.message : wrapped;
}
