/**
 * Segmentation: one super-packet from the TUN becomes the datagrams that travel.
 *
 *   1. open     what the vnet header says, checked against the packet (never trust hdr_len:
 *               on a forwarded packet the kernel reports the whole linear part)
 *   2. share    what all segments have in common is summed once; what varies is remembered and
 *               cleared in the super-packet's own headers
 *   3. next     one segment: a copy of the headers in a pool slot, or in the gap that was
 *               left before its payload; its own lengths, IP id, sequence, flags and checksums;
 *               the payload stays where it is
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

// Words of four bytes that hold what differs from segment to segment: of the IPv4 header ...
const LENGTH_WORD = 0; // version, header length, TOS, total length
const ID_WORD = 1; // id, flags, fragment offset
const IP_SUM_WORD = 2; // TTL, protocol, checksum
// ... of the TCP header ...
const SEQUENCE_WORD = 1;
const FLAGS_WORD = 3; // data offset, flags, window
const TCP_SUM_WORD = 4; // checksum, urgent pointer
// ... and of the UDP header.
const UDP_LENGTH_WORD = 1; // length, checksum

/** Where segments go: the send queue, or the write queue where the TUN takes no super-packet. */
export interface SegmentSink {
  /** Slots for headers. */
  readonly pool: PacketPool;
  /** Whether one more segment would not fit. */
  readonly full: boolean;
  /** Takes a segment: ENCAPSULATION bytes and its headers in a slot, and its payload. */
  add(header: number, headerLength: number, payload: number, length: number): void;
}

/** Where the segments of a scattered super-packet go. */
export interface RunSink {
  readonly full: boolean;
  /** Takes at least one of `count` datagrams of `size` bytes, side by side; returns how many. */
  addRun(at: number, size: number, count: number): number;
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
  /** Bytes before each further segment's payload; 0: the payload is in one piece. */
  #gap = 0;
  #isTcp = false;
  #done = 0;
  #index = 0;
  /** Fields that differ from segment to segment, as the super-packet has them. */
  #id = 0;
  #sequence = 0;
  #flags = 0;
  /** The words they lie in, with zeros in their place. */
  #lengthWord = 0;
  #idWord = 0;
  #ipSumWord = 0;
  #flagsWord = 0;
  #tcpSumWord = 0;
  /** The sums of what all segments share. */
  #ipSum = 0;
  #transportSum = 0;

  constructor(memory: LaneMemory, sum: (at: number, length: number) => number) {
    this.#bytes = memory.bytes;
    this.#words = memory.words;
    this.#sum = sum;
  }

