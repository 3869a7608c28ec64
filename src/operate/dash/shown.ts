/** What the page of `weft dash` shows: told by its server, read in the browser. */
import type { Finding, Verdict } from '../findings/finding.js';

/** A point of the charts: rates since the point before it. */
export interface Sample {
  /** Seconds since 1970. */
  readonly time: number;
  /** Bits and packets a second. */
  readonly outBits: number;
  readonly inBits: number;
  readonly outPackets: number;
  readonly inPackets: number;
  readonly drops: number;
}

export interface PeerRow {
  readonly publicIp: string;
  readonly subnet: string;
  readonly way: 'tunnel' | 'direct' | 'none';
  readonly outBits: number;
  readonly inBits: number;
  /** Null: nothing came from it so far. */
  readonly heardSecondsAgo: number | null;
  readonly pathMtu: number | null;
  /** `well`, `silent`, …; `unknown` where nothing is known for or against it. */
  readonly health: string;
  readonly roundTripMs: number | null;
}

export interface DropRow {
  readonly reason: string;
  readonly packets: number;
  /** A second. */
  readonly rate: number;
  readonly words: string;
  /** A packet that was dropped for it of late, and whose and when it was; empty where none is kept. */
  readonly last: string;
  readonly lastAbout: string;
}

/** `gone`: no weft answers. */
export interface View {
  readonly state: 'running' | 'starting' | 'gone';
  /** What it waits for, or why none answers; empty while it runs. */
  readonly why: string;
  readonly verdict: Verdict | null;
  readonly findings: readonly Finding[];
  /** Name and value, in this order. */
  readonly facts: readonly (readonly [string, string])[];
  readonly peers: readonly PeerRow[];
  /** Of so many these are shown. */
  readonly peerCount: number;
  readonly drops: readonly DropRow[];
  readonly strangers: readonly { readonly address: string; readonly packets: number }[];
  readonly sample: Sample | null;
}
