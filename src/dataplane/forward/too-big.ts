/**
 * Tells inner senders that their packets do not fit a peer's path whole (ICMP "fragmentation
 * needed", RFC 1191), as the router that a VTEP is to them. The packets were sent all the same, in
 * fragments of the outer packet; the sender that learns it sends shorter ones.
 *
 * It comes from the peer's address on the overlay, the next hop that the packet could not reach:
 * what comes by the TUN from our own address the kernel would not believe.
 */
import type { LaneMemory } from '../io/memory.js';
import { type PeerView, Seen } from '../routes/peer-rows.js';
import * as icmp from '../wire/icmp.js';
import * as ipv4 from '../wire/ipv4.js';
import * as vnet from '../wire/vnet.js';
import { Counter, type Counters } from './counters.js';
import type { WriteQueue } from './write-queue.js';

/** Messages a second, at most. */
const A_SECOND = 256;
/** Bytes of a slot before the packet: the vnet header's, and the packet lies on a word. */
const FREE = 12;

export class TooBig {
  readonly #bytes: Uint8Array;
  readonly #peers: PeerView;
  readonly #counters: Counters;
  readonly #queue: WriteQueue;
  #second = 0;
  #told = 0;
  #id = 0;
  #waits = false;

  /** @param queue empty between two calls of `flush` but for what is put there from here */
  constructor(memory: LaneMemory, peers: PeerView, counters: Counters, queue: WriteQueue) {
    this.#bytes = memory.bytes;
    this.#peers = peers;
    this.#counters = counters;
    this.#queue = queue;
  }

  /**
   * Tells the sender of the IPv4 packet at `at`, whose header was checked, that `mtu` bytes reach
   * `peer` whole; if it forbade fragments, and may be told (RFC 1812 4.3.2.7). At `flush`.
   */
  tell(at: number, peer: number, mtu: number): void {
    const bytes = this.#bytes;
    if (!ipv4.dontFragment(bytes, at) || mtu < ipv4.LEAST_MTU || !mayBeToldOf(bytes, at)) return;
    const now = this.#peers.now;
    if (now !== this.#second) {
      this.#second = now;
      this.#told = 0;
    }
    if (this.#told === A_SECOND || this.#queue.full) return;
    const slot = this.#queue.pool.take();
    if (slot === 0) return;
    this.#told += 1;
    this.#peers.add(peer, Seen.tooBigTold, 1);
    this.#counters.add(Counter.generated_packets, 1);

    // The slot has room for the longest, and for a vnet header before it.
    const packet = slot + FREE;
    const message = packet + ipv4.HEADER;
    const quoted = ipv4.headerLength(bytes, at) + icmp.QUOTED;
    const length = ipv4.HEADER + icmp.HEADER + quoted;
    bytes.copyWithin(message + icmp.HEADER, at, at + quoted);
    icmp.writeFragmentationNeeded(bytes, message, icmp.HEADER + quoted, mtu);
    this.#id = (this.#id + 1) & 0xffff;
    const [from, to] = [this.#peers.overlay(peer), ipv4.source(bytes, at)];
    ipv4.write(bytes, packet, length, this.#id, ipv4.ICMP, from, to);
    vnet.clear(bytes, packet - vnet.HEADER);
    this.#queue.begin(packet, length);
    this.#waits = true;
  }

  /** Writes what was told to the TUN. */
  flush(): void {
    if (this.#waits) this.#queue.flush();
    this.#waits = false;
  }
}

/**
 * Whether an ICMP error may be sent about the packet at `at`: it is no ICMP error itself, no later
 * fragment, and its source is a host's address.
 */
function mayBeToldOf(bytes: Uint8Array, at: number): boolean {
  if (ipv4.isLaterFragment(bytes, at)) return false;
  const source = ipv4.source(bytes, at);
  if (ipv4.isMulticast(source) || ipv4.isLoopback(source)) return false;
  if (ipv4.isUnspecified(source) || ipv4.isLimitedBroadcast(source)) return false;
  if (ipv4.protocol(bytes, at) !== ipv4.ICMP) return true;
  return !icmp.isError(icmp.type(bytes, at + ipv4.headerLength(bytes, at)));
}
