/**
 * Who is in the network: turns the store's snapshots and changes into the list of peers, and
 * says what changed in it. An entry that cannot be used costs that peer alone, and one line of
 * log for each value it takes and each reason.
 *
 * Peers that are missing because the store was emptied or set back are still there and will
 * write their keys again: they are kept for a while.
 */
import { formatMac } from '../../dataplane/wire/ethernet.js';
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import type { Clock, Log } from '../runtime.js';
import { type Change, type Entry, type Listing, messageOf, subnetNameOf } from '../store/store.js';
import { admit, type HostAddress, type Refused } from './admit.js';
import type { Backend } from './config.js';
import { type Doing, readAsFlanneld, type Used } from './flanneld.js';
import { backendProblem, type LeaseValue, parseLeaseValue, RESERVATION } from './lease-value.js';
import { formatSubnet, keyOf, overlaps, parseKey, type Subnet } from './subnet.js';
import { type Around, findUnsound, type Unsound } from './unsound.js';

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
  /** This host's addresses, as far as they are known. */
  readonly addresses?: readonly HostAddress[];
  readonly clock: Clock;
  /** Leases of others are not used. vxlan unless told. */
  readonly backend?: Backend['type'];
  /** Where flannelds may read the same entries: what of the network they go by. */
  readonly besideFlanneld?: Pick<Around, 'network' | 'vtepMac'> | undefined;
  readonly log: Log;
  /** Called once for each batch that changed something, and for the first snapshot. */
  readonly update: (membership: Membership) => void;
}

/** An entry as it was read: the peer in it, or why there is none. */
interface Read {
  readonly value: string;
  readonly revision: bigint;
  readonly peer: Peer | string;
  /** What a flanneld makes of it alone; absent until it was asked for. */
  flanneld?: { readonly made: Doing | Used | undefined };
}

/** The longest that a change waits to be put in force with others, in milliseconds. */
const LONGEST_TURN_MS = 500;

/** How long peers that an emptied store does not have are kept, in milliseconds. */
const KEEP_FOR_MS = 300_000;

export class Peers {
  readonly #options: PeersOptions;
  /** What the store has, but for our own key, and what of it is kept. */
  #entries = new Map<string, Read>();
  /** Those of them that may be used. */
  #peers = new Map<string, Peer>();
  #refusals: readonly Refused[] = [];
  #unsound: readonly Unsound[] | undefined;
  /** What each unusable key was complained about with. */
  #complaints = new Map<string, string>();
  /** The keys of peers that the store does not have (any more), but once had. */
  readonly #kept = new Set<string>();
  #cancelTimer = () => {};
  /** Changes that are not in force yet wait for this. */
  #cancelTurn: (() => void) | undefined;
  /** When the next changes are put in force. */
  #turnAt = 0;
  #first = true;
  #publicIp: number;
  #addresses: readonly HostAddress[];

  constructor(options: PeersOptions) {
    this.#options = options;
    this.#publicIp = options.publicIp;
    this.#addresses = options.addresses ?? [];
  }

  /** The leases that are not used, each with the reason; reservations are as they should be. */
  get refused(): readonly Refused[] {
    return this.#refusals.filter(({ reason }) => reason !== RESERVATION);
  }

  /** The same, and those that a flanneld would be hurt by. */
  get unsound(): readonly Unsound[] {
    this.#unsound ??= this.#findUnsound();
    return this.#unsound;
  }

