/** nft's tables, from what `nft -j` prints of them. */
import type { Action, Base, Chain, Choice, Hook, Match, Rule, Table } from './model.js';
import { choicesOf, matchOf, type Sets } from './nft-match.js';
import { actionOf } from './nft-verdict.js';

/** An entry of `"nftables": […]`: `{"chain": {…}}`. */
export type Entry = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export interface ChainHead {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly base: Base | undefined;
  /** Chains of the type nat see but the first packet of a flow. */
  readonly type: string | undefined;
  readonly policy: 'accept' | 'drop';
}

const HOOKS: readonly Hook[] = [
  ...(['ingress', 'prerouting', 'input', 'forward'] as const),
  ...(['output', 'postrouting', 'egress'] as const),
];

/** Throws a SyntaxError. */
export function entriesIn(text: string): readonly Entry[] {
  const { nftables } = JSON.parse(text) as { nftables?: readonly Entry[] };
  return nftables ?? [];
}

export function headsIn(entries: readonly Entry[]): ChainHead[] {
  return entries.flatMap(({ chain }) => (chain === undefined ? [] : [headOf(chain)]));
}

function headOf(chain: Readonly<Record<string, unknown>>): ChainHead {
  const hook = HOOKS.find((name) => name === chain.hook);
  const { dev } = chain;
  const devices = Array.isArray(dev) ? dev.map(String) : typeof dev === 'string' ? [dev] : [];
  return {
    family: String(chain.family),
    table: String(chain.table),
    name: String(chain.name),
    type: typeof chain.type === 'string' ? chain.type : undefined,
    base: hook === undefined ? undefined : { hook, priority: Number(chain.prio ?? 0), devices },
    policy: chain.policy === 'drop' ? 'drop' : 'accept',
  };
}

/** `family` and `name` of a table, out of whatever entries there are. */
export function tableIn(entries: readonly Entry[], family: string, name: string): Table {
  const isIts = (of: Readonly<Record<string, unknown>> | undefined) =>
    of !== undefined && of.family === family && of.table === name;
  const sets = new Map<string, readonly unknown[]>();
  for (const entry of entries) {
    const set = entry.set ?? entry.map;
    if (set === undefined || !isIts(set)) continue;
    const elements = elementsOf(set);
    if (elements !== undefined) sets.set(String(set.name), elements);
  }
  const rules = new Map<string, Rule[]>();
  const chains = new Map<string, Chain>();
  for (const head of headsIn(entries)) {
    if (head.family !== family || head.table !== name) continue;
    const own: Rule[] = [];
    rules.set(head.name, own);
    const { base, policy } = head;
    chains.set(head.name, { name: head.name, base, policy, policyPackets: undefined, rules: own });
  }
  for (const { rule } of entries) {
    if (rule !== undefined && isIts(rule)) rules.get(String(rule.chain))?.push(ruleOf(rule, sets));
  }
  return { program: 'nft', family, name, chains };
}

/** What is in a set; undefined where packets put it there, or it runs out. */
function elementsOf(set: Readonly<Record<string, unknown>>): readonly unknown[] | undefined {
  const flags = Array.isArray(set.flags) ? (set.flags as unknown[]) : [set.flags];
  if (flags.includes('timeout') || flags.includes('dynamic')) return undefined;
  return Array.isArray(set.elem) ? (set.elem as unknown[]) : [];
}

function ruleOf(rule: Readonly<Record<string, unknown>>, sets: Sets): Rule {
  const statements = Array.isArray(rule.expr) ? (rule.expr as unknown[]) : [];
  const matches: Match[] = [];
  const changes: ('mark' | 'untracked')[] = [];
  const choices: Choice[] = [];
  let packets: number | undefined;
  for (const statement of statements) {
    const action = actionOf(statement);
    const [word, value] = Object.entries((statement ?? {}) as object)[0] ?? [];
    if (action !== undefined) choices.push({ match: null, action });
    else if (word === 'vmap') choices.push(...choicesOf(value?.key, value?.data, sets));
    else if (word === 'match') matches.push(matchOf(value?.op, value?.left, value?.right, sets));
    else if (word === 'counter') packets = packetsOf(value);
    else if (word === 'mangle')
      changes.push(...(value?.key?.meta?.key === 'mark' ? ['mark' as const] : []));
    else if (word === 'notrack') changes.push('untracked');
    else if (word === 'xt') addXt(value, matches, choices);
    else if (word === 'set' && value?.stmt !== undefined) matches.push(() => undefined);
    else if (HARMLESS.includes(word ?? '')) continue;
    else if (ENDS.includes(word ?? '')) choices.push({ match: null, action: UNKNOWN });
    else matches.push(() => undefined);
  }
  const handle = typeof rule.handle === 'number' ? rule.handle : undefined;
  return { text: undefined, handle, packets, matches, changes, choices };
}

const UNKNOWN: Action = { kind: 'unknown' };
/** Statements that neither ask nor end. */
const HARMLESS = [
  'log',
  'ct helper',
  'ct timeout',
  'ct expectation',
  'set',
  'map',
  'flow',
  'dup',
  'last',
  'secmark',
];
/** Where the packet may be taken elsewhere. */
const ENDS = ['queue', 'fwd', 'tproxy', 'synproxy', 'masquerade', 'snat', 'dnat', 'redirect'];

/** iptables' extensions, which nft cannot show. */
function addXt(xt: unknown, matches: Match[], choices: Choice[]): void {
  const { type, name } = (xt ?? {}) as { type?: unknown; name?: unknown };
  if (type === 'match') {
    if (name !== 'comment') matches.push(() => undefined);
  } else if (name === 'REJECT') choices.push({ match: null, action: { kind: 'drop' } });
  else choices.push({ match: null, action: UNKNOWN });
}

function packetsOf(counter: unknown): number | undefined {
  const packets = (counter as { packets?: unknown } | null)?.packets;
  return typeof packets === 'number' ? packets : undefined;
}
