/**
 * Outbound: what the host routed into the TUN, on its way to the peers.
 *
 *   1. read        a batch of packets and super-packets, each behind its vnet header, laid out
 *                  as the super-packets before them were cut
 *   2. packet      inner IPv4: version, lengths          outbound_ipv6, outbound_malformed
 *   3. route       destination -> peer, in the snapshot  outbound_multicast, outbound_no_route,
 *                                                        outbound_local
 *   4. fit         longer than the peer's path takes whole: it is sent all the same, counted
 *                  for the peer, and who forbade fragments is told
 *   5. segment     super-packets into datagrams; else finish the checksum   outbound_bad_offload
 *   6. encapsulate the peer's VXLAN and Ethernet headers in front; ECN to the outer header
 *   7. send        the queue, in messages (send-queue.ts); errors of sends (send-errors.ts)
 *                  send_too_long, send_peer_full, send_peer_unreachable, send_denied, send_failed
 *
 * The mirror of inbound.ts. Nothing here allocates, and nothing waits: after a step all that was
 * read has left or was dropped.
 */
import type { Device } from '../io/device.js';
import { ENCAPSULATION, LAYOUT, type LaneMemory, PACKET_ROW } from '../io/memory.js';
import { FIRST_PEER, LOCAL } from '../routes/peer.js';
import { Seen } from '../routes/peer-rows.js';
import type { RouteReader } from '../routes/reader.js';
import * as ecn from '../wire/ecn.js';
import * as ipv4 from '../wire/ipv4.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import * as vnet from '../wire/vnet.js';
import { Counter, type Counters } from './counters.js';
import { Drop } from './drops.js';
import { finishSum } from './finish-sum.js';
import { ReadLayout } from './read-layout.js';
import { Segmenter } from './segment.js';
import type { SendQueue } from './send-queue.js';
import { type SeesOutbound, UNSEEN } from './tap/tap.js';
import type { TooBig } from './too-big.js';

/** What a packet on the underlay has beside the inner one: IPv4 20, UDP 8, VXLAN 8, Ethernet 14. */
const OVERHEAD = 50;

export class Outbound {
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #device: Device;
  readonly #routes: RouteReader;
  readonly #counters: Counters;
  readonly #queue: SendQueue;
  readonly #tooBig: TooBig;
  readonly #segmenter: Segmenter;
  readonly #layout: ReadLayout;
  readonly #sum: (at: number, length: number) => number;
  readonly #tap: SeesOutbound;

  constructor(
    memory: LaneMemory,
    device: Device,
    routes: RouteReader,
    counters: Counters,
    queue: SendQueue,
    tooBig: TooBig,
    tap: SeesOutbound = UNSEEN,
  ) {
    this.#bytes = memory.bytes;
    this.#words = memory.words;
    this.#device = device;
    this.#routes = routes;
    this.#counters = counters;
    this.#queue = queue;
    this.#tooBig = tooBig;
    this.#tap = tap;
    this.#sum = memory.sum;
    this.#segmenter = new Segmenter(memory, this.#sum);
    this.#layout = new ReadLayout(memory);
  }

