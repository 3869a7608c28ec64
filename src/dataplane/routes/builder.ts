/**
 * Builds a routing table (table.ts) from a list of routes, always from scratch: 10,000 routes
 * to as many peers take about 20 ms, and there is no state that could be wrong.
 *
 *   1. plan    last of equal prefixes wins, a place for each peer, count what the trie needs
 *   2. write   head, trie, peers, hash into a buffer that is large enough
 */
import * as ethernet from '../wire/ethernet.js';
import { formatAddress } from '../wire/ipv4.js';
import * as vxlan from '../wire/vxlan.js';
import { FIRST_PEER, LOCAL, type LocalRoute, type Peer, type Route } from './peer.js';
import { type Placed, Places } from './places.js';
import * as layout from './table.js';

/** The table to be, and how many bytes it takes. */
export interface Plan {
  readonly bytes: number;
  /** Shortest prefix first. */
  readonly entries: readonly Entry[];
  /** Peer FIRST_PEER + place stands at its place; there may be free ones between. */
  readonly peers: readonly Placed[];
  readonly places: number;
  /** The network of the last route to the peer at each place, int32. */
  readonly networks: ReadonlyMap<number, number>;
  /** Routes that another one with the same prefix replaced. */
  readonly duplicates: number;
  readonly nodes: number;
  readonly hashBits: number;
}

interface Entry {
  readonly network: number;
  readonly length: number;
  /** What a lookup answers. */
  readonly value: number;
}

/**
 * Lays out the table for these routes. Of equal prefixes the last wins, and a local one wins
 * over a peer's: nobody takes our own subnet away. Throws RangeError for a prefix or a peer that
 * is none, and then no place has changed.
 */
export function plan(
  routes: readonly Route[],
  local: readonly LocalRoute[],
  places = new Places(),
): Plan {
  for (const { network, length, peer } of routes) {
    checkPrefix(network, length);
    checkPeer(peer);
  }
  for (const { network, length } of local) checkPrefix(network, length);
  const { placed: peers, places: placeOf } = places.assign(routes.map(({ peer }) => peer));
  const networks = new Map<number, number>();
  const byPrefix = new Map<number, Entry>();
  for (const [index, { network, length }] of routes.entries()) {
    const place = placeOf[index]!;
    networks.set(place, network);
    const value = FIRST_PEER + place;
    byPrefix.set(prefixKey(network, length), { network, length, value });
  }
  for (const { network, length } of local) {
    byPrefix.set(prefixKey(network, length), { network, length, value: LOCAL });
  }

  const entries = [...byPrefix.values()].sort((a, b) => a.length - b.length);
  const nodes = countNodes(entries);
  // At least twice as many slots as addresses, so that a search is short and ends.
  const hashBits = Math.max(1, 32 - Math.clz32(2 * Math.max(1, peers.length) - 1));
  const count = peers.reduce((most, { place }) => Math.max(most, place + 1), 0);
  const words =
    layout.NODES_AT +
    nodes * layout.NODE_WORDS +
    count * layout.PEER_WORDS +
    (1 << hashBits) * layout.HASH_SLOT_WORDS;
  return {
    bytes: words * 4,
    entries,
    peers,
    places: count,
    networks,
    duplicates: routes.length + local.length - entries.length,
    nodes,
    hashBits,
  };
}

/** Writes the planned table over whatever the buffer holds. `ownMac` is the inner source. */
export function write(
  buffer: SharedArrayBuffer,
  plan: Plan,
  vni: number,
  ownMac: Uint8Array,
): void {
  if (buffer.byteLength < plan.bytes) {
    throw new RangeError(`routes: ${plan.bytes} bytes do not fit into ${buffer.byteLength}`);
  }
  const words = new Int32Array(buffer);
  const peersAt = layout.NODES_AT + plan.nodes * layout.NODE_WORDS;
  const hashAt = peersAt + plan.places * layout.PEER_WORDS;

  words.fill(0, 0, plan.bytes >>> 2);
  words[layout.HEAD_MAGIC] = layout.MAGIC;
  words[layout.HEAD_VERSION] = layout.LAYOUT_VERSION;
  words[layout.HEAD_ROUTES] = plan.entries.length;
  words[layout.HEAD_PEERS] = plan.peers.length;
  words[layout.HEAD_PEERS_AT] = peersAt;
  words[layout.HEAD_HASH_AT] = hashAt;
  words[layout.HEAD_HASH_BITS] = plan.hashBits;

  writeTrie(words, plan);
  for (const { peer, place } of plan.peers) {
    const at = peersAt + place * layout.PEER_WORDS;
    words[at + layout.PEER_ADDRESS] = peer.address;
    words[at + layout.PEER_PORT] = peer.port;
    const template = new Uint8Array(buffer, (at + layout.PEER_TEMPLATE) * 4, layout.TEMPLATE_BYTES);
    writeTemplate(template, vni, peer.mac, ownMac);
    writeHash(words, hashAt, plan.hashBits, peer.address, FIRST_PEER + place);
  }
}

