/**
 * flannel's rules as `iptables-save` prints them, and what mends a table that is not so, whoever's
 * rules they are. Nothing here runs a program.
 *
 * Whatever carries flannel's comment is ours, whoever made it: rules of an earlier network, or
 * those that flannel up to 0.19 kept in POSTROUTING and FORWARD themselves. All else belongs to
 * others and stays, behind ours when it stands in our chain.
 *
 * Where iptables has no comments, ours are without: then they are known word for word.
 */
import type { IptablesTable } from '../journal.js';
import { KUBE_MARK, MULTICAST, type Rules } from './rules.js';

/** Where rules are in a table: a chain of their own, and a jump to it from each hook. */
export interface Place {
  readonly table: IptablesTable;
  readonly hooks: readonly string[];
  readonly chain: string;
  /** By which a rule is known. */
  readonly comment: string;
  /** Whose the rules are, for the log. */
  readonly owner: 'flannel' | 'weft';
}

export const NAT: Place = {
  table: 'nat',
  hooks: ['POSTROUTING'],
  chain: 'FLANNEL-POSTRTG',
  comment: 'flanneld masq',
  owner: 'flannel',
};
export const FILTER: Place = {
  table: 'filter',
  hooks: ['FORWARD'],
  chain: 'FLANNEL-FWD',
  comment: 'flanneld forward',
  owner: 'flannel',
};
export const PLACES: readonly Place[] = [FILTER, NAT];

/**
 * flannel's rules: the jump first, then the chain from top to bottom; empty when none are wanted.
 * `bare`: without comments.
 */
export function linesOf(place: Place, rules: Rules, bare = false): string[] {
  const { network: n, subnet: s, fullyRandom } = rules;
  const rule = (match: string, target: string) =>
    `-A ${place.chain} ${match} ${commentOf(place, bare)}-j ${target}`;
  if (place === NAT) {
    const masquerade = `MASQUERADE${fullyRandom ? ' --random-fully' : ''}`;
    return !rules.masquerade
      ? []
      : [
          ...jumpsTo(place, '', bare),
          rule(`-m mark --mark ${KUBE_MARK}/${KUBE_MARK}`, 'RETURN'),
          rule(`-s ${s} -d ${n}`, 'RETURN'),
          rule(`-s ${n} -d ${s}`, 'RETURN'),
          // What comes from outside to our containers keeps its source.
          rule(`! -s ${n} -d ${s}`, 'RETURN'),
          rule(`-s ${n} ! -d ${MULTICAST}`, masquerade),
          rule(`! -s ${n} -d ${n}`, masquerade),
        ];
  }
  return rules.forward
    ? [...jumpsTo(place, '', bare), rule(`-s ${n}`, 'ACCEPT'), rule(`-d ${n}`, 'ACCEPT')]
    : [];
}

/** A jump from each hook, for packets that match. */
export function jumpsTo(place: Place, match = '', bare = false): string[] {
  const { hooks, chain } = place;
  return hooks.map((hook) => `-A ${hook} ${match}${commentOf(place, bare)}-j ${chain}`);
}

export function commentOf({ comment }: Place, bare: boolean): string {
  return bare ? '' : `-m comment --comment "${comment}" `;
}

/** A table as `iptables-save` printed it. */
export interface Saved {
  /** Whether our chain is there. */
  readonly chain: boolean;
  /** Every rule, `-A …`. */
  readonly lines: readonly string[];
}

/** Reads one table out of `iptables-save`, which may have printed others too. */
export function parseSaved({ table, chain }: Pick<Place, 'table' | 'chain'>, text: string): Saved {
  const all = text.split('\n').map((line) => line.trim());
  const from = all.indexOf(`*${table}`);
  const own = from < 0 ? [] : all.slice(from + 1, all.indexOf('COMMIT', from));
  return {
    chain: own.some((line) => line.startsWith(`:${chain} `)),
    lines: own.filter((line) => line.startsWith('-A ')),
  };
}

/** Whether iptables says that the table holds rules of nft's that it cannot show. */
export function isHidden({ table }: Place, text: string): boolean {
  return text.includes(`Table \`${table}' is incompatible`);
}

/** Whether a rule belongs there, by its comment. */
export function isOf({ comment }: Place, line: string): boolean {
  return line.includes(`--comment "${comment}"`);
}

/** What is to be done to a table. */
export interface Mending {
  /** For `iptables-restore --noflush`, which does all of it or nothing. */
  readonly input: string;
  /** One phrase for each thing that was not as wanted. */
  readonly wrong: readonly string[];
}

/**
 * What makes the table hold `wanted`: null when it does. `printed` is how this iptables prints
 * those same lines, where that is known to differ. `isOurs` tells which rules may be removed.
 */
