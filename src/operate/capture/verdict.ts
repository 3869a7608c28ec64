/** What replay is asked and what it answers: the host it is, and what became of a record. */
import type { Accept } from '../../dataplane/forward/inbound.js';
import type { LocalRoute, Route } from '../../dataplane/routes/peer.js';

/** The host whose eyes replay looks through. */
export interface ReplayHost {
  /** Its address on the underlay, int32. */
  readonly address: number;
  /** Its VtepMAC, 6 bytes. */
  readonly mac: Uint8Array;
  readonly vni: number;
  /** The UDP port it listens on. */
  readonly port: number;
  /** The MTU of its TUN. */
  readonly mtu: number;
  /** The overlay: flannel's Network, or all that is known of it. */
  readonly overlay: readonly LocalRoute[];
  /** Whose packets are let in; `peers` unless told. */
  readonly accept?: Accept;
  readonly local: readonly LocalRoute[];
  readonly routes: readonly Route[];
}

/** What became of a record. */
export type Fate = 'wrapped' | 'unwrapped' | 'dropped' | 'not ours';

/** Why a record never reached the lane. */
export type NotOurs =
  | 'link_type'
  | 'not_ipv4'
  | 'cut'
  | 'not_vxlan'
  | 'other_destination'
  | 'outer_malformed'
  | 'outer_fragment'
  | 'outer_checksum'
  | 'from_peer'
  | 'longer_than_mtu'
  | 'segment_unknown';

export interface Verdict {
  /** The packet in one line. */
  readonly what: string;
  readonly fate: Fate;
  /** Names of `DROP_NAMES` for what the lane dropped, or one of `NotOurs`; '' when all came out. */
  readonly reason: string;
  /** How many packets the lane dropped for each reason; of a train some may have come out. */
  readonly drops: Readonly<Record<string, number>>;
  /** For people: what the reason does not tell; may be ''. */
  readonly detail: string;
  /** What came out: whole IPv4 packets, as they would be on the wire or leave the TUN. */
  readonly packets: readonly Uint8Array[];
}

/** Why a record is not for the lane. */
export interface Refusal {
  readonly reason: NotOurs;
  readonly detail: string;
}

export function notOurs(what: string, { reason, detail }: Refusal): Verdict {
  return { what, fate: 'not ours', reason, drops: {}, detail, packets: [] };
}
