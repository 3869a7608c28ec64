/**
 * One lane's memory: everything that JavaScript and the addon both touch lies in one shared
 * WebAssembly memory that never grows, so its views are made once and no Buffer is created
 * while packets flow.
 *
 *   tables       rows of int32 words: what was read, what to send, what to write
 *   addresses    rows of 32 bytes: one socket address each, IPv4 or IPv6
 *   headers      the packet pools' slots: one segment's headers each, for either direction
 *   outbound     where TUN reads land     1 MiB a batch, and room for one packet more
 *   inbound      where UDP receives land  the same
 *   capture      what somebody who looks is shown (forward/tap); untouched while nobody does
 */

import { createSummer } from '../wire/checksum.js';
import { createSimdSummer } from '../wire/checksum-simd.js';

/** Packets a direction in one turn, at most. */
export const BATCH = 64;
/** Sends that can be queued before a flush, and the iovecs they are made of. */
export const MESSAGES = 256;
export const SEND_IOVECS = 4096;
/** TUN writes that can be queued before a flush, and their iovecs. */
export const WRITES = 1024;
export const WRITE_IOVECS = 4096;
/** Header slots: VXLAN and Ethernet (22), IPv4 and TCP with all their options (60 each). */
export const HEADER_SLOTS = 2048;
export const HEADER_SLOT_SIZE = 160;

/** What precedes an inner IPv4 header on its way out: VXLAN 8, Ethernet 14. */
export const ENCAPSULATION = 22;
/** Bytes kept free before a packet; both are chosen so that the inner IPv4 header is aligned. */
export const OUTBOUND_HEADROOM = 128;
export const INBOUND_HEADROOM = 128 + 2;

/** Words of a row, in the order in which the addon reads or writes them (native/*.c). */
/** `vnet`: three words with a copy of the packet's vnet header, since the lane writes over that. */
export const PACKET_ROW = { offset: 0, length: 1, gap: 2, vnet: 3, words: 6 } as const;
export const DATAGRAM_ROW = {
  offset: 0,
  length: 1,
  segment: 2,
  address: 3,
  tos: 4,
  words: 5,
} as const;
export const MESSAGE_ROW = {
  fd: 0,
  address: 1,
  segment: 2,
  tos: 3,
  first: 4,
  count: 5,
  words: 6,
} as const;
export const WRITE_ROW = { first: 0, count: 1, words: 2 } as const;
export const IOVEC_ROW = { offset: 0, length: 1, words: 2 } as const;
export const ADDRESS_SIZE = 32;
/** Rows of the wait table: the TUN, the listening socket, the wake-up event. */
export const WAIT_ROWS = 3;

/** Captured packets that nobody has taken yet, in bytes: a power of two; and the ring's header. */
export const RING_BYTES = 4 * 1024 * 1024;
export const RING_HEADER = 128;

const PAGE = 65536;
/** A batch's bytes, and the longest packet's with the gaps in it. */
const AREA = 1024 * 1024 + 2 * PAGE;

interface Layout {
  readonly wait: number;
  readonly packets: number;
  readonly datagrams: number;
  readonly senders: number;
  readonly messages: number;
  readonly sendIovecs: number;
  readonly destinations: number;
  readonly writes: number;
  readonly writeIovecs: number;
  readonly headers: number;
  readonly inboundHeaders: number;
  readonly outbound: number;
  readonly inbound: number;
  readonly capture: number;
  readonly end: number;
}

/** Places follow each other, each on a line of 64 bytes. */
function layOut(): Layout {
  let at = 64; // offset 0 stays unused: it means "none"
  const place = (size: number): number => {
    const here = at;
    at = (at + size + 63) & ~63;
    return here;
  };
  return {
    wait: place(WAIT_ROWS * 8),
    packets: place(BATCH * PACKET_ROW.words * 4),
    datagrams: place(BATCH * DATAGRAM_ROW.words * 4),
    senders: place(BATCH * ADDRESS_SIZE),
    messages: place(MESSAGES * MESSAGE_ROW.words * 4),
    sendIovecs: place(SEND_IOVECS * IOVEC_ROW.words * 4),
    destinations: place(MESSAGES * ADDRESS_SIZE),
    writes: place(WRITES * WRITE_ROW.words * 4),
    writeIovecs: place(WRITE_IOVECS * IOVEC_ROW.words * 4),
    headers: place(HEADER_SLOTS * HEADER_SLOT_SIZE),
    inboundHeaders: place(HEADER_SLOTS * HEADER_SLOT_SIZE),
    outbound: place(AREA),
    inbound: place(AREA),
    capture: place(RING_HEADER + RING_BYTES),
    end: at,
  };
}

export const LAYOUT: Layout = layOut();
export const OUTBOUND_END = LAYOUT.outbound + AREA;
export const INBOUND_END = LAYOUT.inbound + AREA;

/** Made before they were asked for. */
const reserved: WebAssembly.Memory[] = [];

/**
 * Makes so many memories for `createMemory` to give, so that a host where they cannot be had is
 * found out in time. Throws a RangeError for want of address space, a ReferenceError where Node has
 * no WebAssembly.
 */
export function reserveMemories(count: number): void {
  while (reserved.length < count) reserved.push(makeMemory());
}

/** The memory that a lane's thread and the main thread share. */
export function createMemory(): WebAssembly.Memory {
  return reserved.pop() ?? makeMemory();
}

function makeMemory(): WebAssembly.Memory {
  const pages = Math.ceil(LAYOUT.end / PAGE);
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
}

/** The views over one lane's memory; made once a thread. */
export class LaneMemory {
  readonly memory: WebAssembly.Memory;
  readonly bytes: Buffer;
  readonly words: Int32Array;
  /** The ones'-complement sum of [at, at + length), as `checksum.sum` gives it. */
  readonly sum: (at: number, length: number) => number;

  constructor(memory: WebAssembly.Memory = createMemory()) {
    this.memory = memory;
    this.bytes = Buffer.from(memory.buffer);
    this.words = new Int32Array(memory.buffer);
    this.sum = createSimdSummer(memory) ?? createSummer(memory.buffer);
  }
}
