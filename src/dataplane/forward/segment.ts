/**
 * Segmentation: one super-packet from the TUN becomes the datagrams that travel.
 *
 *   1. open     what the vnet header says, checked against the packet (never trust hdr_len:
 *               on a forwarded packet the kernel reports the whole linear part)
 *   2. next     one segment: a copy of the headers in a pool slot, its own lengths, IP id,
 *               sequence, flags and checksum; the payload stays where it is
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

  constructor(memory: LaneMemory, sum: (at: number, length: number) => number) {
    this.#bytes = memory.bytes;
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
    return true;
  }

  /** Hands over segments. True when all are; false: the sink is full, flush it and call again. */
  emit(sink: SegmentSink): boolean {
    while (this.#done < this.#payload) {
      const slot = sink.full ? 0 : sink.pool.take();
      if (slot === 0) return false;
      const length = Math.min(this.#gsoSize, this.#payload - this.#done);
      this.#writeHeaders(slot, length);
      const payload = this.#at + this.#headers + this.#done;
      sink.add(slot, ENCAPSULATION + this.#headers, payload, length);
      this.#done += length;
      this.#index += 1;
    }
    return true;
  }

  #writeHeaders(slot: number, length: number): void {
    const bytes = this.#bytes;
    const first = this.#index === 0;
    const last = this.#done + length === this.#payload;
    bytes.copyWithin(slot, this.#at - ENCAPSULATION, this.#at + this.#headers);
    const ip = slot + ENCAPSULATION;
    const transport = ip + this.#ipLength;
    ipv4.setTotalLength(bytes, ip, this.#headers + length);
    ipv4.setId(bytes, ip, (ipv4.id(bytes, ip) + this.#index) & 0xffff);
    ipv4.seal(bytes, ip);
    if (this.#isTcp) {
      tcp.setSequence(bytes, transport, (tcp.sequenceWord(bytes, transport) + this.#done) | 0);
      let flags = tcp.flags(bytes, transport);
      if (!last) flags &= ~(tcp.FIN | tcp.PSH);
      if (!first) flags &= ~tcp.CWR;
      tcp.setFlags(bytes, transport, flags);
      tcp.setSum(bytes, transport, 0);
      tcp.setSum(bytes, transport, this.#transportSum(ip, transport, length));
    } else {
      udp.setLength(bytes, transport, udp.HEADER + length);
      udp.setSum(bytes, transport, 0);
      udp.setSum(bytes, transport, udp.encodeSum(this.#transportSum(ip, transport, length)));
    }
  }

  #transportSum(ip: number, transport: number, length: number): number {
    const bytes = this.#bytes;
    const headerLength = this.#headers - this.#ipLength;
    let sum = checksum.pseudo(
      ipv4.source(bytes, ip),
      ipv4.destination(bytes, ip),
      ipv4.protocol(bytes, ip),
      headerLength + length,
    );
    sum = checksum.add(sum, this.#sum(transport, headerLength));
    sum = checksum.add(sum, this.#sum(this.#at + this.#headers + this.#done, length));
    return checksum.complement(sum);
  }
}