  /** One batch. Returns the packets read, or -errno. */
  step(): number {
    // 1. read
    const read = this.#layout.read(this.#device);
    if (read <= 0) return read;
    this.#counters.add(Counter.reads, read);
    if (this.#tap.on) this.#tap.packets(read, this.#layout.size);
    for (let row = 0; row < read; row += 1) this.#packet(row);
    // 7. send
    this.#queue.flush();
    this.#tooBig.flush();
    return read;
  }

  /** Steps 2 to 6 for one row. */
  #packet(row: number): void {
    const bytes = this.#bytes;
    const counters = this.#counters;
    const at = this.#words[(LAYOUT.packets >> 2) + row * PACKET_ROW.words + PACKET_ROW.offset]!;
    const length = this.#words[(LAYOUT.packets >> 2) + row * PACKET_ROW.words + PACKET_ROW.length]!;

    // 2. packet
    const fault = ipv4.check(bytes, at, at + length);
    if (fault !== 0) {
      const ipv6 = length > 0 && ipv4.version(bytes, at) === 6;
      this.#drop(row, ipv6 ? Drop.outbound_ipv6 : Drop.outbound_malformed, length);
      return;
    }
    const total = ipv4.totalLength(bytes, at);
    // The template will lie over the vnet header: read that first.
    const header = at - vnet.HEADER;
    const gsoType = vnet.gsoType(bytes, header);
    const gsoSize = vnet.gsoSize(bytes, header);
    const gap = this.#layout.settle(row, gsoType, gsoSize);

    // 3. route
    const destination = ipv4.destination(bytes, at);
    if (ipv4.isMulticast(destination) || ipv4.isLimitedBroadcast(destination)) {
      this.#drop(row, Drop.outbound_multicast, total);
      return;
    }
    const peer = this.#routes.lookup(destination);
    if (peer < FIRST_PEER) {
      this.#drop(row, peer === LOCAL ? Drop.outbound_local : Drop.outbound_no_route, total);
      return;
    }

    const tos = ecn.encapsulate(ipv4.tos(bytes, at));
    const pathMtu = this.#routes.peers.pathMtu(peer);

    // 4. fit (before the segmenter takes the headers to pieces)
    let long = false;
    if (pathMtu > 0) {
      const longest = gsoType === vnet.NONE ? total : headersOf(bytes, at) + gsoSize;
      long = longest > pathMtu - OVERHEAD;
      if (long) this.#tooBig.tell(at, peer, pathMtu - OVERHEAD);
    }

    if (gsoType !== vnet.NONE) {
      // 5. segment
      if (!this.#segmenter.begin(at, total, gsoType, gsoSize, gap)) {
        this.#drop(row, Drop.outbound_bad_offload, total);
        return;
      }
      this.#layout.learn(this.#segmenter);
      // 6. encapsulate
      this.#routes.stamp(bytes, at, peer);
      counters.add(Counter.outbound_in_packets, this.#segmenter.segments);
      counters.add(Counter.outbound_in_bytes, this.#segmenter.innerBytes);
      if (long) this.#routes.peers.add(peer, Seen.inFragments, this.#segmenter.segments);
      this.#aim(peer, tos);
      while (!this.#emit()) {
        this.#queue.flush();
        this.#aim(peer, tos);
      }
      return;
    }
    // 5. segment: it is one
    if ((vnet.flags(bytes, header) & vnet.NEEDS_CSUM) !== 0 && !this.#finishSum(at, total)) {
      this.#drop(row, Drop.outbound_bad_offload, total);
      return;
    }
    // 6. encapsulate
    this.#routes.stamp(bytes, at, peer);
    counters.add(Counter.outbound_in_packets, 1);
    counters.add(Counter.outbound_in_bytes, total);
    if (long) this.#routes.peers.add(peer, Seen.inFragments, 1);
    if (this.#queue.full) this.#queue.flush();
    this.#aim(peer, tos);
    this.#queue.add(at - ENCAPSULATION, ENCAPSULATION, at, total);
  }

  #aim(peer: number, tos: number): void {
    this.#queue.aim(peer, this.#routes.address(peer), this.#routes.port(peer), tos);
  }

  #emit(): boolean {
    const segmenter = this.#segmenter;
    return segmenter.scattered ? segmenter.emitRuns(this.#queue) : segmenter.emit(this.#queue);
  }

  #finishSum(at: number, total: number): boolean {
    const header = at - vnet.HEADER;
    const start = vnet.checksumStart(this.#bytes, header);
    const field = start + vnet.checksumOffset(this.#bytes, header);
    return finishSum(this.#bytes, this.#sum, at, total, start, field);
  }

  #drop(row: number, reason: number, length: number): void {
    this.#counters.add(Counter.outbound_in_packets, 1);
    this.#counters.add(Counter.outbound_in_bytes, length);
    this.#counters.drop(reason, 1);
    const at = this.#words[(LAYOUT.packets >> 2) + row * PACKET_ROW.words + PACKET_ROW.offset]!;
    this.#counters.samples.packet(reason, this.#bytes, at, length, length);
    if (this.#tap.on) this.#tap.refusedPacket(row, reason);
  }
}

/** IPv4 and transport headers of a packet that was checked; its transport header may be cut. */
function headersOf(bytes: Uint8Array, at: number): number {
  const ip = ipv4.headerLength(bytes, at);
  return (
    ip + (ipv4.protocol(bytes, at) === ipv4.UDP ? udp.HEADER : tcp.headerLength(bytes, at + ip))
  );
}
