/**
 * Inbound: what peers sent us, on its way into the TUN.
 *
 *   1. receive     a batch of datagrams, or trains of equal ones that the kernel merged
 *   2. sender      is the outer source a peer we know?                     unknown_sender
 *   3. train       one inner packet, or a train: the inner length decides  wrong_length
 *   4. vxlan       length, I flag, VNI                 truncated, no_vni_flag, foreign_vni
 *   5. frame       inner Ethernet: for our MAC, IPv4   …_mac, inner_arp, inner_vlan, …
 *   6. packet      inner IPv4: lengths, header sum     malformed_ipv4, wrong_length, bad_…
 *   7. addresses   not our own as source, no martians  spoofed_source, multicast, martian_…
 *   8. congestion  outer ECN into the inner header (RFC 6040)              ecn_congestion
 *   9. write       runs of one flow as one super-packet                    tun_refused
 *
 * The mirror of outbound.ts. Nothing here allocates.
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
import * as checksum from '../wire/checksum.js';
import * as ecn from '../wire/ecn.js';
import * as ethernet from '../wire/ethernet.js';
import * as ipv4 from '../wire/ipv4.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import * as vnet from '../wire/vnet.js';
import * as vxlan from '../wire/vxlan.js';
import { Coalescer, transportSumIsRight } from './coalesce.js';
import { Counter, type Counters } from './counters.js';
import { Drop } from './drops.js';
import { Segmenter } from './segment.js';
import type { WriteQueue } from './write-queue.js';

/** A frame this short may be padded (Ethernet's least is 60 bytes); a longer one may not. */
const PADDED_MAX = ENCAPSULATION + 60;

export interface InboundOptions {
  readonly vni: number;
  /** Our VtepMAC, 6 bytes. */
  readonly mac: Uint8Array;
  /** The TUN's MTU: a longer inner packet is a super-packet. */
  readonly mtu: number;
  /** Whether the TUN takes UDP super-packets (USO, kernel 6.2; but see io/probe-writes.ts). */
  readonly uso: boolean;
}

export class Inbound {
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #underlay: Underlay;
  readonly #routes: RouteReader;
  readonly #counters: Counters;
  readonly #queue: WriteQueue;
  readonly #coalescer: Coalescer;
  readonly #segmenter: Segmenter;
  readonly #sum: (at: number, length: number) => number;
  readonly #vni: number;
  readonly #macHigh: number;
  readonly #macLow: number;
  readonly #mtu: number;
  readonly #uso: boolean;
  /** The peer whose packets the coalescer saw last. */
  #peer = 0;

  constructor(
    memory: LaneMemory,
    underlay: Underlay,
    routes: RouteReader,
    counters: Counters,
    queue: WriteQueue,
    options: InboundOptions,
  ) {
    this.#bytes = memory.bytes;
    this.#words = memory.words;
    this.#underlay = underlay;
    this.#routes = routes;
    this.#counters = counters;
    this.#queue = queue;
    this.#sum = memory.sum;
    this.#coalescer = new Coalescer(memory, queue, this.#sum, options.uso);
    this.#segmenter = new Segmenter(memory, this.#sum);
    this.#vni = options.vni;
    this.#macHigh = ethernet.destinationHigh(options.mac, 0);
    this.#macLow = ethernet.destinationLow(options.mac, 0);
    this.#mtu = options.mtu;
    this.#uso = options.uso;
  }

  /** One batch. Returns the datagrams received, or -errno. */
  step(): number {
    const received = this.#underlay.receive();
    if (received <= 0) return received;
    this.#counters.add(Counter.receives, received);
    for (let row = 0; row < received; row += 1) this.#datagram(row);
    this.#coalescer.close();
    this.#queue.flush();
    return received;
  }

  /** Steps 2 and 3. */
  #datagram(row: number): void {
    const words = this.#words;
    const at = (LAYOUT.datagrams >> 2) + row * DATAGRAM_ROW.words;
    const offset = words[at + DATAGRAM_ROW.offset]!;
    const length = words[at + DATAGRAM_ROW.length]!;
    const segment = words[at + DATAGRAM_ROW.segment]!;
    const tos = words[at + DATAGRAM_ROW.tos]!;
    const sender = LAYOUT.senders + words[at + DATAGRAM_ROW.address]! * ADDRESS_SIZE;
    const end = offset + length;

