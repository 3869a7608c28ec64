/** What was seen of one peer, by echoes and by the lanes: plain values, from which judge.ts decides. */

/** How some echoes of one kind went. */
export interface Answers {
  readonly sent: number;
  readonly answered: number;
  /** The shortest; null without an answer. */
  readonly roundTripMs: number | null;
  /** Who (dotted) said last that it cannot get there, and the code of its ICMP "unreachable". */
  readonly unreachable: { readonly code: number; readonly from: string } | null;
  /** Whether it was told that they do not fit: then senders are told too. */
  readonly toldTooBig: boolean;
  /** Why none could be sent; empty where one could. */
  readonly cannot: string;
}

/** By how much the lanes' counts for the peer grew meanwhile. */
export interface LanesSaw {
  readonly heard: number;
  /** ICMP port unreachable, and other ICMP errors. */
  readonly refused: number;
  readonly errors: number;
  /** Forbidden by this host's firewall. */
  readonly denied: number;
  readonly unreachable: number;
}

export interface Observed {
  /** The peer's own address, dotted. */
  readonly publicIp: string;
  /** UDP port of VXLAN. */
  readonly port: number;
  /** Our own address on the underlay, dotted; empty where it is not known. */
  readonly here: string;
  /** Why no route leads there, in a clause; empty where one does. */
  readonly noWay: string;
  /** By which device packets for it leave, where that is not the underlay's; else empty. */
  readonly leavesBy: string;
  /** Whether the kernel routes its containers by its own address, past the tunnel. */
  readonly direct: boolean;
  /** Echoes to its own address, in small packets; null: none were tried. */
  readonly underlay: Answers | null;
  /** Through the tunnel, to its address on the overlay: small ones, and of the tunnel's MTU. */
  readonly tunnel: Answers | null;
  readonly full: (Answers & { readonly bytes: number }) | null;
  /** Null: no lanes, or none that could be asked. */
  readonly lanes: LanesSaw | null;
}

export const NO_ANSWERS: Answers = {
  ...{ sent: 0, answered: 0, roundTripMs: null, unreachable: null, toldTooBig: false, cannot: '' },
};

export const SAW_NOTHING: LanesSaw = { heard: 0, refused: 0, errors: 0, denied: 0, unreachable: 0 };
