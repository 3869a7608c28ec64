/**
 * iptables' tables, as `iptables-save -c` prints them, or `iptables -t TABLE -S -v`, which reads one
 * table alone.
 */
import { matchesOf } from './iptables-match.js';
import type { Action, Base, Chain, Hook, Rule, Table } from './model.js';

const HOOKS: Readonly<Record<string, Hook>> = {
  PREROUTING: 'prerouting',
  INPUT: 'input',
  FORWARD: 'forward',
  OUTPUT: 'output',
  POSTROUTING: 'postrouting',
};
/** As in linux/netfilter_ipv4.h. */
const PRIORITIES: Readonly<Record<string, number>> = {
  raw: -300,
  mangle: -150,
  filter: 0,
  security: 50,
};
/** The tables where packets may be dropped. */
export const TABLES: readonly string[] = Object.keys(PRIORITIES);

interface Draft {
  policy: 'accept' | 'drop';
  packets: number | undefined;
  readonly rules: Rule[];
}

/** `table` is that of a listing which does not name it. */
export function tablesIn(text: string, program: string, table = ''): Table[] {
  const tables: Table[] = [];
  let name = table;
  let drafts = new Map<string, Draft>();
  const draftOf = (chain: string): Draft => {
    const known = drafts.get(chain);
    if (known !== undefined) return known;
    const draft: Draft = { policy: 'accept', packets: undefined, rules: [] };
    drafts.set(chain, draft);
    return draft;
  };
  const close = () => {
    if (drafts.size > 0 && TABLES.includes(name)) tables.push(finish(program, name, drafts));
    drafts = new Map();
  };
  for (const line of text.split('\n')) {
    const [, counted, bare = ''] = /^(?:\[(\d+):\d+\] )?(.*?)\s*$/.exec(line) ?? [];
    const [, of = ''] = /^(?::|-[APN] )(\S+)/.exec(bare) ?? [];
    if (bare.startsWith('*')) {
      close();
      name = bare.slice(1);
    } else if (bare.startsWith('-A ')) draftOf(of).rules.push(ruleOf(bare, counted));
    else if (of !== '') Object.assign(draftOf(of), policyOf(bare));
  }
  close();
  return tables;
}

/** Of `:INPUT DROP [5:300]`, `-P INPUT DROP -c 5 300`, or a chain that has none. */
function policyOf(line: string): Pick<Draft, 'policy' | 'packets'> {
  const packets = /(?: \[| -c )(\d+)/.exec(line)?.[1];
  return {
    policy: / DROP\b/.test(line) ? 'drop' : 'accept',
    packets: packets === undefined ? undefined : Number(packets),
  };
}

function finish(program: string, name: string, drafts: ReadonlyMap<string, Draft>): Table {
  const chains = new Map<string, Chain>();
  for (const [chain, { policy, packets, rules }] of drafts) {
    const hook = HOOKS[chain];
    const base: Base | undefined =
      hook === undefined ? undefined : { hook, priority: PRIORITIES[name]!, devices: [] };
    chains.set(chain, { name: chain, base, policy, policyPackets: packets, rules });
  }
  return { program, family: 'ip', name, chains };
}

/** `line` without a counter before it; there may be one within. */
function ruleOf(line: string, counted: string | undefined): Rule {
  const within = / -c (\d+) \d+(?= |$)/.exec(line);
  const text = within === null ? line : line.replace(within[0], '');
  const words = wordsOf(text).slice(2);
  const at = words.findIndex((word, i) => isTarget(word) && words[i - 1] !== '--comment');
  const [flag, target = ''] = at < 0 ? [] : words.slice(at);
  const packets = counted ?? within?.[1];
  return {
    text,
    handle: undefined,
    packets: packets === undefined ? undefined : Number(packets),
    matches: matchesOf(at < 0 ? words : words.slice(0, at)),
    changes: changesOf(target, words.slice(at + 2)),
    choices: flag === undefined ? [] : [{ match: null, action: actionOf(flag, target) }],
  };
}

function isTarget(word: string): boolean {
  return word === '-j' || word === '-g';
}

/** Words, of which those in quotes may have spaces. */
function wordsOf(line: string): string[] {
  const found = line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g);
  return [...found].map(([, quoted, plain]) => quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '');
}

/** Targets that let the packet go on. */
const HARMLESS = [
  ...['LOG', 'NFLOG', 'ULOG', 'MARK', 'CONNMARK', 'TCPMSS', 'TCPOPTSTRIP', 'TOS', 'DSCP', 'TTL'],
  ...['ECN', 'CHECKSUM', 'CLASSIFY', 'SET', 'TRACE', 'AUDIT', 'SECMARK', 'CONNSECMARK', 'TEE'],
  ...['RATEEST', 'HMARK', 'LED', 'IDLETIMER', 'CT', 'NOTRACK', 'NETMAP'],
];
/** Targets of extensions that may end the packet's way. */
const UNKNOWN =
  /^(?:NFQUEUE|QUEUE|TPROXY|SYNPROXY|TARPIT|STEAL|CHAOS|DELUDE|[A-Z]*NAT|ACCOUNT|ECHO)$/;

function actionOf(flag: string, target: string): Action {
  if (flag === '-g') return { kind: 'goto', chain: target };
  if (target === 'ACCEPT') return { kind: 'accept' };
  if (target === 'DROP' || target === 'REJECT') return { kind: 'drop' };
  if (target === 'RETURN') return { kind: 'return' };
  if (HARMLESS.includes(target)) return { kind: 'next' };
  if (UNKNOWN.test(target)) return { kind: 'unknown' };
  // A chain, or a target that we do not know: of that there is no chain, and it is open.
  return { kind: 'jump', chain: target };
}

function changesOf(target: string, options: readonly string[]): ('mark' | 'untracked')[] {
  if (target === 'MARK' || target === 'CONNMARK' || target === 'HMARK') return ['mark'];
  return target === 'NOTRACK' || (target === 'CT' && options.includes('--notrack'))
    ? ['untracked']
    : [];
}
