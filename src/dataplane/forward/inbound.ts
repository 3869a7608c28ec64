/**
 * Inbound: what peers sent us, on its way into the TUN.
 *
 *   1. receive     a batch of datagrams, or trains of equal ones that the kernel merged
 *   2. sender      is the outer source a peer we know?                        unknown_sender
 *   3. train       one inner packet, or a train of frames; what could be both wrong_length
 *   4. vxlan       length, I flag, VNI                    truncated, no_vni_flag, foreign_vni
 *   5. frame       inner Ethernet: IPv4, for our MAC, not from it
 *                  inner_arp, inner_vlan, inner_ipv6, inner_not_ip, multicast, foreign_mac, own_mac
 *   6. packet      inner IPv4: its header, not longer than its datagram; what is behind it is cut
 *                  truncated, malformed_ipv4, wrong_length, bad_ipv4_checksum
 *   7. addresses   source: no martian, not ours, not another peer's; destination: ours
 *                  spoofed_source, foreign_source, multicast, martian_destination, not_for_us
 *   8. congestion  outer ECN into the inner header (RFC 6040)                 ecn_congestion
 *   9. write       runs of one flow as one super-packet       too_long, bad_inner_checksum
 *                  what the TUN does not take (write-queue.ts)                tun_refused
 *
 * The mirror of outbound.ts. Nothing here allocates. A frame that continues a run (coalesce.ts,
 * `extend`) passes by steps 4 to 8: it has the bytes of the run's first one, of the same sender
 * under the same table, so it would pass them as that did.
 */
import type { Underlay } from '../io/device.js';
import {
  ADDRESS_SIZE,
  DATAGRAM_ROW,
  ENCAPSULATION,
  LAYOUT,
  type LaneMemory,
} from '../io/memory.js';
import * as socketAddress from '../io/socket-address.js';
import { FIRST_PEER, LOCAL } from '../routes/peer.js';
import type { RouteReader } from '../routes/reader.js';
import * as ecn from '../wire/ecn.js';
import * as ethernet from '../wire/ethernet.js';
import * as ipv4 from '../wire/ipv4.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import * as vnet from '../wire/vnet.js';
import * as vxlan from '../wire/vxlan.js';
import { Coalescer, DATAGRAMS_MAX } from './coalesce.js';
import { Counter, type Counters } from './counters.js';
import { Drop } from './drops.js';
import { isOnePacket } from './one-packet.js';
import { Segmenter } from './segment.js';
import { Strangers } from './strangers.js';
import { type SeesInbound, UNSEEN } from './tap/tap.js';
import { isPartial, isRight, writePartial } from './transport-sum.js';
import type { WriteQueue } from './write-queue.js';

/**
 * Whose packets are let in.
 *
 * - peers: a peer's, with an inner source that is not another peer's, to our own subnet
 * - strict: besides, the inner source must lie in a subnet of the sender
 * - any: what the kernel's VTEP takes: anybody's, with any inner addresses; the IP stack behind
 *   the TUN judges those, and routes on what is not for this host
 */
export const ACCEPT = ['peers', 'strict', 'any'] as const;
export type Accept = (typeof ACCEPT)[number];

export interface InboundOptions {
  readonly vni: number;
  /** Our VtepMAC, 6 bytes. */
  readonly mac: Uint8Array;
  /** The TUN's MTU: a longer inner packet is a super-packet. */
  readonly mtu: number;
  /** Whether the TUN takes UDP super-packets (USO, kernel 6.2; but see io/probe-writes.ts). */
  readonly uso: boolean;
  /** Whose packets are let in; `peers` unless told. */
  readonly accept?: Accept;
}

export class Inbound {
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #underlay: Underlay;
  readonly #routes: RouteReader;
  readonly #counters: Counters;
  readonly #strangers: Strangers;
  readonly #queue: WriteQueue;
  readonly #tap: SeesInbound;
  readonly #coalescer: Coalescer;
  readonly #segmenter: Segmenter;
  readonly #sum: (at: number, length: number) => number;
  readonly #vni: number;
  readonly #macHigh: number;
  readonly #macLow: number;
  readonly #mtu: number;
  readonly #uso: boolean;
  readonly #acceptsAny: boolean;
  readonly #acceptsOwnOnly: boolean;
  /** The outer source of the datagram in work, int32, and the TOS byte of its outer header. */
  #sender = 0;
  #tos = 0;

