/**
 * Which place in the table each peer has. It keeps it while it is a peer, whatever is published
 * meanwhile, so that what is known of it can stand in a row of that number (peer-rows.ts).
 */
import type { Peer } from './peer.js';

/** The places of some peers. */
export interface Placing {
  /** Each distinct peer once. */
  readonly placed: readonly Placed[];
  /** The place of each peer that was given, in their order. */
  readonly places: readonly number[];
}

/** A peer and its place, from 0 up. */
export interface Placed {
  readonly peer: Peer;
  readonly place: number;
  /** Whether the place was free before: what was known there is another peer's. */
  readonly isNew: boolean;
}

export class Places {
  /** Whose each place is; undefined: free. */
  #owners: (Peer | undefined)[] = [];
  readonly #places = new Map<string, number>();
  readonly #identities = new WeakMap<Peer, string>();
  /** The places of each outer address, in their order. */
  #ofAddress = new Map<number, number[]>();

  /**
   * Gives each of these peers, and nobody else, a place: the one that it has; else that of a peer
   * of the same address that is gone (its MAC is another after a restart); else the lowest that
   * was free before this call, since a lane may still be at work with the table before.
   */
  assign(peers: readonly Peer[]): Placing {
    const identities = peers.map((peer) => this.#identityOf(peer));
    const wanted = new Map(peers.map((peer, index) => [identities[index]!, peer]));
    /** Places that are given up, and one of them for each address. */
    const left = new Set<number>();
    const freed = new Map<number, number>();
    for (const [identity, place] of this.#places) {
      if (wanted.has(identity)) continue;
      left.add(place);
      freed.set(this.#owners[place]!.address, place);
      this.#places.delete(identity);
    }
    const placed: Placed[] = [];
    let free = 0;
    for (const [identity, peer] of wanted) {
      let place = this.#places.get(identity);
      let isNew = false;
      if (place === undefined) {
        place = freed.get(peer.address);
        freed.delete(peer.address);
      }
      if (place === undefined) {
        while (this.#owners[free] !== undefined) free += 1;
        place = free;
        isNew = true;
      }
      left.delete(place);
      this.#owners[place] = peer;
      this.#places.set(identity, place);
      placed.push({ peer, place, isNew });
    }
    for (const place of left) this.#owners[place] = undefined;
    this.#ofAddress = new Map();
    for (const [place, owner] of this.#owners.entries()) {
      if (owner === undefined) continue;
      const others = this.#ofAddress.get(owner.address);
      if (others === undefined) this.#ofAddress.set(owner.address, [place]);
      else others.push(place);
    }
    return { placed, places: identities.map((identity) => this.#places.get(identity)!) };
  }

  /** Once for each peer: with thousands of them these texts are most of the work. */
  #identityOf(peer: Peer): string {
    let identity = this.#identities.get(peer);
    if (identity === undefined) {
      identity = identityOf(peer);
      this.#identities.set(peer, identity);
    }
    return identity;
  }

  /** The places of the peers with this outer address (int32). */
  of(address: number): readonly number[] {
    return this.#ofAddress.get(address) ?? [];
  }
}

/** A peer that differs in anything is another one. */
function identityOf({ address, port, mac }: Peer): string {
  return `${address} ${port} ${mac.reduce((number, byte) => number * 256 + byte, 0)}`;
}