export function mend(
  place: Place,
  saved: Saved,
  wanted: readonly string[],
  printed: readonly string[] = wanted,
  isOurs = (line: string) => isOf(place, line),
): Mending | null {
  const { hooks, chain, owner } = place;
  const jumps = printed.slice(0, hooks.length);
  const { ours, others, inHooks } = sort(place, saved, isOurs);
  const inChain = saved.lines.filter((line) => line.startsWith(`-A ${chain} `));
  const rules = printed.slice(hooks.length);
  const inPlace = rules.every((line, i) => inChain[i] === line) && ours.length === rules.length;

  const wrong: string[] = [];
  const input: string[] = [];
  if (!inPlace || !saved.chain) {
    wrong.push(`${chain} ${describe(place, saved.chain, inChain, ours, rules)}`);
    // To name a chain empties it, or makes it.
    input.push(`:${chain} - [0:0]`, ...wanted.slice(hooks.length), ...others);
  }
  for (const [i, hook] of hooks.entries()) {
    const here = inHooks.filter((line) => line.startsWith(`-A ${hook} `));
    const right = here.filter((line) => line === jumps[i]);
    const strays = here.filter((line) => line !== jumps[i]);
    if (strays.length > 0) wrong.push(`${hook} held ${count(strays, 'old rule')} of ${owner}'s`);
    if (right.length === 0) wrong.push(`${hook} had no jump to ${chain}`);
    if (right.length > 1) wrong.push(`${hook} jumped to ${chain} ${right.length} times`);
    input.push(...strays.map(deletion), ...right.slice(1).map(deletion));
    if (right.length === 0) input.push(wanted[i]!);
  }
  return wrong.length === 0 ? null : { input: transaction(place, input), wrong };
}

/**
 * What takes out of the table the rules that `isOurs` says are to go, and the chain and the jump
 * with them unless somebody else uses the chain: null when nothing of it is there.
 */
export function clean(
  place: Place,
  saved: Saved,
  isOurs = (line: string) => isOf(place, line),
): Mending | null {
  const { hooks, chain, owner } = place;
  const { ours, others, inHooks, used } = sort(place, saved, isOurs);
  const keep = others.length > 0;
  const isJump = (line: string) => line.endsWith(` -j ${chain}`);
  const input = inHooks.filter((line) => !(keep && isJump(line))).map(deletion);
  if (ours.length > 0) input.push(`:${chain} - [0:0]`, ...others);
  if (saved.chain && !keep && !used) input.push(`-F ${chain}`, `-X ${chain}`);
  if (input.length === 0) return null;
  return {
    input: transaction(place, input),
    wrong: [`${hooks.join(' and ')} and ${chain} held ${owner}'s rules`],
  };
}

/** A table's lines by whose they are. `inHooks` are ours. */
function sort({ hooks, chain }: Place, saved: Saved, isOurs: (line: string) => boolean) {
  const within = (name: string) => saved.lines.filter((line) => line.startsWith(`-A ${name} `));
  return {
    ours: within(chain).filter(isOurs),
    others: within(chain).filter((line) => !isOurs(line)),
    inHooks: hooks.flatMap(within).filter(isOurs),
    /** Whether somebody else jumps to our chain. */
    used: saved.lines.some((line) => !isOurs(line) && ` ${line} `.includes(` ${chain} `)),
  };
}

function describe(
  { owner }: Place,
  there: boolean,
  inChain: readonly string[],
  ours: readonly string[],
  rules: readonly string[],
): string {
  if (!there) return 'was gone';
  const missing = rules.filter((line) => !ours.includes(line));
  const extra = ours.filter((line) => !rules.includes(line));
  const what = [
    ...(missing.length > 0 ? [`lacked ${count(missing, 'rule')}`] : []),
    ...(extra.length > 0 ? [`held ${count(extra, 'other rule')} of ${owner}'s`] : []),
  ];
  if (what.length > 0) return what.join(' and ');
  if (ours.length > rules.length) return 'held a rule twice';
  const order = ours.every((line, i) => line === rules[i]);
  return order && inChain.length > ours.length
    ? 'had rules of others before ours'
    : 'was out of order';
}

function count(lines: readonly string[], what: string): string {
  return `${lines.length} ${what}${lines.length === 1 ? '' : 's'}`;
}

function deletion(line: string): string {
  return line.replace('-A ', '-D ');
}

export function transaction({ table }: Pick<Place, 'table'>, input: readonly string[]): string {
  return `*${table}\n${input.join('\n')}\nCOMMIT\n`;
}

/**
 * Rules that take every packet before it reaches our jump, as `-A POSTROUTING -j MASQUERADE`; one a
 * hook. Those that drop it, operate/findings/firewall tells; and what is accepted before flannel's
 * rules that accept it is none the worse.
 */
export function obstacles(place: Place, saved: Saved): string[] {
  if (place.table === 'filter') return [];
  return place.hooks.flatMap((hook) => {
    const inHook = saved.lines.filter((line) => line.startsWith(`-A ${hook} `));
    const jump = inHook.findIndex((line) => line.endsWith(` -j ${place.chain}`));
    const before = inHook.slice(0, Math.max(jump, 0));
    const found = before.find((line) =>
      /^-A \S+ -j (?:ACCEPT|RETURN|MASQUERADE|SNAT)\b/.test(line),
    );
    return found ?? [];
  });
}
