/** What flannel and weft want of the firewall, whichever program writes it. */
import type { Fault } from '../../runtime.js';

/** flannel's. */
export interface Rules {
  /** The overlay's whole network, `10.5.0.0/16`. */
  readonly network: string;
  /** This host's own subnet, `10.5.52.0/24`. */
  readonly subnet: string;
  /** Whether what leaves the overlay gets the host's address (`-ip-masq`). */
  readonly masquerade: boolean;
  /** Whether the ports of masqueraded flows are chosen at random, which avoids clashes. */
  readonly fullyRandom: boolean;
  /** Whether the overlay's packets are let through the host (`-iptables-forward-rules`). */
  readonly forward: boolean;
}

/** weft's guard; see guard-rules.ts. */
export interface GuardRules {
  /** UDP. */
  readonly port: number;
  /** The tunnel's, by which containers may send what they want. */
  readonly device: string;
  /** Our subnet, `10.5.52.0/24`. */
  readonly subnet: string;
  /** Where containers are that ours may send to without the tunnel: our subnet, or the network. */
  readonly inside: string;
  /** The devices that carry our subnet, the tunnel's not among them. */
  readonly bridges: readonly string[];
}

/** A bit that kube-proxy sets on packets which it masquerades itself. */
export const KUBE_MARK = '0x4000';
/** All of IPv4 multicast (RFC 5771). */
export const MULTICAST = '224.0.0.0/4';

/** What sets rules: one of iptables and nftables. */
export interface Firewall {
  /** For the log: `iptables 1.8.9 (nf_tables)`. */
  readonly description: string;
  /** Whether nftables has the rules, so that its generation tells of each change to them. */
  readonly isNft: boolean;
  /**
   * Makes the rules be there, in their order, and nothing else of flannel's beside them. Returns
   * one phrase for each thing that was not so; empty when nothing was touched. Throws a HostError
   * when the program is refused.
   */
  ensure(rules: Rules): Promise<string[]>;
  /** The same for weft's guard, whose rules stand apart from flannel's. */
  guard(rules: GuardRules): Promise<string[]>;
  /** Each rule of others that keeps ours from being reached, as seen just now. */
  readonly obstacles: readonly Fault[];
  /** What is to be told of the rules once, though they are there; empty when nothing is. */
  readonly remark: string;
}
