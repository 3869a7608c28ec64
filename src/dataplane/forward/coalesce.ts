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
import type { WriteQueue } from './write-queue.js';

const IP_PACKET_MAX = 65535;
/** Flags that end a run and stay on it. */
const LAST = tcp.PSH | tcp.FIN;
/** Datagrams in one UDP run: what every kernel takes (UDP_MAX_SEGMENTS before 6.9). */
const DATAGRAMS_MAX = 64;

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
    if (!this.#mayGrow || !this.#verified || !this.#repeatable) return false;
    if (tos !== this.#tos || (at & 3) !== 0) return false;
    if (length !== this.#headers + this.#segment) return false;
    if (this.#total + this.#segment > IP_PACKET_MAX || !this.#queue.mayAppend) return false;
    const words = this.#words;
    const bytes = this.#bytes;
    const here = at >> 2;
    const there = first >> 2;
    // The VXLAN header's first two bytes, the rest of it, Ethernet; version to total length.
    if (bytes[at - 22] !== bytes[first - 22] || bytes[at - 21] !== bytes[first - 21]) return false;
    for (let i = -5; i <= 0; i += 1) if (words[here + i] !== words[there + i]) return false;
    // DF and offset; TTL and protocol; the header's sum, which the id alone may change.
    if (bytes[at + 6] !== bytes[first + 6] || bytes[at + 7] !== bytes[first + 7]) return false;
    if (bytes[at + 8] !== bytes[first + 8] || bytes[at + 9] !== bytes[first + 9]) return false;
    const id = ipv4.id(bytes, at);
    if (checksum.fold(id + ipv4.sum(bytes, at)) !== this.#idAndSum) return false;
    if (!this.#anyId && id !== ((this.#id + this.#count) & 0xffff)) return false;
    // Addresses, ports.
    if (words[here + 3] !== words[there + 3] || words[here + 4] !== words[there + 4]) return false;
    if (words[here + 5] !== words[there + 5]) return false;
    const transport = at + ipv4.HEADER;
    if (!(this.#isUdp ? this.#isNextDatagram(transport) : this.#isNextSegment(at))) return false;

    const sum = this.#sum(transport, length - ipv4.HEADER);
    if (checksum.add(this.#pseudo, sum) !== 0xffff) return false;
    this.#append(at, length);
    return true;
  }

  /** The rest of the TCP header for `extend`. */
  #isNextSegment(at: number): boolean {
    const words = this.#words;
    const here = at >> 2;
    const there = this.#at >> 2;
    // Sequence; acknowledgement; flags and window; urgent pointer, options.
    if (tcp.sequenceWord(this.#bytes, at + ipv4.HEADER) !== this.#sequence) return false;
    if (words[here + 7] !== words[there + 7]) return false;
    if (((words[here + 8]! ^ words[there + 8]!) & ~(LAST << 8)) !== 0) return false;
    if (words[here + 9]! >>> 16 !== words[there + 9]! >>> 16) return false;
    const options = this.#headers >> 2;
    for (let i = 10; i < options; i += 1) if (words[here + i] !== words[there + i]) return false;
    return true;
  }

  /** The rest of the UDP header for `extend`: the run's length, and a checksum at all. */
  #isNextDatagram(transport: number): boolean {
    const bytes = this.#bytes;
    return (
      udp.length(bytes, transport) === udp.HEADER + this.#segment && udp.sum(bytes, transport) !== 0
    );
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
    this.#pseudo = this.#pseudoSum();
  }

  /**
   * Takes a packet that is a super-packet already (a peer's offloads): its transport checksum
   * must be the pseudo-header's sum. `gsoType` is a vnet one, `gsoSize` the payload a segment.
   */
  addSuper(at: number, length: number, headers: number, gsoType: number, gsoSize: number): void {
    this.close();
    if (this.#queue.full) this.#queue.flush();
    const start = ipv4.headerLength(this.#bytes, at);
    const field = gsoType === vnet.UDP_L4 ? udp.SUM_OFFSET : tcp.SUM_OFFSET;
    vnet.write(
      this.#bytes,
      at - vnet.HEADER,
      vnet.NEEDS_CSUM,
      gsoType,
      headers,
      gsoSize,
      start,
      field,
    );
    this.#queue.begin(at, length);
  }

  /** Closes the open run: writes its headers. Nothing is open afterwards. */
  close(): void {
    if (this.#count === 0) return;
    const bytes = this.#bytes;
    const at = this.#at;
    const header = at - vnet.HEADER;
    if (this.#count > 1) {
      const transport = at + ipv4.HEADER;
      const isUdp = this.#isUdp;
      ipv4.setTotalLength(bytes, at, this.#total);
      ipv4.seal(bytes, at);
      if (isUdp) {
        udp.setLength(bytes, transport, this.#total - ipv4.HEADER);
        udp.setSum(bytes, transport, this.#pseudoSum());
      } else {
        tcp.setFlags(bytes, transport, this.#flags);
        tcp.setSum(bytes, transport, this.#pseudoSum());
      }
      vnet.write(
        bytes,
        header,
        vnet.NEEDS_CSUM,
        isUdp ? vnet.UDP_L4 : vnet.TCPV4,
        this.#headers,
        this.#segment,
        ipv4.HEADER,
        isUdp ? udp.SUM_OFFSET : tcp.SUM_OFFSET,
      );
    } else if (this.#partial) {
      const start = ipv4.headerLength(bytes, at);
      const field = ipv4.protocol(bytes, at) === ipv4.TCP ? tcp.SUM_OFFSET : udp.SUM_OFFSET;
      if (this.#queue.vnet) {
        vnet.write(bytes, header, vnet.NEEDS_CSUM, vnet.NONE, 0, 0, start, field);
      } else {
        finishSum(bytes, this.#sum, at, this.#total, start, start + field);
      }
    } else {
      vnet.clear(bytes, header);
    }
    this.#count = 0;
    this.#mayGrow = false;
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
    if (!partial && !this.#sumIsRight(at, length)) return false;
    if (!this.#verified) {
      if (!this.#sumIsRight(this.#at, this.#headers + this.#segment)) {
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
    if (bytes[at + 1] !== bytes[first + 1] || bytes[at + 8] !== bytes[first + 8]) return false;
    if (bytes[at + 6] !== bytes[first + 6]) return false;
    if (
      !ipv4.dontFragment(bytes, at) &&
      ipv4.id(bytes, at) !== ((ipv4.id(bytes, first) + this.#count) & 0xffff)
    ) {
      return false;
    }
    const addresses = 12;
    for (let i = addresses; i < ipv4.HEADER + 4; i += 1) {
      if (bytes[at + i] !== bytes[first + i]) return false;
    }
    return true;
  }

  /** Acknowledgement, flags, window, urgent pointer and options as in the run's first packet. */
  #sameTcpHeader(at: number): boolean {
    const bytes = this.#bytes;
    const first = this.#at;
    const ports = ipv4.HEADER;
    // Acknowledgement, data offset; then flags but for those that end a run; then window.
    for (let i = ports + 8; i < ports + 13; i += 1) {
      if (bytes[at + i] !== bytes[first + i]) return false;
    }
    const flags = ports + 13;
    if (((bytes[at + flags]! ^ bytes[first + flags]!) & ~LAST) !== 0) return false;
    if (bytes[at + ports + 14] !== bytes[first + ports + 14]) return false;
    if (bytes[at + ports + 15] !== bytes[first + ports + 15]) return false;
    // Urgent pointer and options; the checksum before them is each packet's own.
    for (let i = ports + 18; i < this.#headers; i += 1) {
      if (bytes[at + i] !== bytes[first + i]) return false;
    }
    return true;
  }

  /** The pseudo-header's sum over the run as long as it is now. */
  #pseudoSum(): number {
    return checksum.pseudo(
      ipv4.source(this.#bytes, this.#at),
      ipv4.destination(this.#bytes, this.#at),
      ipv4.protocol(this.#bytes, this.#at),
      this.#total - ipv4.HEADER,
    );
  }

  #sumIsRight(at: number, length: number): boolean {
    return transportSumIsRight(this.#bytes, at, length, this.#sum);
  }
}

/** Whether the TCP or UDP checksum of the packet, all of it there, is right. */
export function transportSumIsRight(
  bytes: Uint8Array,
  at: number,
  length: number,
  sum: (at: number, length: number) => number,
): boolean {
  const start = ipv4.headerLength(bytes, at);
  const pseudo = checksum.pseudo(
    ipv4.source(bytes, at),
    ipv4.destination(bytes, at),
    ipv4.protocol(bytes, at),
    length - start,
  );
  return checksum.add(pseudo, sum(at + start, length - start)) === 0xffff;
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
