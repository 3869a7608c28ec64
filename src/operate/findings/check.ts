/**
 * What a check is. It only looks: what weft may put right itself, the daemon's loop does. A check has
 * a file of its own, stands in the list of checks.ts, and has a test that makes the fault in a network
 * namespace and sees this finding alone.
 */
import type { Ask } from '../../control/host/ask-ip.js';
import type { Runner } from '../../control/host/runner.js';
import type { HostGwStatus, Status } from '../status/status.js';
import type { Finding } from './finding.js';

/** The host, and the overlay that is to work on it, whether a weft runs just now or not. */
export interface Subject {
  readonly runner: Runner;
  /** What `ip` lists: one answer for all checks of a round. */
  readonly ask: Ask;
  /** Of nftables' rules, as of before the round; null where that is not told. */
  readonly nftGeneration: number | null;
  readonly proc: string;
  /** weft's own process; null where none runs. */
  readonly pid: number | null;
  readonly backend: 'vxlan' | 'host-gw';
  /** Of all hosts' containers, and of ours: `10.5.0.0/16`, `10.5.52.0/24`. */
  readonly network: string;
  readonly subnet: string;
  /** weft's own; null with host-gw, which has none. */
  readonly device: string | null;
  /** The containers'. */
  readonly mtu: number;
  /** `port`: UDP; null with host-gw. `address` is where weft listens, dotted. */
  readonly underlay: {
    readonly interface: string;
    readonly address: string;
    readonly publicIp: string;
    readonly mtu: number;
    readonly port: number | null;
  };
  readonly peers: readonly {
    readonly publicIp: string;
    readonly subnet: string;
    /** Reached past the tunnel. */
    readonly direct: boolean;
  }[];
}

/** Looks at the host. It may start programs, so how often it looks depends on what that takes. */
export interface HostCheck {
  /** What it looks at, for the note that says that it cannot: `the firewall`. */
  readonly name: string;
  /** It may take one part in so many of the time of a processor; 200 unless told. */
  readonly share?: number;
  /** Rejects with a HostError when it cannot look. */
  look(subject: Subject): Promise<readonly Finding[]>;
}

export type AnyStatus = Status | HostGwStatus;

/**
 * Judges what weft itself tells. `before` is what it told some seconds ago, for what is a rate;
 * undefined at the first look.
 */
export type StatusCheck = (now: AnyStatus, before: AnyStatus | undefined) => readonly Finding[];
