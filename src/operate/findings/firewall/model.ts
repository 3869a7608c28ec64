/**
 * The rules of a firewall, whichever program wrote them, and the packets that are walked through
 * them. What a rule asks of a packet is true, false, or `undefined`: it may be either, since we do
 * not know the packet so well, or do not understand the question.
 */

export type Truth = boolean | undefined;

export type Hook =
  | 'ingress'
  | 'prerouting'
  | 'input'
  | 'forward'
  | 'output'
  | 'postrouting'
  | 'egress';

/** As conntrack sees it; `invalid` also before it has seen it. */
export type State = 'new' | 'established' | 'invalid' | 'untracked';

/** A packet at a hook. A field that is undefined may be anything. */
export interface Packet {
  /** Addresses as int32. */
  readonly source: number | undefined;
  readonly destination: number | undefined;
  readonly protocol: 'udp' | 'tcp';
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Devices; empty where the hook has none. */
  readonly in: string | undefined;
  readonly out: string | undefined;
  /** Whether it is for this host itself, or from it. */
  readonly isForUs: boolean;
  readonly isFromUs: boolean;
  readonly state: State | undefined;
  readonly mark: number | undefined;
}

export type Match = (packet: Packet) => Truth;

/** `unknown`: it may end there, or go on. */
export type Action =
  | { readonly kind: 'accept' | 'drop' | 'return' | 'next' | 'unknown' }
  | { readonly kind: 'jump' | 'goto'; readonly chain: string };

/** Of a verdict map; the first that matches is taken. */
export interface Choice {
  /** Null where there is no question. */
  readonly match: Match | null;
  readonly action: Action;
}

export interface Rule {
  /** As the program prints it; of nft, undefined until it is asked for. */
  readonly text: string | undefined;
  /** nft's. */
  readonly handle: number | undefined;
  /** What its counter says; undefined where it has none. */
  readonly packets: number | undefined;
  /** All must hold. */
  readonly matches: readonly Match[];
  /** What it does to the packet before its verdict. */
  readonly changes: readonly ('mark' | 'untracked')[];
  readonly choices: readonly Choice[];
}

/** Where a chain sees packets by itself. */
export interface Base {
  readonly hook: Hook;
  readonly priority: number;
  /** For ingress and egress; empty where it is not about one device. */
  readonly devices: readonly string[];
}

export interface Chain {
  readonly name: string;
  readonly base: Base | undefined;
  readonly policy: 'accept' | 'drop';
  readonly policyPackets: number | undefined;
  readonly rules: readonly Rule[];
}

export interface Table {
  /** The program that shows and changes it: `nft`, `iptables`, `iptables-legacy`, `iptables-nft`. */
  readonly program: string;
  /** nft's family; `ip` for iptables. */
  readonly family: string;
  readonly name: string;
  readonly chains: ReadonlyMap<string, Chain>;
}

/** Whether all hold. */
export function all(truths: Iterable<Truth>): Truth {
  let sum: Truth = true;
  for (const truth of truths) {
    if (truth === false) return false;
    if (truth === undefined) sum = undefined;
  }
  return sum;
}

/** Whether one holds. */
export function any(truths: Iterable<Truth>): Truth {
  let sum: Truth = false;
  for (const truth of truths) {
    if (truth === true) return true;
    if (truth === undefined) sum = undefined;
  }
  return sum;
}

export function not(truth: Truth): Truth {
  return truth === undefined ? undefined : !truth;
}
