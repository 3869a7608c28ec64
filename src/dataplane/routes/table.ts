/**
 * One routing table in one buffer: a longest-prefix-match trie, the peers, and a hash from
 * outer address to peer. Written once by `builder`, then only read.
 *
 *    head      16 words   magic, version, counts, where the parts start
 *    root   65536 words   indexed by bits 31..16 of the destination
 *    nodes  n x 256 words indexed by bits 15..8, a second one by bits 7..0
 *    peers    n x 8 words address, port, the 22 bytes that go in front of an inner packet; each at
 *                         its place (places.ts), some of which may be free
 *    hash   2^k x 2 words address, peer; open addressing; peer 0 = free
 *
 * The trie has strides of 16, 8 and 8 bits, and is leaf-pushed: every slot says the answer for
 * all destinations below it (>= 0: NO_ROUTE, LOCAL or a peer), or the word where the next
 * node starts (sign bit set). A lookup is one to three loads and no comparison of addresses,
 * so signs do not matter.
 *
 * With 10.5.0.0/16 behind peer 2, and in it 10.5.72.0/24 behind peer 3:
 *
 *    10.6.1.1    root[0x0a06] = 0                                           NO_ROUTE
 *    10.5.72.9   root[0x0a05] = NODE | n, words[n + 72] = 3                 peer 3
 *    10.5.73.9   root[0x0a05] = NODE | n, words[n + 73] = 2                 peer 2, pushed down
 *
 * Bytes: 4 (16 + 65,536 + 256 nodes + 8 places + 2 slots of the hash), where each /16 that holds
 * longer prefixes has a node, each /24 that holds longer ones has another, and the hash has the
 * least power of two that is twice the peers or more. 10,000 /24 routes in one /8 to as many peers:
 * 4 (65,552 + 256 x 40 + 80,000 + 65,536) = 0.9 MB.
 */
import { FIRST_PEER } from './peer.js';

/** "weft" as the bytes stand in memory. */
export const MAGIC = 0x74666577;
export const LAYOUT_VERSION = 1;

/** Words of the head. */
export const HEAD_MAGIC = 0;
export const HEAD_VERSION = 1;
export const HEAD_ROUTES = 2;
export const HEAD_PEERS = 3;
export const HEAD_PEERS_AT = 4;
export const HEAD_HASH_AT = 5;
export const HEAD_HASH_BITS = 6;

const HEAD_WORDS = 16;
export const ROOT_AT = HEAD_WORDS;
const ROOT_WORDS = 1 << 16;
export const NODES_AT = ROOT_AT + ROOT_WORDS;
export const NODE_WORDS = 1 << 8;

/** The sign bit of a slot: the rest is the word where a node starts. */
export const NODE = 0x80000000 | 0;
const NODE_MASK = 0x7fffffff;

export const PEER_WORDS = 8;
export const PEER_ADDRESS = 0;
export const PEER_PORT = 1;
export const PEER_TEMPLATE = 2;
/** VXLAN (8) and inner Ethernet (14). */
export const TEMPLATE_BYTES = 22;

export const HASH_SLOT_WORDS = 2;

/** The first slot to look at for an address: Knuth's multiplicative hash, the upper bits. */
export function hashSlot(address: number, bits: number): number {
  return Math.imul(address, 0x9e3779b1) >>> (32 - bits);
}

/** A view of the table in a buffer. After the buffer was built anew, `open` it again. */
export class Table {
  readonly #words: Int32Array;
  #peersAt = 0;
  #hashAt = 0;
  #hashBits = 1;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer);
  }

  /** Reads the head again. Throws when the buffer does not hold a table of this layout. */
  open(): void {
    const words = this.#words;
    if (words[HEAD_MAGIC] !== MAGIC || words[HEAD_VERSION] !== LAYOUT_VERSION) {
      throw new Error(
        `routes: not a routing table of layout ${LAYOUT_VERSION} (magic ${words[HEAD_MAGIC]}, layout ${words[HEAD_VERSION]})`,
      );
    }
    this.#peersAt = words[HEAD_PEERS_AT]!;
    this.#hashAt = words[HEAD_HASH_AT]!;
    this.#hashBits = words[HEAD_HASH_BITS]!;
  }

  /** NO_ROUTE, LOCAL, or the peer behind the longest prefix that holds `destination`. */
  lookup(destination: number): number {
    const words = this.#words;
    let slot = words[ROOT_AT + (destination >>> 16)]!;
    if (slot >= 0) return slot;
    slot = words[(slot & NODE_MASK) + ((destination >>> 8) & 0xff)]!;
    if (slot >= 0) return slot;
    return words[(slot & NODE_MASK) + (destination & 0xff)]!;
  }

  /** The peer with this outer address (of several the one with the lowest index), or 0. */
  peerByAddress(address: number): number {
    const words = this.#words;
    const mask = (1 << this.#hashBits) - 1;
    // Ends, since at least half of the slots are free.
    for (let i = hashSlot(address, this.#hashBits); ; i = (i + 1) & mask) {
      const at = this.#hashAt + i * HASH_SLOT_WORDS;
      const peer = words[at + 1]!;
      if (peer === 0 || words[at] === address) return peer;
    }
  }

  address(peer: number): number {
    return this.#words[this.#peer(peer) + PEER_ADDRESS]!;
  }

  port(peer: number): number {
    return this.#words[this.#peer(peer) + PEER_PORT]!;
  }

  /**
   * Copies the peer's template into [at - 22, at). Written out, because a loop over the bytes
   * took 36 to 43 ns where this takes 9 to 16 (Node 20, x64).
   */
  stamp(bytes: Uint8Array, at: number, peer: number): void {
    const words = this.#words;
    const from = this.#peer(peer) + PEER_TEMPLATE;
    putWord(bytes, at - 22, words[from]!);
    putWord(bytes, at - 18, words[from + 1]!);
    putWord(bytes, at - 14, words[from + 2]!);
    putWord(bytes, at - 10, words[from + 3]!);
    putWord(bytes, at - 6, words[from + 4]!);
    const rest = words[from + 5]!;
    bytes[at - 2] = rest;
    bytes[at - 1] = rest >>> 8;
  }

  /** The word where the record of a peer starts. */
  #peer(peer: number): number {
    return this.#peersAt + (peer - FIRST_PEER) * PEER_WORDS;
  }
}

/** Four bytes as they stood in the memory of a little-endian machine. */
function putWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word;
  bytes[at + 1] = word >>> 8;
  bytes[at + 2] = word >>> 16;
  bytes[at + 3] = word >>> 24;
}
