/** The rules of policy routing, as `ip -j rule show` lists them, and which one takes a packet. */
import { contains, type Prefix, parsePrefix } from './ipv4.js';

/** As far as it is read here; what a rule does not ask for is left out, or `all`. */
export interface Rule {
  readonly priority: number;
  readonly not?: null;
  readonly src?: string;
  readonly srclen?: number;
  readonly dst?: string;
  readonly dstlen?: number;
  readonly fwmark?: string;
  readonly iif?: string;
  readonly oif?: string;
  readonly tos?: string;
  readonly ipproto?: string;
  readonly sport?: number;
  readonly dport?: number;
  readonly sport_start?: number;
  readonly dport_start?: number;
  readonly uid_start?: number;
  readonly l3mdev?: null;
  readonly table?: string;
  readonly suppress_prefixlen?: number;
  readonly action?: string;
}

/** A packet without a mark. */
export interface Asked {
  readonly from: string;
  readonly to: string;
  /** By which device it comes in; undefined: from this host. */
  readonly iif?: string | undefined;
}

/**
 * The first rule, in the kernel's order, that leads such a packet into `table`, or (undefined) that
 * may have it refused. Undefined where none does.
 */
export function takenBy(
  rules: readonly Rule[],
  packet: Asked,
  table: string | undefined,
): Rule | undefined {
  const asked = rules.filter((rule) => matches(rule, packet));
  if (table !== undefined) return asked.find((rule) => rule.table === table);
  const refuses = asked.find(({ action }) => action !== undefined && REFUSE.has(action));
  return refuses ?? asked.find((rule) => rule.table !== undefined && !USUAL.has(rule.table));
}

/** Whether a rule leads all packets to the main table, as it is unless somebody removed that. */
export function hasMain(rules: readonly Rule[]): boolean {
  return rules.some(
    (rule) => rule.table === 'main' && rule.suppress_prefixlen === undefined && isForAll(rule),
  );
}

/** As `ip rule` prints it: `5270: from all lookup 52`. */
export function describeRule(rule: Rule): string {
  const prefix = (at = 'all', length?: number) =>
    length === undefined || length === 32 ? at : `${at}/${length}`;
  const word = (name: string, value: string | number | undefined) =>
    value === undefined ? [] : [`${name} ${value}`];
  return [
    `${rule.priority}:${rule.not === undefined ? '' : ' not'} from ${prefix(rule.src, rule.srclen)}`,
    ...word('to', rule.dst && prefix(rule.dst, rule.dstlen)),
    ...word('fwmark', rule.fwmark),
    ...word('iif', rule.iif),
    ...word('lookup', rule.table),
    ...word('suppress_prefixlength', rule.suppress_prefixlen),
    ...(rule.action === undefined ? [] : [rule.action]),
  ].join(' ');
}

const REFUSE: ReadonlySet<string> = new Set(['prohibit', 'unreachable', 'blackhole']);
const USUAL: ReadonlySet<string> = new Set(['local', 'main', 'default']);

function isForAll(rule: Rule): boolean {
  return matches(rule, { from: '198.51.100.1', to: '203.0.113.1' }) && rule.not === undefined;
}

function matches(rule: Rule, packet: Asked): boolean {
  const { ipproto, sport, dport, sport_start, dport_start, tos, oif, uid_start, l3mdev } = rule;
  const narrow = [ipproto, sport, dport, sport_start, dport_start, tos, oif, uid_start, l3mdev];
  // Of some kinds of packets alone, which none of those that are asked for is.
  if (narrow.some((one) => one !== undefined)) return false;
  const fits =
    isIn(packet.from, rule.src, rule.srclen) &&
    isIn(packet.to, rule.dst, rule.dstlen) &&
    (rule.iif === undefined || rule.iif === packet.iif) &&
    (rule.fwmark === undefined || Number(rule.fwmark) === 0);
  return fits === (rule.not === undefined);
}

function isIn(address: string, network = 'all', length = 32): boolean {
  if (network === 'all') return true;
  const [outer, inner] = [parsePrefix(`${network}/${length}`), parsePrefix(`${address}/32`)];
  return outer !== null && inner !== null && contains(outer as Prefix, inner);
}
