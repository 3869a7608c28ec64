/**
 * Coalescing: a run of segments of one TCP flow, or of datagrams of one UDP flow, becomes one
 * super-packet for the TUN.
 *
 *   1. admit    may this packet be part of a run at all?
 *   2. match    does it continue the open run exactly, as the kernel's own GRO demands
 *               (net/ipv4/tcp_offload.c tcp_gro_receive, udp_offload.c
 *               udp_gro_receive_segment, af_inet.c inet_gro_receive)?
 *   3. close    the run's lengths, sums and vnet header, written once
 *
 * A segment is merged only when its checksum is right or was left to us to finish; a damaged
 * one goes to the TUN as it came. The run is closed at the end of every batch: nothing waits.
 * Only the packet before may be continued, so nothing is ever reordered. UDP datagrams stay
 * datagrams: all of a run are as long as the first, but for a shorter last one, and the kernel
 * cuts the run there again before a socket sees it (udp_offload.c __udp_gso_segment).
 */
import { ENCAPSULATION, type LaneMemory } from '../io/memory.js';
import * as checksum from '../wire/checksum.js';
import * as ipv4 from '../wire/ipv4.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import * as vnet from '../wire/vnet.js';
import * as vxlan from '../wire/vxlan.js';
import { finishSum } from './finish-sum.js';
import { isRight, pseudoSum, sumOffset, writePartial } from './transport-sum.js';
import type { WriteQueue } from './write-queue.js';

const IP_PACKET_MAX = 65535;
/** Flags that end a run and stay on it. */
const LAST = tcp.PSH | tcp.FIN;
/** Datagrams in one UDP super-packet: what every TUN takes (UDP_MAX_SEGMENTS before 6.9). */
export const DATAGRAMS_MAX = 64;

// Where fields stand, in bytes from the inner IPv4 header on (RFC 791) ...
const TOS = 1;
const FRAGMENT = 6;
const TTL = 8;
const PROTOCOL = 9;
const SOURCE = 12;
// ... and behind one of 20 bytes (RFC 9293).
const ACKNOWLEDGEMENT = 28;
const TCP_FLAGS = 33;
const WINDOW = 34;
const URGENT = 38;
const PORTS_END = 24;

// The same in words of four bytes, where that header lies on one.
const VNI_WORD = -5; // the VXLAN header's last 6 bytes and the Ethernet header: to word 0
const LENGTH_WORD = 0; // version, header length, TOS, total length
const SOURCE_WORD = 3;
const DESTINATION_WORD = 4;
const PORTS_WORD = 5;
const ACKNOWLEDGEMENT_WORD = 7;
const FLAGS_WORD = 8; // data offset, flags, window
const URGENT_WORD = 9; // checksum, urgent pointer
const OPTIONS_WORD = 10;

export class Coalescer {
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #queue: WriteQueue;
  readonly #sum: (at: number, length: number) => number;
  readonly #mergesUdp: boolean;
  /** The open run: its first packet, and what has been added. */
  #at = 0;
  #partial = false;
  #isUdp = false;
  #count = 0;
  #headers = 0;
  #segment = 0;
  #total = 0;
  #sequence = 0;
  #flags = 0;
  #mayGrow = false;
  #verified = false;
  /** Whether `extend` may be tried, and what it compares with. */
  #repeatable = false;
  #tos = 0;
  #id = 0;
  #anyId = false;
  #idAndSum = 0;
  #pseudo = 0;

  /** `mergesUdp`: whether the TUN takes UDP super-packets. */
  constructor(
    memory: LaneMemory,
    queue: WriteQueue,
    sum: (at: number, length: number) => number,
    mergesUdp: boolean,
  ) {
    this.#bytes = memory.bytes;
    this.#words = memory.words;
    this.#queue = queue;
    this.#sum = sum;
    this.#mergesUdp = mergesUdp;
  }

