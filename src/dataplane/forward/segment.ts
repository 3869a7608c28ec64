/**
 * Segmentation: one super-packet from the TUN becomes the datagrams that travel.
 *
 *   1. open     what the vnet header says, checked against the packet (never trust hdr_len:
 *               on a forwarded packet the kernel reports the whole linear part)
 *   2. share    what all segments have in common is summed once; what varies is remembered and
 *               cleared in the super-packet's own headers
 *   3. next     one segment: a copy of the headers in a pool slot, its own lengths, IP id,
 *               sequence, flags and checksums; the payload stays where it is
 *
 * As the kernel's own GSO does it (net/ipv4/tcp_offload.c, udp_offload.c): FIN and PSH on the
 * last segment only, CWR on the first only, the IP id counts up, sequence numbers wrap.
 * Resumable: when the send queue is full, `emit` is called again after a flush.
 */
import { ENCAPSULATION, type LaneMemory } from '../io/memory.js';
import type { PacketPool } from '../io/pool.js';
import * as checksum from '../wire/checksum.js';
import * as ipv4 from '../wire/ipv4.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import * as vnet from '../wire/vnet.js';

/** Before the template in a slot, so that the IPv4 header behind it lies on a word. */
const PADDING = 2;

/** Where segments go: the send queue, or the write queue where the TUN takes no super-packet. */
export interface SegmentSink {
  /** Slots for headers. */
  readonly pool: PacketPool;
  /** Whether one more segment would not fit. */
  readonly full: boolean;
  /** Takes a segment: ENCAPSULATION bytes and its headers in a slot, and its payload. */
  add(header: number, headerLength: number, payload: number, length: number): void;
}

export class Segmenter {
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #sum: (at: number, length: number) => number;
  /** The super-packet in work: its place, headers and what is left of it. */
  #at = 0;
  #ipLength = 0;
  #headers = 0;
  #payload = 0;
  #gsoSize = 0;
  #isTcp = false;
  #done = 0;
  #index = 0;
  /** Fields that differ from segment to segment, as the super-packet has them. */
  #id = 0;
  #sequence = 0;
  #flags = 0;
  /** The sums of what all segments share. */
  #ipSum = 0;
  #transportSum = 0;

  constructor(memory: LaneMemory, sum: (at: number, length: number) => number) {
    this.#bytes = memory.bytes;
    this.#words = memory.words;
    this.#sum = sum;
  }

  /** Whether a super-packet is in work: `emit` has more to say. */
  get open(): boolean {
    return this.#done < this.#payload;
  }

  /** Segments in the packet just begun. */
  get segments(): number {
    return Math.ceil(this.#payload / this.#gsoSize);
  }

  /** Segments that `emit` has not queued yet. */
  get remaining(): number {
    return this.open ? this.segments - this.#index : 0;
  }

  /** Inner bytes in all of them, headers counted for each. */
  get innerBytes(): number {
    return this.#payload + this.segments * this.#headers;
  }

  /**
   * Takes on the super-packet at [at, at + length), an IPv4 packet that was checked. False
   * when its offload does not fit the packet; then nothing is open.
   */
  begin(at: number, length: number, gsoType: number, gsoSize: number): boolean {
    const bytes = this.#bytes;
    this.#payload = 0;
    this.#done = 0;
    const ipLength = ipv4.headerLength(bytes, at);
    const transport = at + ipLength;
    const kind = gsoType & ~vnet.ECN;
    if (gsoSize === 0 || ipv4.isFragment(bytes, at)) return false;
    const protocol = ipv4.protocol(bytes, at);
    let transportLength: number;
    if (kind === vnet.TCPV4 && protocol === ipv4.TCP) {
      if (!tcp.check(bytes, transport, at + length)) return false;
      transportLength = tcp.headerLength(bytes, transport);
    } else if (kind === vnet.UDP_L4 && protocol === ipv4.UDP) {
      if (length - ipLength < udp.HEADER) return false;
      transportLength = udp.HEADER;
    } else {
      return false;
    }
    const payload = length - ipLength - transportLength;
    if (payload <= 0) return false;
    this.#at = at;
    this.#ipLength = ipLength;
    this.#headers = ipLength + transportLength;
    this.#payload = payload;
    this.#gsoSize = gsoSize;
    this.#isTcp = protocol === ipv4.TCP;
    this.#index = 0;
    this.#clearVarying(transport);
    return true;
  }

  /**
   * Remembers the fields that differ from segment to segment and clears them where they
   * stand, so that what all segments share is summed once.
   */
  #clearVarying(transport: number): void {
    const bytes = this.#bytes;
    const at = this.#at;
    this.#id = ipv4.id(bytes, at);
    ipv4.setTotalLength(bytes, at, 0);
    ipv4.setId(bytes, at, 0);
    ipv4.setSum(bytes, at, 0);
    this.#ipSum = checksum.sum(bytes, at, this.#ipLength);
    if (this.#isTcp) {
      this.#sequence = tcp.sequenceWord(bytes, transport);
      this.#flags = tcp.flags(bytes, transport);
      tcp.setSequence(bytes, transport, 0);
      tcp.setFlags(bytes, transport, 0);
      tcp.setSum(bytes, transport, 0);
    } else {
      udp.setLength(bytes, transport, 0);
      udp.setSum(bytes, transport, 0);
    }
    this.#transportSum = checksum.add(
      checksum.sum(bytes, transport, this.#headers - this.#ipLength),
      checksum.pseudo(
        ipv4.source(bytes, at),
        ipv4.destination(bytes, at),
        this.#isTcp ? ipv4.TCP : ipv4.UDP,
        0,
      ),
    );
  }

