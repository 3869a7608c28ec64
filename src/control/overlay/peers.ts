/**
 * Who is in the network: turns the store's snapshots and changes into the list of peers, and
 * says what changed in it. An entry that cannot be used costs that peer alone, and one line of
 * log for each value it takes.
 *
 * Peers that are missing because the store was emptied or set back are still there and will
 * write their keys again: they are kept for a while.
 */
import { formatMac } from '../../dataplane/wire/ethernet.js';
import { formatAddress, isUnspecified } from '../../dataplane/wire/ipv4.js';
import type { Clock, Log } from '../runtime.js';
import { type Change, type Entry, type Listing, messageOf } from '../store/store.js';
import type { Backend } from './config.js';
import { backendProblem, type LeaseValue, parseLeaseValue } from './lease-value.js';
import { contains, formatSubnet, keyOf, overlaps, parseKey, type Subnet } from './subnet.js';

export interface Peer {
  readonly key: string;
  readonly subnet: Subnet;
  /** Where the peer is reached, int32. */
  readonly publicIp: number;
  /** Its VTEP's; undefined with host-gw. */
  readonly vtepMac: Uint8Array | undefined;
}

/** The peers after a batch of changes. */
export interface Membership {
  readonly peers: readonly Peer[];
  readonly added: readonly Peer[];
  readonly removed: readonly Peer[];
  /** The peers whose address or MAC changed, as they are now. */
  readonly changed: readonly Peer[];
}

export interface PeersOptions {
  readonly ownKey: string;
  readonly ownSubnet: Subnet;
  readonly publicIp: number;
  readonly clock: Clock;
  /** Leases of others are not used. vxlan unless told. */
  readonly backend?: Backend['type'];
  readonly log: Log;
  /** Called once for each batch that changed something, and for the first snapshot. */
  readonly update: (membership: Membership) => void;
}

/** How long peers that an emptied store does not have are kept, in milliseconds. */
const KEEP_FOR = 300_000;

export class Peers {
  private readonly options: PeersOptions;
  /** Keyed like the store, without our own key and what cannot be used. */
  private peers = new Map<string, Peer>();
  /** The value that each unusable key was complained about with. */
  private readonly complaints = new Map<string, string>();
  /** The keys of peers that the store does not have (any more), but once had. */
  private readonly kept = new Set<string>();
  private cancelTimer = () => {};
  private first = true;
  private publicIp: number;

  constructor(options: PeersOptions) {
    this.options = options;
    this.publicIp = options.publicIp;
  }

  /** Ours is another from now on, for what is read from now on. */
  changePublicIp(publicIp: number): void {
    this.publicIp = publicIp;
  }

  snapshot({ entries, replaced = false }: Listing): void {
    const now = new Map<string, Peer>();
    for (const entry of entries) this.put(now, entry);
    const keys = new Set(entries.map(({ key }) => key));
    for (const key of this.complaints.keys()) if (!keys.has(key)) this.complaints.delete(key);
    if (replaced) this.keep(keys);
    for (const key of this.kept) {
      const peer = this.peers.get(key);
      if (keys.has(key)) this.kept.delete(key);
      else if (peer !== undefined) now.set(key, peer);
    }
    this.become(now);
  }

  changes(batch: readonly Change[]): void {
    const now = new Map(this.peers);
    for (const change of batch) {
      if (change.type === 'put') {
        this.kept.delete(change.entry.key);
        this.put(now, change.entry);
      } else {
        this.kept.delete(change.key);
        now.delete(change.key);
        this.complaints.delete(change.key);
      }
    }
    this.become(now);
  }

  stop(): void {
    this.cancelTimer();
  }

  /** Remembers the peers that are not among the keys of an emptied store. */
  private keep(keys: ReadonlySet<string>): void {
    const { clock, log } = this.options;
    const missing = [...this.peers.keys()].filter((key) => !keys.has(key));
    if (missing.length === 0) return;
    for (const key of missing) this.kept.add(key);
    log.warn(
      `the store was emptied or set back: ${missing.length} peers are missing from it and kept ` +
        `for ${KEEP_FOR / 60_000} minutes`,
    );
    this.cancelTimer();
    this.cancelTimer = clock.after(KEEP_FOR, () => {
      const now = new Map(this.peers);
      for (const key of this.kept) now.delete(key);
      this.kept.clear();
      this.become(now);
    });
  }

