/**
 * What the control plane knows of the overlay: which subnet lies behind which peer.
 */

/** Another host's VTEP. */
export interface Peer {
  /** Its address on the underlay: IPv4 as int32. */
  readonly address: number;
  /** The UDP port it listens on. */
  readonly port: number;
  /** The MAC address of its VTEP, six bytes: the inner destination. */
  readonly mac: Uint8Array;
}

/** A subnet behind a peer. */
export interface Route {
  /** IPv4 as int32, host bits zero. */
  readonly network: number;
  /** Prefix length, 0 to 32. */
  readonly length: number;
  readonly peer: Peer;
}

/** A subnet of our own. */
export interface LocalRoute {
  /** IPv4 as int32, host bits zero. */
  readonly network: number;
  /** Prefix length, 0 to 32. */
  readonly length: number;
}

/** What a lookup answers: one of these two, or the index of a peer from FIRST_PEER up. */
export const NO_ROUTE = 0;
export const LOCAL = 1;
export const FIRST_PEER = 2;
