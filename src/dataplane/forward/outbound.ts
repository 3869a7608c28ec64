/**
 * Outbound: what the host routed into the TUN, on its way to the peers.
 *
 *   1. read        a batch of packets and super-packets, each behind its vnet header, laid out
 *                  as the super-packets before them were cut
 *   2. packet      inner IPv4: version, lengths              outbound_ipv6, outbound_malformed
 *   3. route       destination -> peer, in the snapshot      outbound_multicast, _no_route, _local
 *   4. encapsulate the peer's VXLAN and Ethernet headers in front; ECN to the outer header
 *   5. segment     super-packets into datagrams; else finish the checksum   outbound_bad_offload
 *   6. send        what the queue holds                      send_…
 *
 * The mirror of inbound.ts. Nothing here allocates. When the underlay is full, the TUN is not
 * read: its queue holds the packets until the send queue is empty again.
 */
import type { Device } from '../io/device.js';
import { ENCAPSULATION, LAYOUT, type LaneMemory, PACKET_ROW } from '../io/memory.js';
import { FIRST_PEER, LOCAL } from '../routes/peer.js';
import type { RouteReader } from '../routes/reader.js';
import * as ecn from '../wire/ecn.js';
import * as ipv4 from '../wire/ipv4.js';
import * as vnet from '../wire/vnet.js';
import { Counter, type Counters } from './counters.js';
import { Drop } from './drops.js';
import { finishSum } from './finish-sum.js';
import { ReadLayout } from './read-layout.js';
import { Segmenter } from './segment.js';
import type { SendQueue } from './send-queue.js';

export class Outbound {
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #device: Device;
  readonly #routes: RouteReader;
  readonly #counters: Counters;
  readonly #queue: SendQueue;
  readonly #segmenter: Segmenter;
  readonly #layout: ReadLayout;
  readonly #sum: (at: number, length: number) => number;
  /** The batch in work: `#next` of `#count` rows are done. */
  #count = 0;
  #next = 0;

  constructor(
    memory: LaneMemory,
    device: Device,
    routes: RouteReader,
    counters: Counters,
    queue: SendQueue,
  ) {
    this.#bytes = memory.bytes;
    this.#words = memory.words;
    this.#device = device;
    this.#routes = routes;
    this.#counters = counters;
    this.#queue = queue;
    this.#sum = memory.sum;
    this.#segmenter = new Segmenter(memory, this.#sum);
    this.#layout = new ReadLayout(memory);
  }

  /** Whether something waits for the underlay to take it. */
  get blocked(): boolean {
    return !this.#queue.empty || this.#segmenter.open || this.#next < this.#count;
  }

  /** Packets that were counted in and have not left: queued, or still to be cut. */
  get queued(): number {
    return this.#queue.queued + this.#segmenter.remaining;
  }

  /** One batch. Returns the packets read. */
  step(): number {
    if (!this.#queue.flush()) return 0;
    if (this.#next === this.#count && !this.#segmenter.open) {
      const read = this.#layout.read(this.#device);
      this.#next = 0;
      this.#count = Math.max(read, 0);
      if (this.#count === 0) return 0;
      this.#counters.add(Counter.reads, this.#count);
    }
    const begun = this.#next;
    do {
      this.#encode();
    } while (this.#queue.flush() && (this.#next < this.#count || this.#segmenter.open));
    return this.#next - begun;
  }

  /** Encodes packets until the batch is done or the queue is full. */
  #encode(): void {
    for (;;) {
      if (this.#segmenter.open && !this.#emit()) return;
      if (this.#next === this.#count || !this.#packet(this.#next)) return;
      this.#next += 1;
    }
  }

  #emit(): boolean {
    const segmenter = this.#segmenter;
    return segmenter.scattered ? segmenter.emitRuns(this.#queue) : segmenter.emit(this.#queue);
  }

  /** Steps 2 to 5 for one row. False when the queue is full: the row is to be tried again. */
  #packet(row: number): boolean {
    const bytes = this.#bytes;
    const counters = this.#counters;
    const at = this.#words[(LAYOUT.packets >> 2) + row * PACKET_ROW.words + PACKET_ROW.offset]!;
    const length = this.#words[(LAYOUT.packets >> 2) + row * PACKET_ROW.words + PACKET_ROW.length]!;

    const fault = ipv4.check(bytes, at, at + length);
    if (fault !== 0) {
      const ipv6 = length > 0 && ipv4.version(bytes, at) === 6;
      return this.#drop(ipv6 ? Drop.outbound_ipv6 : Drop.outbound_malformed, length);
    }
    const total = ipv4.totalLength(bytes, at);
    // The template will lie over the vnet header: read that first.
    const header = at - vnet.HEADER;
    const gsoType = vnet.gsoType(bytes, header);
    const gsoSize = vnet.gsoSize(bytes, header);
    const gap = this.#layout.settle(row, gsoType, gsoSize);

    const destination = ipv4.destination(bytes, at);
    if (ipv4.isMulticast(destination) || ipv4.isLimitedBroadcast(destination)) {
      return this.#drop(Drop.outbound_multicast, total);
    }
    const peer = this.#routes.lookup(destination);
    if (peer < FIRST_PEER) {
      return this.#drop(peer === LOCAL ? Drop.outbound_local : Drop.outbound_no_route, total);
    }

    const address = this.#routes.address(peer);
    const port = this.#routes.port(peer);
    const tos = ecn.encapsulate(ipv4.tos(bytes, at));

    if (gsoType !== vnet.NONE) {
      if (!this.#segmenter.begin(at, total, gsoType, gsoSize, gap)) {
        return this.#drop(Drop.outbound_bad_offload, total);
      }
      this.#layout.learn(this.#segmenter);
      this.#routes.stamp(bytes, at, peer);
      counters.add(Counter.outbound_in_packets, this.#segmenter.segments);
      counters.add(Counter.outbound_in_bytes, this.#segmenter.innerBytes);
      this.#queue.aim(address, port, tos);
      return true;
    }
    if (this.#queue.full) return false;
    if ((vnet.flags(bytes, header) & vnet.NEEDS_CSUM) !== 0 && !this.#finishSum(at, total)) {
      return this.#drop(Drop.outbound_bad_offload, total);
    }
    this.#routes.stamp(bytes, at, peer);
    counters.add(Counter.outbound_in_packets, 1);
    counters.add(Counter.outbound_in_bytes, total);
    this.#queue.aim(address, port, tos);
    this.#queue.add(at - ENCAPSULATION, ENCAPSULATION, at, total);
    return true;
  }

  #finishSum(at: number, total: number): boolean {
    const header = at - vnet.HEADER;
    const start = vnet.checksumStart(this.#bytes, header);
    const field = start + vnet.checksumOffset(this.#bytes, header);
    return finishSum(this.#bytes, this.#sum, at, total, start, field);
  }

  #drop(reason: number, length: number): true {
    this.#counters.add(Counter.outbound_in_packets, 1);
    this.#counters.add(Counter.outbound_in_bytes, length);
    this.#counters.drop(reason, 1);
    return true;
  }
}