  /** What the store has now goes before what it had. */
  private dropReplaced(now: Map<string, Peer>): void {
    for (const key of this.kept) {
      const peer = now.get(key);
      const replaced =
        peer === undefined ||
        [...now.values()].some(
          (other) =>
            !this.kept.has(other.key) &&
            (other.publicIp === peer.publicIp || overlaps(other.subnet, peer.subnet)),
        );
      if (!replaced) continue;
      this.kept.delete(key);
      now.delete(key);
    }
  }

  private put(peers: Map<string, Peer>, entry: Entry): void {
    if (entry.key === this.options.ownKey) return;
    const peer = this.read(entry);
    if (typeof peer === 'string') {
      peers.delete(entry.key);
      this.complain(entry, peer);
    } else {
      peers.set(entry.key, peer);
      this.complaints.delete(entry.key);
    }
  }

  /** The peer in an entry, or why there is none. */
  private read({ key, value: text }: Entry): Peer | string {
    const { ownSubnet } = this.options;
    const { publicIp } = this;
    const name = parseKey(key);
    if (name === undefined) return 'the key names no subnet';
    if (name.ipv6 !== undefined) return `the key is dual-stack (${name.ipv6}), weft is IPv4 only`;
    const { subnet } = name;
    // Two spellings of one subnet would be two peers with one route.
    if (key !== keyOf(subnet)) return `the key of that subnet is ${keyOf(subnet)}`;
    let value: LeaseValue;
    try {
      value = parseLeaseValue(text);
    } catch (error) {
      return messageOf(error);
    }
    if (value.publicIp === publicIp) {
      return `it has our own public IP ${formatAddress(publicIp)}: two hosts with one public IP?`;
    }
    // Its route would lead the underlay's own packets into the tunnel.
    for (const address of [publicIp, value.publicIp]) {
      if (contains(subnet, address)) {
        return `it holds ${formatAddress(address)}, which is an address of the underlay`;
      }
    }
    if (overlaps(subnet, ownSubnet)) return `it overlaps our subnet ${formatSubnet(ownSubnet)}`;
    if (isUnspecified(value.publicIp)) return 'its PublicIP is no address of a host';
    const problem = backendProblem(value, this.options.backend ?? 'vxlan');
    if (problem !== undefined) return problem;
    const vtepMac = 'mac' in value.vtep ? value.vtep.mac : undefined;
    return { key, subnet, publicIp: value.publicIp, vtepMac };
  }

  private complain({ key, value }: Entry, problem: string): void {
    if (this.complaints.get(key) === value) return;
    this.complaints.set(key, value);
    this.options.log.warn(`lease ${key} is not used: ${problem}`);
  }

  private become(now: Map<string, Peer>): void {
    this.dropReplaced(now);
    const before = this.peers;
    const added: Peer[] = [];
    const changed: Peer[] = [];
    for (const peer of now.values()) {
      const old = before.get(peer.key);
      if (old === undefined) added.push(peer);
      else if (!samePeer(old, peer)) changed.push(peer);
    }
    const removed = [...before.values()].filter(({ key }) => !now.has(key));
    this.peers = now;
    if (!this.first && added.length + removed.length + changed.length === 0) return;
    this.first = false;
    this.options.update({ peers: [...now.values()], added, removed, changed });
  }
}

function samePeer(a: Peer, b: Peer): boolean {
  const [macA = NO_MAC, macB = NO_MAC] = [a.vtepMac, b.vtepMac];
  return a.publicIp === b.publicIp && Buffer.compare(macA, macB) === 0;
}

const NO_MAC = new Uint8Array(0);

/** For messages. */
export function describePeer({ subnet, publicIp, vtepMac }: Peer): string {
  const mac = vtepMac === undefined ? '' : ` (${formatMac(vtepMac)})`;
  return `${formatSubnet(subnet)} at ${formatAddress(publicIp)}${mac}`;
}