  constructor(
    memory: LaneMemory,
    underlay: Underlay,
    routes: RouteReader,
    counters: Counters,
    queue: WriteQueue,
    options: InboundOptions,
    tap: SeesInbound = UNSEEN,
  ) {
    this.#bytes = memory.bytes;
    this.#words = memory.words;
    this.#underlay = underlay;
    this.#routes = routes;
    this.#counters = counters;
    this.#strangers = new Strangers(counters.strangers);
    this.#queue = queue;
    this.#tap = tap;
    this.#sum = memory.sum;
    this.#coalescer = new Coalescer(memory, queue, this.#sum, options.uso);
    this.#segmenter = new Segmenter(memory, this.#sum);
    this.#vni = options.vni;
    this.#macHigh = ethernet.destinationHigh(options.mac, 0);
    this.#macLow = ethernet.destinationLow(options.mac, 0);
    this.#mtu = options.mtu;
    this.#uso = options.uso;
    this.#acceptsAny = options.accept === 'any';
    this.#acceptsOwnOnly = options.accept === 'strict';
  }

  /** One batch. Returns the datagrams received, or -errno. */
  step(): number {
    // 1. receive
    const received = this.#underlay.receive();
    if (received <= 0) return received;
    this.#counters.add(Counter.receives, received);
    if (this.#tap.on) this.#tap.datagrams(received);
    for (let row = 0; row < received; row += 1) this.#datagram(row);
    this.#coalescer.close();
    this.#queue.flush();
    return received;
  }

  /** A row of the batch. */
  #datagram(row: number): void {
    const words = this.#words;
    const counters = this.#counters;
    const at = (LAYOUT.datagrams >> 2) + row * DATAGRAM_ROW.words;
    const offset = words[at + DATAGRAM_ROW.offset]!;
    const length = words[at + DATAGRAM_ROW.length]!;
    const segment = words[at + DATAGRAM_ROW.segment]!;
    const from = LAYOUT.senders + words[at + DATAGRAM_ROW.address]! * ADDRESS_SIZE;
    const end = offset + length;

    const isMerged = segment > 0 && segment < length;
    const isOne = !isMerged || isOnePacket(this.#bytes, offset, length, segment);
    const size = isOne ? length : segment;
    const frames = isOne ? 1 : Math.ceil(length / segment);
    const inner = Math.max(0, length - frames * ENCAPSULATION);
    counters.add(Counter.inbound_in_packets, frames);
    counters.add(Counter.inbound_in_bytes, inner);

    // 2. sender
    const isIpv4 = socketAddress.isIpv4(this.#bytes, from);
    const sender = isIpv4 ? socketAddress.ipv4Address(this.#bytes, from) : 0;
    const peer = isIpv4 ? this.#routes.peerByAddress(sender) : 0;
    if (peer >= FIRST_PEER) {
      this.#routes.peers.heard(peer, frames, inner);
    } else if (!isIpv4 || !this.#acceptsAny) {
      counters.drop(Drop.unknown_sender, frames);
      const first = Math.min(size, length);
      counters.samples.frame(Drop.unknown_sender, sender, this.#bytes, offset, first, first);
      if (this.#tap.on) this.#tap.refused(row, offset, end, size, Drop.unknown_sender);
      if (isIpv4) this.#strangers.note(sender, frames, this.#routes.peers.now);
      return;
    }
    // Never merge what two hosts sent, be it the same flow by its addresses and ports.
    if (sender !== this.#sender) this.#coalescer.close();
    this.#sender = sender;
    this.#tos = words[at + DATAGRAM_ROW.tos]!;

    // 3. train
    const innerSize = isMerged && isOne ? segment : 0;
    if (innerSize > 0 && this.#isFrame(offset + segment, end)) {
      counters.drop(Drop.wrong_length, 1);
      counters.samples.frame(Drop.wrong_length, sender, this.#bytes, offset, length, length);
      if (this.#tap.on) this.#tap.refused(row, offset, end, size, Drop.wrong_length);
      return;
    }
    let frame = offset;
    do {
      const frameEnd = Math.min(frame + size, end);
      const packet = frame + ENCAPSULATION;
      if (innerSize > 0 || !this.#coalescer.extend(packet, frameEnd, this.#tos)) {
        const reason = this.#frame(frame, frameEnd, innerSize);
        if (reason !== Drop.none) this.#drop(reason, row, frame, frameEnd);
      }
      frame += size;
    } while (frame < end);
  }

  #drop(reason: number, row: number, frame: number, end: number): void {
    const length = end - frame;
    this.#counters.drop(reason, 1);
    this.#counters.samples.frame(reason, this.#sender, this.#bytes, frame, length, length);
    if (this.#tap.on) this.#tap.refused(row, frame, end, length, reason);
  }

  /**
   * Whether the bytes at [at, end) could be a frame for us. Where the second frame of a train would
   * begin, inside of one packet, somebody made it so: either a peer's frame that swallows the next,
   * or a container's datagram that wants to be taken for frames.
   */
  #isFrame(at: number, end: number): boolean {
    return this.#vxlan(at, end) === Drop.none && this.#ethernet(at + vxlan.HEADER) === Drop.none;
  }

  /**
   * Steps 4 to 9 for one frame at [at, end). `innerSize`: the payload of each datagram that a UDP
   * super-packet stands for, else 0. Returns the reason of a drop, or none.
   */
  #frame(at: number, end: number, innerSize: number): number {
    let refused = this.#vxlan(at, end);
    if (refused !== Drop.none) return refused;
    if (vxlan.reservedBitsSet(this.#bytes, at)) this.#counters.add(Counter.reserved_bits_seen, 1);
    refused = this.#ethernet(at + vxlan.HEADER);
    if (refused !== Drop.none) return refused;
    const packet = at + ENCAPSULATION;
    refused = this.#packet(packet, end);
    if (refused !== Drop.none) return refused;
    refused = this.#acceptsAny ? Drop.none : this.#addresses(packet);
    if (refused !== Drop.none) return refused;
    refused = this.#congestion(packet);
    if (refused !== Drop.none) return refused;
    return this.#write(packet, innerSize);
  }

  // 4. vxlan
  #vxlan(at: number, end: number): number {
    if (end - at < ENCAPSULATION) return Drop.truncated;
    if (!vxlan.hasVniFlag(this.#bytes, at)) return Drop.no_vni_flag;
    return vxlan.vni(this.#bytes, at) === this.#vni ? Drop.none : Drop.foreign_vni;
  }

  // 5. frame: as the kernel's VTEP does it (vxlan_rcv, eth_type_trans)
  #ethernet(frame: number): number {
    const bytes = this.#bytes;
    switch (ethernet.type(bytes, frame)) {
      case ethernet.IPV4:
        break;
      case ethernet.ARP:
        return Drop.inner_arp;
      case ethernet.VLAN:
      case ethernet.QINQ:
        return Drop.inner_vlan;
      case ethernet.IPV6:
        return Drop.inner_ipv6;
      default:
        return Drop.inner_not_ip;
    }
    const high = ethernet.destinationHigh(bytes, frame);
    if (ethernet.isGroup(high)) {
      if (!this.#acceptsAny) return Drop.multicast;
    } else if (high !== this.#macHigh || ethernet.destinationLow(bytes, frame) !== this.#macLow) {
      return Drop.foreign_mac;
    }
    const own =
      ethernet.sourceHigh(bytes, frame) === this.#macHigh &&
      ethernet.sourceLow(bytes, frame) === this.#macLow;
    return own ? Drop.own_mac : Drop.none;
  }

  // 6. packet: the kernel, too, cuts what is behind it (ip_rcv_core), whatever that is
  #packet(at: number, end: number): number {
    switch (ipv4.check(this.#bytes, at, end)) {
      case 0:
        return Drop.none;
      case ipv4.BAD_SIZE:
        return Drop.truncated;
      case ipv4.BAD_LENGTH:
        return Drop.wrong_length;
      case ipv4.BAD_SUM:
        return Drop.bad_ipv4_checksum;
      default:
        return Drop.malformed_ipv4;
    }
  }

  // 7. addresses
  #addresses(at: number): number {
    const source = ipv4.source(this.#bytes, at);
    if (
      ipv4.isUnspecified(source) ||
      ipv4.isLoopback(source) ||
      ipv4.isMulticast(source) ||
      ipv4.isLimitedBroadcast(source)
    ) {
      return Drop.spoofed_source;
    }
    const owner = this.#routes.lookup(source);
    if (owner === LOCAL) return Drop.spoofed_source;
    // Several subnets may lie behind one outer address: that tells who they belong to.
    const isForeign =
      owner >= FIRST_PEER ? this.#routes.address(owner) !== this.#sender : this.#acceptsOwnOnly;
    if (isForeign) return Drop.foreign_source;

    const destination = ipv4.destination(this.#bytes, at);
    if (ipv4.isMulticast(destination) || ipv4.isLimitedBroadcast(destination)) {
      return Drop.multicast;
    }
    if (ipv4.isUnspecified(destination) || ipv4.isLoopback(destination)) {
      return Drop.martian_destination;
    }
    return this.#routes.lookup(destination) === LOCAL ? Drop.none : Drop.not_for_us;
  }

  // 8. congestion
  #congestion(at: number): number {
    const tos = ipv4.tos(this.#bytes, at);
    const inner = tos & 3;
    const result = ecn.decapsulate(inner, this.#tos & 3);
    if (result === ecn.DROP) return Drop.ecn_congestion;
    if (result !== inner) ipv4.setTos(this.#bytes, at, (tos & ~3) | result);
    return Drop.none;
  }

  // 9. write
  #write(at: number, innerSize: number): number {
    const bytes = this.#bytes;
    const total = ipv4.totalLength(bytes, at);
    const headerLength = ipv4.headerLength(bytes, at);
    const transport = at + headerLength;
    const protocol = ipv4.protocol(bytes, at);
    const whole = !ipv4.isFragment(bytes, at);
    const isTcp = whole && protocol === ipv4.TCP && tcp.check(bytes, transport, at + total);
    const isUdp = whole && protocol === ipv4.UDP && udp.check(bytes, transport, at + total);
    const partial = (isTcp || isUdp) && isPartial(bytes, at, total);

    // A UDP super-packet is one however short: its datagrams must not become one.
    const isUdpSuper = isUdp && innerSize > 0;
    if (total <= this.#mtu && !isUdpSuper) {
      this.#coalescer.add(at, total, partial, this.#tos);
      return Drop.none;
    }
    // Longer than the TUN's MTU: only a peer's super-packet may be that.
    let headers: number;
    let size: number;
    let gsoType: number;
    if (isTcp) {
      headers = headerLength + tcp.headerLength(bytes, transport);
      size = this.#mtu - headers;
      gsoType = vnet.TCPV4;
      // Whoever cuts it must leave CWR on the first segment alone.
      if ((tcp.flags(bytes, transport) & tcp.CWR) !== 0) gsoType |= vnet.ECN;
    } else if (isUdpSuper) {
      headers = headerLength + udp.HEADER;
      size = innerSize;
      gsoType = vnet.UDP_L4;
    } else {
      return Drop.too_long;
    }
    if (size <= 0 || size > this.#mtu - headers || total <= headers) return Drop.too_long;
    if (!partial) {
      // A complete sum must not be finished again: put the unfinished one in its place.
      if (!isRight(bytes, at, total, this.#sum)) return Drop.bad_inner_checksum;
      writePartial(bytes, at, total);
    }
    const isTaken = isTcp || (this.#uso && total - headers <= DATAGRAMS_MAX * size);
    if (this.#queue.merges && isTaken) {
      this.#coalescer.addSuper(at, total, headers, gsoType, size);
    } else {
      this.#writeSegments(at, total, gsoType, size);
    }
    return Drop.none;
  }

  /** A super-packet that the TUN does not take as one. */
  #writeSegments(at: number, total: number, gsoType: number, size: number): void {
    this.#coalescer.close();
    this.#segmenter.begin(at, total, gsoType, size);
    while (!this.#segmenter.emit(this.#queue)) this.#queue.flush();
    this.#queue.countSegments(total);
  }
}