  /**
   * The short way for what most segments are: whether the frame whose inner packet is
   * [at, end) is the run's first one again, but for what varies within a run, and is of full
   * size and undamaged; then it is merged. All that was checked of the first frame (VXLAN
   * header, MACs, addresses, ECN) holds for this one, since it is the same bytes. False says
   * nothing but that the long way is to be taken. `tos`: the outer header's.
   */
  extend(at: number, end: number, tos: number): boolean {
    const first = this.#at;
    const length = end - at;
    // A run is open, of undamaged packets, and may be compared by words.
    if (!this.#mayGrow || !this.#verified || !this.#repeatable) return false;
    if ((at & 3) !== 0) return false;
    // The frame is a full segment and nothing behind it, and there is room for one more.
    if (length !== this.#headers + this.#segment) return false;
    if (this.#total + this.#segment > IP_PACKET_MAX) return false;
    if (!this.#queue.mayAppend) return false;
    // The outer ECN would have the same effect.
    if (tos !== this.#tos) return false;

    const words = this.#words;
    const bytes = this.#bytes;
    const here = at >> 2;
    const there = first >> 2;
    // VXLAN flags; the rest of that header, Ethernet, and IPv4 up to the total length.
    if (bytes[at - ENCAPSULATION] !== bytes[first - ENCAPSULATION]) return false;
    if (bytes[at - ENCAPSULATION + 1] !== bytes[first - ENCAPSULATION + 1]) return false;
    for (let i = VNI_WORD; i <= LENGTH_WORD; i += 1) {
      if (words[here + i] !== words[there + i]) return false;
    }
    // DF, and no fragment.
    if (bytes[at + FRAGMENT] !== bytes[first + FRAGMENT]) return false;
    if (bytes[at + FRAGMENT + 1] !== bytes[first + FRAGMENT + 1]) return false;
    if (bytes[at + TTL] !== bytes[first + TTL]) return false;
    if (bytes[at + PROTOCOL] !== bytes[first + PROTOCOL]) return false;
    // The header's checksum is right when the id alone makes it differ from the first one's.
    const id = ipv4.id(bytes, at);
    if (checksum.fold(id + ipv4.sum(bytes, at)) !== this.#idAndSum) return false;
    if (!this.#anyId && id !== ((this.#id + this.#count) & 0xffff)) return false;
    // One flow; and the addresses are those that were let in.
    if (words[here + SOURCE_WORD] !== words[there + SOURCE_WORD]) return false;
    if (words[here + DESTINATION_WORD] !== words[there + DESTINATION_WORD]) return false;
    if (words[here + PORTS_WORD] !== words[there + PORTS_WORD]) return false;
    if (!(this.#isUdp ? this.#isNextDatagram(at) : this.#isNextSegment(at))) return false;
    // The transport checksum is complete and right.
    const sum = this.#sum(at + ipv4.HEADER, length - ipv4.HEADER);
    if (checksum.add(this.#pseudo, sum) !== 0xffff) return false;
    this.#append(at, length);
    return true;
  }

  /** The rest of the TCP header for `extend`. */
  #isNextSegment(at: number): boolean {
    const words = this.#words;
    const here = at >> 2;
    const there = this.#at >> 2;
    if (tcp.sequenceWord(this.#bytes, at + ipv4.HEADER) !== this.#sequence) return false;
    if (words[here + ACKNOWLEDGEMENT_WORD] !== words[there + ACKNOWLEDGEMENT_WORD]) return false;
    // Flags but for those that end a run; the flags are the second byte of their word.
    const differing = words[here + FLAGS_WORD]! ^ words[there + FLAGS_WORD]!;
    if ((differing & ~(LAST << 8)) !== 0) return false;
    // The urgent pointer is the upper half of its word.
    if (words[here + URGENT_WORD]! >>> 16 !== words[there + URGENT_WORD]! >>> 16) return false;
    for (let i = OPTIONS_WORD; i < this.#headers >> 2; i += 1) {
      if (words[here + i] !== words[there + i]) return false;
    }
    return true;
  }

  /** The rest of the UDP header for `extend`: the run's length, and a checksum at all. */
  #isNextDatagram(at: number): boolean {
    const transport = at + ipv4.HEADER;
    if (udp.length(this.#bytes, transport) !== udp.HEADER + this.#segment) return false;
    return udp.sum(this.#bytes, transport) !== 0;
  }

  /**
   * Takes a checked inner packet at [at, at + length), which fits the TUN's MTU.
   * `partial`: its transport checksum is only the pseudo-header's sum. `tos`: the outer header's.
   */
  add(at: number, length: number, partial: boolean, tos: number): void {
    const isUdp = ipv4.protocol(this.#bytes, at) === ipv4.UDP;
    const mergeable = isUdp
      ? this.#mergesUdp && isMergeableDatagram(this.#bytes, at, length)
      : isMergeableSegment(this.#bytes, at, length);
    if (mergeable && isUdp === this.#isUdp && this.#continues(at, length, partial)) {
      this.#append(at, length);
      return;
    }
    this.close();
    if (this.#queue.full) this.#queue.flush();
    this.#queue.begin(at, length);
    this.#at = at;
    this.#partial = partial;
    this.#isUdp = isUdp;
    this.#count = 1;
    this.#total = length;
    this.#mayGrow = mergeable;
    this.#verified = partial;
    if (mergeable && isUdp) {
      this.#headers = ipv4.HEADER + udp.HEADER;
      this.#segment = length - this.#headers;
    } else if (mergeable) {
      const transport = at + ipv4.HEADER;
      this.#headers = ipv4.HEADER + tcp.headerLength(this.#bytes, transport);
      this.#segment = length - this.#headers;
      this.#sequence = (tcp.sequenceWord(this.#bytes, transport) + this.#segment) | 0;
      this.#flags = tcp.flags(this.#bytes, transport);
      if ((this.#flags & LAST) !== 0) this.#mayGrow = false;
    }
    this.#prepareRepeat(tos);
  }

  /** What `extend` compares with, as long as the first packet lies on a word. */
  #prepareRepeat(tos: number): void {
    const bytes = this.#bytes;
    const at = this.#at;
    // Reserved bits in a VXLAN header are counted one by one, the long way.
    this.#repeatable = (at & 3) === 0 && !vxlan.reservedBitsSet(bytes, at - ENCAPSULATION);
    if (!this.#mayGrow || !this.#repeatable) return;
    this.#tos = tos;
    this.#id = ipv4.id(bytes, at);
    this.#anyId = ipv4.dontFragment(bytes, at);
    this.#idAndSum = checksum.fold(this.#id + ipv4.sum(bytes, at));
    this.#pseudo = pseudoSum(bytes, at, this.#total);
  }

  /**
   * Takes a packet that is a super-packet already (a peer's offloads): its transport checksum
   * must be the pseudo-header's sum. `gsoType` is a vnet one, `gsoSize` the payload a segment.
   */
  addSuper(at: number, length: number, headers: number, gsoType: number, gsoSize: number): void {
    this.close();
    if (this.#queue.full) this.#queue.flush();
    const bytes = this.#bytes;
    const start = ipv4.headerLength(bytes, at);
    const offset = sumOffset(bytes, at);
    vnet.writeSuper(bytes, at - vnet.HEADER, gsoType, start, offset, headers, gsoSize);
    this.#queue.begin(at, length);
  }

  /** Closes the open run: writes its headers. Nothing is open afterwards. */
  close(): void {
    if (this.#count === 0) return;
    const bytes = this.#bytes;
    const at = this.#at;
    const header = at - vnet.HEADER;
    if (this.#count > 1) {
      this.#closeRun();
    } else if (!this.#partial) {
      vnet.clear(bytes, header);
    } else {
      const start = ipv4.headerLength(bytes, at);
      const offset = sumOffset(bytes, at);
      if (this.#queue.vnet) vnet.writeSingle(bytes, header, start, offset);
      else finishSum(bytes, this.#sum, at, this.#total, start, start + offset);
    }
    this.#count = 0;
    this.#mayGrow = false;
  }

  /** The headers of a run of several. */
  #closeRun(): void {
    const bytes = this.#bytes;
    const at = this.#at;
    const transport = at + ipv4.HEADER;
    ipv4.setTotalLength(bytes, at, this.#total);
    ipv4.seal(bytes, at);
    if (this.#isUdp) udp.setLength(bytes, transport, this.#total - ipv4.HEADER);
    else tcp.setFlags(bytes, transport, this.#flags);
    writePartial(bytes, at, this.#total);
    const type = this.#isUdp ? vnet.UDP_L4 : vnet.TCPV4;
    const offset = sumOffset(bytes, at);
    const header = at - vnet.HEADER;
    vnet.writeSuper(bytes, header, type, ipv4.HEADER, offset, this.#headers, this.#segment);
  }

  /** Whether the packet is exactly what comes next in the open run, and undamaged. */
  #continues(at: number, length: number, partial: boolean): boolean {
    if (!this.#mayGrow || !this.#queue.mayAppend) return false;
    const bytes = this.#bytes;
    const transport = at + ipv4.HEADER;
    const headers = ipv4.HEADER + (this.#isUdp ? udp.HEADER : tcp.headerLength(bytes, transport));
    const payload = length - headers;
    if (headers !== this.#headers || payload > this.#segment) return false;
    if (this.#total + payload > IP_PACKET_MAX) return false;
    if (!this.#isUdp && tcp.sequenceWord(bytes, transport) !== this.#sequence) return false;
    if (!this.#sameAddressing(at)) return false;
    if (!this.#isUdp && !this.#sameTcpHeader(at)) return false;
    if (!partial && !isRight(bytes, at, length, this.#sum)) return false;
    if (!this.#verified) {
      if (!isRight(bytes, this.#at, this.#headers + this.#segment, this.#sum)) {
        this.#mayGrow = false;
        return false;
      }
      this.#verified = true;
    }
    return true;
  }

  #append(at: number, length: number): void {
    const payload = length - this.#headers;
    this.#queue.append(at + this.#headers, payload, length);
    this.#count += 1;
    this.#total += payload;
    if (payload < this.#segment) this.#mayGrow = false;
    if (this.#isUdp) {
      if (this.#count === DATAGRAMS_MAX) this.#mayGrow = false;
      return;
    }
    this.#sequence = (this.#sequence + payload) | 0;
    const flags = tcp.flags(this.#bytes, at + ipv4.HEADER);
    this.#flags |= flags & LAST;
    if ((flags & LAST) !== 0) this.#mayGrow = false;
  }

  /**
   * Addresses, TOS, DF, TTL and ports as in the run's first packet; the IP id counts up where
   * DF is clear.
   */
  #sameAddressing(at: number): boolean {
    const bytes = this.#bytes;
    const first = this.#at;
    if (bytes[at + TOS] !== bytes[first + TOS]) return false;
    if (bytes[at + TTL] !== bytes[first + TTL]) return false;
    if (bytes[at + FRAGMENT] !== bytes[first + FRAGMENT]) return false;
    const nextId = (ipv4.id(bytes, first) + this.#count) & 0xffff;
    if (!ipv4.dontFragment(bytes, at) && ipv4.id(bytes, at) !== nextId) return false;
    return this.#same(at, SOURCE, PORTS_END);
  }

  /** Acknowledgement, flags, window, urgent pointer and options as in the run's first packet. */
  #sameTcpHeader(at: number): boolean {
    const bytes = this.#bytes;
    const flags = bytes[at + TCP_FLAGS]!;
    if (((flags ^ bytes[this.#at + TCP_FLAGS]!) & ~LAST) !== 0) return false;
    // The checksum between window and urgent pointer is each packet's own.
    return (
      this.#same(at, ACKNOWLEDGEMENT, TCP_FLAGS) &&
      this.#same(at, WINDOW, WINDOW + 2) &&
      this.#same(at, URGENT, this.#headers)
    );
  }

  /** Whether the bytes [from, to) of its headers are those of the run's first packet. */
  #same(at: number, from: number, to: number): boolean {
    const bytes = this.#bytes;
    const first = this.#at;
    for (let i = from; i < to; i += 1) if (bytes[at + i] !== bytes[first + i]) return false;
    return true;
  }
}

/** TCP with data; ACK set and of the rest only PSH, FIN, ECE; no IP options, not a fragment. */
function isMergeableSegment(bytes: Uint8Array, at: number, length: number): boolean {
  if (ipv4.protocol(bytes, at) !== ipv4.TCP) return false;
  if (ipv4.headerLength(bytes, at) !== ipv4.HEADER || ipv4.isFragment(bytes, at)) return false;
  const transport = at + ipv4.HEADER;
  if (!tcp.check(bytes, transport, at + length)) return false;
  if (tcp.headerLength(bytes, transport) >= length - ipv4.HEADER) return false;
  return (tcp.flags(bytes, transport) & ~(LAST | tcp.ECE)) === tcp.ACK;
}

/**
 * UDP with data that fills the packet, and with a checksum; no IP options, not a fragment. (A
 * datagram without a checksum would come out with one.)
 */
function isMergeableDatagram(bytes: Uint8Array, at: number, length: number): boolean {
  if (ipv4.headerLength(bytes, at) !== ipv4.HEADER || ipv4.isFragment(bytes, at)) return false;
  const transport = at + ipv4.HEADER;
  if (!udp.check(bytes, transport, at + length)) return false;
  const claimed = udp.length(bytes, transport);
  return (
    claimed === length - ipv4.HEADER && claimed > udp.HEADER && udp.sum(bytes, transport) !== 0
  );
}