  /** Hands over segments. True when all are; false: the sink is full, flush it and call again. */
  emit(sink: SegmentSink): boolean {
    while (this.#done < this.#payload) {
      const slot = sink.full ? 0 : sink.pool.take();
      if (slot === 0) return false;
      const length = Math.min(this.#gsoSize, this.#payload - this.#done);
      const payload = this.#at + this.#headers + this.#done;
      this.#writeHeaders(slot + PADDING, payload, length);
      sink.add(slot + PADDING, ENCAPSULATION + this.#headers, payload, length);
      this.#done += length;
      this.#index += 1;
    }
    return true;
  }

  #writeHeaders(header: number, payload: number, length: number): void {
    const bytes = this.#bytes;
    const ip = header + ENCAPSULATION;
    this.#copyHeaders(ip);

    const total = this.#headers + length;
    const id = (this.#id + this.#index) & 0xffff;
    const ipSum = checksum.complement(checksum.fold(this.#ipSum + total + id));
    bytes[ip + 2] = total >>> 8;
    bytes[ip + 3] = total;
    bytes[ip + 4] = id >>> 8;
    bytes[ip + 5] = id;
    bytes[ip + 10] = ipSum >>> 8;
    bytes[ip + 11] = ipSum;

    const transport = ip + this.#ipLength;
    const transportLength = total - this.#ipLength;
    const sum = this.#transportSum + transportLength + this.#sum(payload, length);
    if (this.#isTcp) {
      const sequence = (this.#sequence + this.#done) | 0;
      let flags = this.#flags;
      if (this.#done + length < this.#payload) flags &= ~(tcp.FIN | tcp.PSH);
      if (this.#index > 0) flags &= ~tcp.CWR;
      const tcpSum = checksum.complement(
        checksum.fold(sum + (sequence >>> 16) + (sequence & 0xffff) + flags),
      );
      bytes[transport + 4] = sequence >>> 24;
      bytes[transport + 5] = sequence >>> 16;
      bytes[transport + 6] = sequence >>> 8;
      bytes[transport + 7] = sequence;
      bytes[transport + 13] = flags;
      tcp.setSum(bytes, transport, tcpSum);
    } else {
      const udpSum = checksum.complement(checksum.fold(sum + transportLength));
      udp.setLength(bytes, transport, transportLength);
      udp.setSum(bytes, transport, udp.encodeSum(udpSum));
    }
  }

  /** Template and headers to before and behind `ip`: by words where both places allow it. */
  #copyHeaders(ip: number): void {
    const from = this.#at;
    if ((from & 3) !== 0) {
      this.#bytes.copyWithin(ip - ENCAPSULATION, from - ENCAPSULATION, from + this.#headers);
      return;
    }
    const words = this.#words;
    const end = (from + this.#headers) >> 2;
    let to = (ip - ENCAPSULATION - PADDING) >> 2;
    for (let word = (from - ENCAPSULATION - PADDING) >> 2; word < end; word += 1) {
      words[to] = words[word]!;
      to += 1;
    }
  }
}
