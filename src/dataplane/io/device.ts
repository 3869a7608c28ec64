/**
 * The two sides of a lane, batch shaped. What is read or to be written is described by rows
 * in the lane's memory (memory.ts), so that neither side allocates per packet. The kernel's
 * TUN and UDP socket implement these, and so do the in-memory pair that replay and tests use.
 */

/** The overlay's side: inner IPv4 packets, each with its vnet header just before it. */
export interface Device {
  /**
   * Fills the `packets` rows; returns how many (0: nothing there now), or -errno.
   *
   * With a `size`, a packet longer than `headers + size` bytes is laid out as its segments will
   * be: before every further `size` bytes lies a gap for ENCAPSULATION and `headers` bytes, and
   * the row's `gap` is that long. Otherwise a packet lies in one piece and its `gap` is 0.
   */
  read(headers?: number, size?: number): number;
  /** Writes `rows` rows of `writes` from row `from`; returns how many went. */
  write(from: number, rows: number, iovecRows: number): number;
  /** The errno that stopped the last `write`, which belongs to the row it stopped at. */
  lastError(): number;
}

/** The underlay's side: UDP payloads. */
export interface Underlay {
  /** The descriptor that a message row names to be sent from here, with its address index. */
  readonly sender: number;
  /**
   * A descriptor connected to `address` (int32) and `port`, whose rows have the address index
   * -1; or -1: there is none, use `sender`. `cutByRoute`: the kernel is to cut what does not fit
   * by the MTU of the route there, and not by that of its device. `now`: seconds.
   */
  socketTo(address: number, port: number, cutByRoute: boolean, now: number): number;
  /** Fills the `datagrams` and `senders` rows; returns how many (0: nothing), or -errno. */
  receive(): number;
  /** Sends `rows` rows of `messages` from row `from`; returns how many went. */
  send(from: number, rows: number, iovecRows: number): number;
  /**
   * The socket to `address` took no more. `bytes`: what it has taken so far; `now`: seconds. For
   * the next messages, not for those that are queued.
   */
  full(address: number, bytes: number, now: number): void;
  /** The errno that stopped the last `send`, which belongs to the row it stopped at. */
  lastError(): number;
}