/**
 * Since the shortest prefixes come first, a longer one simply overwrites its part of what is
 * there, and no slot it fills can lead to a node yet.
 */
function writeTrie(words: Int32Array, plan: Plan): void {
  let free = layout.NODES_AT;

  /** The node below a slot; made on demand, and then it inherits the slot's answer. */
  const below = (slot: number): number => {
    const value = words[slot]!;
    if (value < 0) return value & ~layout.NODE;
    const node = free;
    free += layout.NODE_WORDS;
    words.fill(value, node, free);
    words[slot] = layout.NODE | node;
    return node;
  };

  for (const { network, length, value } of plan.entries) {
    let first = layout.ROOT_AT + (network >>> 16);
    let bitsBelow = 16 - length;
    if (length > 16) {
      first = below(first) + ((network >>> 8) & 0xff);
      bitsBelow = 24 - length;
    }
    if (length > 24) {
      first = below(first) + (network & 0xff);
      bitsBelow = 32 - length;
    }
    words.fill(value, first, first + 2 ** bitsBelow);
  }

  const made = (free - layout.NODES_AT) / layout.NODE_WORDS;
  if (made !== plan.nodes) throw new Error(`routes: ${made} nodes made, ${plan.nodes} planned`);
}

/** One node a /16 that holds longer prefixes, and one a /24 that does. */
function countNodes(entries: readonly Entry[]): number {
  const second = new Set<number>();
  const third = new Set<number>();
  for (const { network, length } of entries) {
    if (length > 16) second.add(network >>> 16);
    if (length > 24) third.add(network >>> 8);
  }
  return second.size + third.size;
}

/** VXLAN header, inner destination (the peer's MAC), inner source (ours), type IPv4. */
function writeTemplate(
  bytes: Uint8Array,
  vni: number,
  peerMac: Uint8Array,
  ownMac: Uint8Array,
): void {
  vxlan.write(bytes, 0, vni);
  bytes.set(peerMac, vxlan.HEADER);
  bytes.set(ownMac, vxlan.HEADER + 6);
  ethernet.setType(bytes, vxlan.HEADER, ethernet.IPV4);
}

/** Of several peers with one address the first is found, since it sits closest to its slot. */
function writeHash(
  words: Int32Array,
  hashAt: number,
  bits: number,
  address: number,
  peer: number,
): void {
  const mask = (1 << bits) - 1;
  let i = layout.hashSlot(address, bits);
  while (words[hashAt + i * layout.HASH_SLOT_WORDS + 1] !== 0) i = (i + 1) & mask;
  words[hashAt + i * layout.HASH_SLOT_WORDS] = address;
  words[hashAt + i * layout.HASH_SLOT_WORDS + 1] = peer;
}

/** One number for network and length, exact in a double. */
function prefixKey(network: number, length: number): number {
  return (network >>> 0) * 64 + length;
}

// Named only when refused: with thousands of routes these texts would be most of the work.
function checkPrefix(network: number, length: number): void {
  const refuse = (why: string) => {
    throw new RangeError(`routes: ${formatAddress(network)}/${length}${why}`);
  };
  if (!Number.isInteger(length) || length < 0 || length > 32) {
    refuse(': the prefix length must be 0 to 32');
  }
  // A shift by 32 is a shift by 0 in JavaScript, hence the case of its own.
  const host = length === 0 ? network : length === 32 ? 0 : network << length;
  if (host !== 0) refuse(' has host bits set; clear them');
}

function checkPeer({ address, mac, port }: Peer): void {
  const refuse = (why: string) => {
    throw new RangeError(`routes: peer ${formatAddress(address)}: ${why}`);
  };
  if (mac.length !== 6) refuse(`a MAC address has 6 bytes, not ${mac.length}`);
  if (!Number.isInteger(port) || port < 1 || port > 65535) refuse(`port ${port} is not 1 to 65535`);
}