  /** Whether the super-packet in work was read scattered: `emitRuns` is for it, else `emit`. */
  get scattered(): boolean {
    return this.#gap > 0;
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

  /** Bytes of IPv4 and transport headers of the packet just begun. */
  get headers(): number {
    return this.#headers;
  }

  /** Payload bytes in each of its segments but the last. */
  get size(): number {
    return this.#gsoSize;
  }

  /**
   * Takes on the super-packet at [at, at + length), an IPv4 packet that was checked. `gap`: it
   * was read with a gap of ENCAPSULATION and its headers' length before each further segment's
   * payload, see `Device.read`. False when its offload does not fit the packet; then nothing
   * is open.
   */
  begin(at: number, length: number, gsoType: number, gsoSize: number, gap = 0): boolean {
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
    this.#gap = gap;
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
    this.#lengthWord = littleEndian(bytes, at + 4 * LENGTH_WORD);
    this.#idWord = littleEndian(bytes, at + 4 * ID_WORD);
    this.#ipSumWord = littleEndian(bytes, at + 4 * IP_SUM_WORD);
    this.#ipSum = checksum.sum(bytes, at, this.#ipLength);
    if (this.#isTcp) {
      this.#sequence = tcp.sequenceWord(bytes, transport);
      this.#flags = tcp.flags(bytes, transport);
      tcp.setSequence(bytes, transport, 0);
      tcp.setFlags(bytes, transport, 0);
      tcp.setSum(bytes, transport, 0);
      this.#flagsWord = littleEndian(bytes, transport + 4 * FLAGS_WORD);
      this.#tcpSumWord = littleEndian(bytes, transport + 4 * TCP_SUM_WORD);
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
    const ahead = ENCAPSULATION + this.#headers;
    while (this.#done < this.#payload) {
      const slot = sink.full ? 0 : sink.pool.take();
      if (slot === 0) return false;
      const length = Math.min(this.#gsoSize, this.#payload - this.#done);
      const payload = this.#at + this.#headers + this.#done;
      this.#writeHeaders(slot + PADDING, payload, length);
      sink.add(slot + PADDING, ahead, payload, length);
      this.#done += length;
      this.#index += 1;
    }
    return true;
  }

  /** The same for a scattered super-packet, whose segments lie side by side, headers and all. */
  emitRuns(sink: RunSink): boolean {
    const ahead = ENCAPSULATION + this.#headers;
    while (this.#done < this.#payload) {
      if (sink.full) return false;
      const left = this.#payload - this.#done;
      const length = Math.min(this.#gsoSize, left);
      let payload = this.#at + this.#headers + this.#done + this.#index * this.#gap;
      const alike = Math.max(1, Math.floor(left / this.#gsoSize));
      const taken = sink.addRun(payload - ahead, ahead + length, alike);
      for (let i = 0; i < taken; i += 1) {
        this.#writeHeaders(payload - ahead, payload, length);
        payload += length + this.#gap;
        this.#done += length;
        this.#index += 1;
      }
    }
    return true;
  }

  #writeHeaders(header: number, payload: number, length: number): void {
    const words = this.#words;
    const ip = header + ENCAPSULATION;
    this.#copyHeaders(ip);

    // What varies goes in by words: the headers lie on a word, and the host is little-endian.
    const total = this.#headers + length;
    const id = (this.#id + this.#index) & 0xffff;
    const ipSum = checksum.complement(checksum.fold(this.#ipSum + total + id));
    const ipWord = ip >> 2;
    words[ipWord + LENGTH_WORD] = this.#lengthWord | (swap16(total) << 16);
    words[ipWord + ID_WORD] = this.#idWord | swap16(id);
    words[ipWord + IP_SUM_WORD] = this.#ipSumWord | (swap16(ipSum) << 16);

    const transport = (ip + this.#ipLength) >> 2;
    const transportLength = total - this.#ipLength;
    const sum = this.#transportSum + transportLength + this.#sum(payload, length);
    if (this.#isTcp) {
      const sequence = (this.#sequence + this.#done) | 0;
      let flags = this.#flags;
      if (this.#done + length < this.#payload) flags &= ~(tcp.FIN | tcp.PSH);
      if (this.#index > 0) flags &= ~tcp.CWR;
      const high = sequence >>> 16;
      const low = sequence & 0xffff;
      const tcpSum = checksum.complement(checksum.fold(sum + high + low + flags));
      words[transport + SEQUENCE_WORD] = swap16(high) | (swap16(low) << 16);
      words[transport + FLAGS_WORD] = this.#flagsWord | (flags << 8);
      words[transport + TCP_SUM_WORD] = this.#tcpSumWord | swap16(tcpSum);
    } else {
      const udpSum = checksum.complement(checksum.fold(sum + transportLength));
      const sumField = swap16(udp.encodeSum(udpSum)) << 16;
      words[transport + UDP_LENGTH_WORD] = swap16(transportLength) | sumField;
    }
  }

  /** Template and headers to before and behind `ip`: by words where their place allows it. */
  #copyHeaders(ip: number): void {
    const from = this.#at;
    if ((from & 3) !== 0) {
      this.#bytes.copyWithin(ip - ENCAPSULATION, from - ENCAPSULATION, from + this.#headers);
      return;
    }
    const words = this.#words;
    const end = (from + this.#headers) >> 2;
    // The template begins half a word before one.
    this.#bytes[ip - ENCAPSULATION] = this.#bytes[from - ENCAPSULATION]!;
    this.#bytes[ip - ENCAPSULATION + 1] = this.#bytes[from - ENCAPSULATION + 1]!;
    let to = (ip - ENCAPSULATION + PADDING) >> 2;
    for (let word = (from - ENCAPSULATION + PADDING) >> 2; word < end; word += 1) {
      words[to] = words[word]!;
      to += 1;
    }
  }
}

function littleEndian(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/** The two bytes of a header's field as they lie in a little-endian word. */
function swap16(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}