    // With inner UDP segmentation at the peer, `segment` is the inner size and the datagram is
    // one packet; so the inner length is asked first.
    const isTrain = segment > 0 && segment < length && !this.#isOnePacket(offset, length);
    const step = isTrain ? segment : length;
    const pieces = isTrain ? Math.ceil(length / segment) : 1;
    this.#counters.add(Counter.inbound_in_packets, pieces);
    this.#counters.add(Counter.inbound_in_bytes, length);

    const peer = socketAddress.isIpv4(this.#bytes, sender)
      ? this.#routes.peerByAddress(socketAddress.ipv4Address(this.#bytes, sender))
      : 0;
    if (peer < FIRST_PEER) {
      this.#counters.drop(Drop.unknown_sender, pieces);
      return;
    }
    // Never merge what two peers sent, be it the same flow by its addresses and ports.
    if (peer !== this.#peer) this.#coalescer.close();
    this.#peer = peer;
    for (let piece = offset; piece < end; piece += step) {
      const pieceEnd = Math.min(piece + step, end);
      if (this.#coalescer.extend(piece + ENCAPSULATION, pieceEnd, tos)) continue;
      const reason = this.#frame(piece, pieceEnd, tos, isTrain ? 0 : segment);
      if (reason !== Drop.none) this.#counters.drop(reason, 1);
    }
    if (length === 0) this.#counters.drop(Drop.truncated, 1);
  }

  /** Whether the first inner packet fills the datagram. */
  #isOnePacket(offset: number, length: number): boolean {
    return (
      length >= ENCAPSULATION + ipv4.HEADER &&
      ipv4.totalLength(this.#bytes, offset + ENCAPSULATION) + ENCAPSULATION === length
    );
  }

  /** Steps 4 to 9 for one VXLAN frame at [at, end). Returns the reason of a drop, or none. */
  #frame(at: number, end: number, tos: number, segment: number): number {
    const bytes = this.#bytes;
    if (end - at < ENCAPSULATION) return Drop.truncated;
    if (!vxlan.hasVniFlag(bytes, at)) return Drop.no_vni_flag;
    if (vxlan.vni(bytes, at) !== this.#vni) return Drop.foreign_vni;
    if (vxlan.reservedBitsSet(bytes, at)) this.#counters.add(Counter.reserved_bits_seen, 1);

    const frame = at + vxlan.HEADER;
    const refused = this.#ethernet(frame);
    if (refused !== Drop.none) return refused;

    const packet = at + ENCAPSULATION;
    const fault = ipv4.check(bytes, packet, end);
    if (fault !== 0) return dropOf(fault, bytes, packet);
    const total = ipv4.totalLength(bytes, packet);
    if (packet + total < end && end - at > PADDED_MAX) return Drop.wrong_length;

    const source = ipv4.source(bytes, packet);
    if (
      ipv4.isUnspecified(source) ||
      ipv4.isLoopback(source) ||
      ipv4.isMulticast(source) ||
      ipv4.isLimitedBroadcast(source) ||
      this.#routes.lookup(source) === LOCAL
    ) {
      return Drop.spoofed_source;
    }
    const destination = ipv4.destination(bytes, packet);
    if (ipv4.isMulticast(destination) || ipv4.isLimitedBroadcast(destination)) {
      return Drop.multicast;
    }
    if (ipv4.isUnspecified(destination) || ipv4.isLoopback(destination)) {
      return Drop.martian_destination;
    }

    const innerTos = ipv4.tos(bytes, packet);
    const congestion = ecn.decapsulate(innerTos & 3, tos & 3);
    if (congestion === ecn.DROP) return Drop.ecn_congestion;
    if (congestion !== (innerTos & 3)) {
      ipv4.setTos(bytes, packet, (innerTos & ~3) | congestion);
    }
    return this.#write(packet, total, tos, segment);
  }

  /** Step 5: as the kernel's VTEP does it (vxlan_rcv, eth_type_trans). */
  #ethernet(frame: number): number {
    const bytes = this.#bytes;
    const type = ethernet.type(bytes, frame);
    if (type !== ethernet.IPV4) {
      if (type === ethernet.ARP) return Drop.inner_arp;
      if (type === ethernet.VLAN || type === ethernet.QINQ) return Drop.inner_vlan;
      return type === ethernet.IPV6 ? Drop.inner_ipv6 : Drop.inner_not_ip;
    }
    const high = ethernet.destinationHigh(bytes, frame);
    if (ethernet.isGroup(high)) return Drop.multicast;
    if (high !== this.#macHigh || ethernet.destinationLow(bytes, frame) !== this.#macLow) {
      return Drop.foreign_mac;
    }
    const own =
      ethernet.sourceHigh(bytes, frame) === this.#macHigh &&
      ethernet.sourceLow(bytes, frame) === this.#macLow;
    return own ? Drop.own_mac : Drop.none;
  }

  /** Step 9. `segment`: the inner segment size that the kernel told, if it did. */
  #write(at: number, total: number, tos: number, segment: number): number {
    const bytes = this.#bytes;
    const headerLength = ipv4.headerLength(bytes, at);
    const transport = at + headerLength;
    const protocol = ipv4.protocol(bytes, at);
    const whole = !ipv4.isFragment(bytes, at);
    const isTcp = whole && protocol === ipv4.TCP && tcp.check(bytes, transport, at + total);
    const isUdp = whole && protocol === ipv4.UDP && udp.check(bytes, transport, at + total);
    const partial = (isTcp || isUdp) && this.#isPartial(at, total, isTcp);

    if (total <= this.#mtu) {
      this.#coalescer.add(at, total, partial, tos);
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
    } else if (isUdp && segment > 0) {
      headers = headerLength + udp.HEADER;
      size = segment;
      gsoType = vnet.UDP_L4;
    } else {
      return Drop.too_long;
    }
    if (size <= 0 || size > this.#mtu - headers || total <= headers) return Drop.too_long;
    if (!partial) {
      // A complete sum must not be finished again: put the unfinished one in its place.
      if (!transportSumIsRight(bytes, at, total, this.#sum)) return Drop.bad_inner_checksum;
      this.#writePartial(at, total, isTcp);
    }
    if (this.#queue.merges && (isTcp || this.#uso)) {
      this.#coalescer.addSuper(at, total, headers, gsoType, size);
    } else {
      this.#writeSegments(at, total, gsoType, size);
    }
    return Drop.none;
  }

  /** A super-packet for a TUN that takes none of its kind. */
  #writeSegments(at: number, total: number, gsoType: number, size: number): void {
    this.#coalescer.close();
    this.#segmenter.begin(at, total, gsoType, size);
    while (!this.#segmenter.emit(this.#queue)) this.#queue.flush();
    this.#queue.countSegments(total);
  }

  /** Whether the checksum field holds only the pseudo-header's sum, to be finished by us. */
  #isPartial(at: number, total: number, isTcp: boolean): boolean {
    const transport = at + ipv4.headerLength(this.#bytes, at);
    const field = isTcp ? tcp.sum(this.#bytes, transport) : udp.sum(this.#bytes, transport);
    return field === this.#pseudo(at, total);
  }

  #writePartial(at: number, total: number, isTcp: boolean): void {
    const transport = at + ipv4.headerLength(this.#bytes, at);
    const value = this.#pseudo(at, total);
    if (isTcp) tcp.setSum(this.#bytes, transport, value);
    else udp.setSum(this.#bytes, transport, value);
  }

  #pseudo(at: number, total: number): number {
    return checksum.pseudo(
      ipv4.source(this.#bytes, at),
      ipv4.destination(this.#bytes, at),
      ipv4.protocol(this.#bytes, at),
      total - ipv4.headerLength(this.#bytes, at),
    );
  }
}

function dropOf(fault: ipv4.Fault, bytes: Uint8Array, at: number): number {
  switch (fault) {
    case ipv4.SHORT:
      return Drop.truncated;
    case ipv4.TOTAL_LENGTH:
      // Shorter than its own header: no length is right. Longer than what came: cut somewhere.
      return ipv4.totalLength(bytes, at) < ipv4.headerLength(bytes, at)
        ? Drop.malformed_ipv4
        : Drop.wrong_length;
    case ipv4.SUM:
      return Drop.bad_ipv4_checksum;
    default:
      return Drop.malformed_ipv4;
  }
}