  #findUnsound(): Unsound[] {
    const { besideFlanneld, ownSubnet: subnet, backend = 'vxlan' } = this.#options;
    const { network, vtepMac } = besideFlanneld ?? {};
    const entries = [...this.#entries].map(([key, read]) => {
      if (besideFlanneld !== undefined) {
        read.flanneld ??= { made: readAsFlanneld(key, read.value, backend) };
      }
      return { key, revision: read.revision, flanneld: read.flanneld?.made };
    });
    const around = { subnet, publicIp: this.#publicIp, vtepMac, network };
    return findUnsound(entries, this.refused, around);
  }

  /** Ours is another from now on. */
  changePublicIp(publicIp: number): void {
    this.#publicIp = publicIp;
    if (!this.#first) this.#become(this.#entries);
  }

  /** This host has other addresses from now on. */
  changeAddresses(addresses: readonly HostAddress[]): void {
    this.#addresses = addresses;
    if (!this.#first) this.#become(this.#entries);
  }

  snapshot({ entries, replaced = false }: Listing): void {
    const now = new Map<string, Read>();
    for (const entry of entries) this.#put(now, entry);
    if (replaced) this.#keep(now);
    for (const key of this.#kept) {
      const known = this.#entries.get(key);
      if (now.has(key)) this.#kept.delete(key);
      else if (known !== undefined) now.set(key, known);
    }
    this.#become(now);
  }

  /**
   * A change is in force at once. That is work for all peers, so what comes behind it is gathered
   * for as long as it took: however many come, not more than half of the time goes into them.
   */
  changes(batch: readonly Change[]): void {
    for (const change of batch) {
      const key = change.type === 'put' ? change.entry.key : change.key;
      this.#kept.delete(key);
      if (change.type === 'put') this.#put(this.#entries, change.entry);
      else this.#entries.delete(key);
    }
    const waitMs = this.#turnAt - this.#options.clock.now();
    const become = () => this.#become(this.#entries);
    if (waitMs <= 0) become();
    else this.#cancelTurn ??= this.#options.clock.after(waitMs, become);
  }

  stop(): void {
    this.#cancelTimer();
    this.#cancelTurn?.();
  }

  /** Remembers the peers that an emptied store does not have. */
  #keep(keys: ReadonlyMap<string, Read>): void {
    const { clock, log } = this.#options;
    const missing = [...this.#peers.keys()].filter((key) => !keys.has(key));
    if (missing.length === 0) return;
    for (const key of missing) this.#kept.add(key);
    log.warn(
      `the store was emptied or set back: ${missing.length} peers are missing from it and kept ` +
        `for ${KEEP_FOR_MS / 60_000} minutes`,
    );
    this.#cancelTimer();
    this.#cancelTimer = clock.after(KEEP_FOR_MS, () => {
      const now = new Map(this.#entries);
      for (const key of this.#kept) now.delete(key);
      this.#kept.clear();
      this.#become(now);
    });
  }

  /** What the store has now goes before what it had. */
  #dropReplaced(now: Map<string, Read>): void {
    if (this.#kept.size === 0) return;
    const present = [...now].flatMap(([key, { peer }]) => {
      return this.#kept.has(key) || typeof peer === 'string' ? [] : [peer];
    });
    for (const key of this.#kept) {
      const peer = now.get(key)?.peer;
      const stays =
        typeof peer === 'object' &&
        !present.some(
          (other) => other.publicIp === peer.publicIp || overlaps(other.subnet, peer.subnet),
        );
      if (stays) continue;
      this.#kept.delete(key);
      now.delete(key);
    }
  }

  #put(now: Map<string, Read>, entry: Entry): void {
    const { key, value, revision } = entry;
    if (key === this.#options.ownKey) return;
    const known = this.#entries.get(key);
    const read = known?.value === value ? known : { value, peer: this.#read(entry) };
    now.set(key, { ...read, revision });
  }

  /** The peer in an entry, or why there is none. */
  #read(entry: Entry): Peer | string {
    const { key, value: text } = entry;
    const shown = subnetNameOf(entry);
    const name = parseKey(shown);
    if (name === undefined) return 'the key names no subnet';
    if (name.ipv6 !== undefined) return `the key is dual-stack (${name.ipv6}), weft is IPv4 only`;
    const { subnet } = name;
    // Two spellings of one subnet would be two peers with one route.
    if (shown !== keyOf(subnet)) return `the key of that subnet is ${keyOf(subnet)}`;
    let value: LeaseValue;
    try {
      value = parseLeaseValue(text);
    } catch (error) {
      return messageOf(error);
    }
    const problem = backendProblem(value, this.#options.backend ?? 'vxlan');
    if (problem !== undefined) return problem;
    const vtepMac = 'mac' in value.vtep ? value.vtep.mac : undefined;
    return { key, subnet, publicIp: value.publicIp, vtepMac };
  }

  /** The entries that may be used; the others are complained of once for each value and reason. */
  #decide(entries: ReadonlyMap<string, Read>): Map<string, Peer> {
    this.#unsound = undefined;
    const { ownSubnet: subnet, log } = this.#options;
    const [publicIp, addresses] = [this.#publicIp, this.#addresses];
    const candidates = [...entries.values()].flatMap(({ peer }) => {
      return typeof peer === 'string' ? [] : [peer];
    });
    const { admitted, refused } = admit(candidates, { subnet, publicIp, addresses });
    const reasons = new Map(refused.map(({ key, reason }) => [key, reason]));
    this.#refusals = [...entries].flatMap(([key, { peer }]) => {
      const reason = typeof peer === 'string' ? peer : reasons.get(key);
      return reason === undefined ? [] : [{ key, reason }];
    });
    const complaints = new Map<string, string>();
    for (const { key, reason } of this.#refusals) {
      const complaint = `${reason}: ${entries.get(key)?.value}`;
      complaints.set(key, complaint);
      if (this.#complaints.get(key) !== complaint) log.warn(`lease ${key} is not used: ${reason}`);
    }
    this.#complaints = complaints;
    return new Map(admitted.map((peer) => [peer.key, peer]));
  }

  #become(entries: Map<string, Read>): void {
    const { clock } = this.#options;
    const begun = clock.now();
    this.#cancelTurn?.();
    this.#cancelTurn = undefined;
    this.#tell(entries);
    const ended = clock.now();
    this.#turnAt = ended + Math.min(ended - begun, LONGEST_TURN_MS);
  }

  #tell(entries: Map<string, Read>): void {
    this.#dropReplaced(entries);
    this.#entries = entries;
    const before = this.#peers;
    const now = this.#decide(entries);
    const added: Peer[] = [];
    const changed: Peer[] = [];
    for (const peer of now.values()) {
      const old = before.get(peer.key);
      if (old === undefined) added.push(peer);
      else if (!samePeer(old, peer)) changed.push(peer);
    }
    const removed = [...before.values()].filter(({ key }) => !now.has(key));
    this.#peers = now;
    if (!this.#first && added.length + removed.length + changed.length === 0) return;
    this.#first = false;
    this.#options.update({ peers: [...now.values()], added, removed, changed });
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
