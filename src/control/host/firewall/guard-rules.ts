/**
 * The guard: rules of weft's own that keep this host's containers from sending VXLAN themselves.
 *
 * A peer believes what comes from our address, and what a container sends leaves with that address
 * where it is masqueraded. So UDP to the tunnel's port that a container sends is refused, whatever
 * source it claims, unless it goes to another container. It is known as a container's by our
 * subnet's addresses, or by the device that it comes in by: one that has an address in our subnet,
 * as docker0 and cni0. What this host only routes between other VTEPs passes.
 *
 * Both hooks: INPUT, since what a container sends to this host could claim a peer's address, too.
 * In mangle, where neither flannel nor Docker has rules that could accept it first.
 */
import type { NftTable } from '../journal.js';
import { commentOf, jumpsTo, type Place } from './iptables-rules.js';
import type { GuardRules } from './rules.js';

export const GUARD: Place = {
  table: 'mangle',
  hooks: ['FORWARD', 'INPUT'],
  chain: 'WEFT-GUARD',
  comment: 'weft guard',
  owner: 'weft',
};

/** As `iptables-save` prints them: the jumps first, then the chain from top to bottom; `bare`: without comments. */
export function guardLines(rules: GuardRules, bare = false): string[] {
  const { port, device, subnet, inside, bridges } = rules;
  const rule = (match: string, target: string) =>
    `-A ${GUARD.chain} ${match} ${commentOf(GUARD, bare)}-j ${target}`;
  return [
    ...jumpsTo(GUARD, `-p udp -m udp --dport ${port} `, bare),
    rule(`-o ${device}`, 'RETURN'),
    rule(`-d ${inside}`, 'RETURN'),
    rule(`-s ${subnet}`, 'DROP'),
    ...bridges.map((bridge) => rule(`-i ${bridge}`, 'DROP')),
  ];
}

export const GUARD_TABLE: NftTable = 'ip weft-guard';

/** NF_IP_PRI_MANGLE (linux/netfilter_ipv4.h). */
const MANGLE = -150;

/** The same for `nft -f`. A drop there is final, whatever other tables accept. */
export function guardTable({ port, device, subnet, inside, bridges }: GuardRules): string {
  const chain = (name: string, lines: readonly string[]) =>
    `\tchain ${name} {\n${lines.map((line) => `\t\t${line}\n`).join('')}\t}\n`;
  const hooked = (hook: string) =>
    chain(hook, [
      `type filter hook ${hook} priority ${MANGLE}; policy accept;`,
      `udp dport ${port} jump containers`,
    ]);
  const containers = chain('containers', [
    `oifname "${device}" return`,
    `ip daddr ${inside} return`,
    `ip saddr ${subnet} drop`,
    ...bridges.map((bridge) => `iifname "${bridge}" drop`),
  ]);
  return `table ${GUARD_TABLE} {\n${containers}${hooked('forward')}${hooked('input')}}\n`;
}
