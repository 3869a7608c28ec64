/** How it stands with a peer, as the status tells it. */

/**
 * `unknown`: nothing is known against it, nor for it. `silent`: packets leave for it and nothing
 * comes back. `refused`: it, or a firewall, answers that nothing listens. `unreachable`: no packet
 * gets there. `small-mtu`: small packets pass and large ones do not.
 */
export type PeerState =
  | 'unknown'
  | 'well'
  | 'silent'
  | 'refused'
  | 'unreachable'
  | 'lossy'
  | 'small-mtu';

/** Why, as diagnose/judge.ts finds it. */
export type Code =
  // no faults
  | 'well'
  | 'answers-no-echo'
  | 'underlay-only'
  // nothing is known
  | 'untold'
  // faults
  | 'lossy'
  | 'small-mtu'
  | 'no-route'
  | 'denied'
  | 'refused'
  | 'other-device'
  | 'host-gone'
  | 'rejected'
  | 'filtered'
  | 'silent';

export interface PeerHealth {
  readonly state: PeerState;
  /** Why, in a word that is stable. */
  readonly code: Code;
  /** For how long it has been so. */
  readonly forSeconds: number;
  /** One sentence, without its full stop; empty where there is nothing to say. */
  readonly words: string;
  /** What to type against it; empty where it is no fault. */
  readonly todo: string;
  /** Of the last echo that was answered; null: none was. */
  readonly roundTripMs: number | null;
}

export const UNKNOWN_HEALTH: PeerHealth = {
  ...{ state: 'unknown', code: 'untold', forSeconds: 0, words: '', todo: '', roundTripMs: null },
};
