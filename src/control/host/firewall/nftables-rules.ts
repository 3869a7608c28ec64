/**
 * flannel's rules for `nft`: a table of their own that nobody else writes to. The meaning is that
 * of the iptables rules. flannel's own nftables rules differ in three things, which are not
 * followed: they compare the whole mark in place of kube-proxy's bit, return whatever does not
 * come from our subnet (so the last rule does nothing), and make an IPv6 table without IPv6.
 *
 * Priorities are numbers, and nothing has a comment, since older versions of nft know neither.
 */
import type { NftTable } from '../journal.js';
import { KUBE_MARK, MULTICAST, type Rules } from './rules.js';

export const TABLE: NftTable = 'ip flannel-ipv4';
/** What a dual-stack flannel leaves, and an IPv4-only one makes without need. */
const TABLE_V6 = 'ip6 flannel-ipv6';

/** NF_IP_PRI_NAT_SRC and NF_IP_PRI_FILTER (linux/netfilter_ipv4.h). */
const SRCNAT = 100;
const FILTER = 0;

/** The table, for `nft -f`; null when no rules are wanted. */
export function tableText(rules: Rules): string | null {
  const { network: n, subnet: s, masquerade, fullyRandom, forward } = rules;
  const chains: string[] = [];
  if (masquerade) {
    const verdict = `masquerade${fullyRandom ? ' fully-random' : ''}`;
    chains.push(
      chain('postrtg', `type nat hook postrouting priority ${SRCNAT}; policy accept;`, [
        `meta mark & ${KUBE_MARK} == ${KUBE_MARK} return`,
        `ip saddr ${s} ip daddr ${n} return`,
        `ip saddr ${n} ip daddr ${s} return`,
        `ip saddr != ${n} ip daddr ${s} return`,
        `ip saddr ${n} ip daddr != ${MULTICAST} ${verdict}`,
        `ip saddr != ${n} ip daddr ${n} ${verdict}`,
      ]),
    );
  }
  if (forward) {
    chains.push(
      chain('forward', `type filter hook forward priority ${FILTER}; policy accept;`, [
        `ip saddr ${n} accept`,
        `ip daddr ${n} accept`,
      ]),
    );
  }
  return chains.length === 0 ? null : `table ${TABLE} {\n${chains.join('')}}\n`;
}

function chain(name: string, hook: string, rules: readonly string[]): string {
  return `\tchain ${name} {\n${[hook, ...rules].map((line) => `\t\t${line}\n`).join('')}\t}\n`;
}

/** Replaces whatever table there is, in one transaction. To add it first makes deleting it safe. */
export function replacement(table: string, text: string): string {
  return `${deletion(table)}${text}`;
}

/** Deletes a table, whether it is there or not. */
export function deletion(table: string): string {
  return `add table ${table}\ndelete table ${table}\n`;
}

/** Which tables of flannel's `nft list tables` names. */
export function flannelTables(listing: string): string[] {
  return [TABLE, TABLE_V6].filter((table) => isListed(table, listing));
}

/** Whether `nft list tables` names it. */
export function isListed(table: string, listing: string): boolean {
  return listing.split('\n').some((line) => line.trim() === `table ${table}`);
}

/** How a listing differs from the one that was printed after the table was made. */
export function difference(table: string, now: string | null, made: string): string {
  if (now === null) return `the table ${table} was gone`;
  const [lines, wanted] = [ruleLines(now), ruleLines(made)];
  const missing = wanted.filter((line) => !lines.includes(line)).length;
  const extra = lines.filter((line) => !wanted.includes(line)).length;
  if (missing > 0) return `the table ${table} lacked ${missing} of its lines`;
  if (extra > 0) return `the table ${table} held ${extra} lines that are not ours`;
  return `the table ${table} was out of order`;
}

/** Whether everything in a listing is as it was made: some of it may be gone. */
export function isWithin(now: string, made: string): boolean {
  const wanted = ruleLines(made);
  return ruleLines(now).every((line) => wanted.includes(line));
}

function ruleLines(listing: string): string[] {
  return listing
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && line !== '}');
}
