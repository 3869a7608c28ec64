/**
 * Reads the rules of a host, where packets may be dropped: of nftables, and of both kinds of
 * iptables. A host may have tens of thousands of them, nearly all for translating addresses: those
 * are not read. Of nft's tables a list of all chains tells which are wanted; no table is made by
 * looking at it.
 */
import fs from 'node:fs';
import { errnoOf, HostError, textOf } from '../../../control/host/errors.js';
import { versionOf } from '../../../control/host/firewall/run-iptables.js';
import type { Runner } from '../../../control/host/runner.js';
import { TABLES, tablesIn } from './iptables-rules.js';
import { Kept } from './kept.js';
import type { Chain, Hook, Table } from './model.js';
import { type ChainHead, type Entry, entriesIn, headsIn, tableIn } from './nft-rules.js';

export interface Ruleset {
  readonly tables: readonly Table[];
  /** What was read, to see which addresses it names. */
  readonly text: string;
  /** How many chains nftables has, in whatever table; null where there is no nft. */
  readonly chains: number | null;
}

export type Read = Omit<Ruleset, 'chains'>;

/** Of a table with more chains just those are read that packets of ours can come to. */
const MANY_CHAINS = 300;
const FAMILIES = ['ip', 'inet', 'netdev'];
const STANDARD = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'];

interface Programs {
  /** For iptables' rules within nftables, and for those of older kernels. */
  readonly nft: string;
  readonly legacy: string;
  /** Whether `iptables` itself is the former. */
  readonly isNft: boolean;
}

/** Throws a HostError when the rules cannot be read. `kept`: of earlier looks. */
export async function readRuleset(
  runner: Runner,
  proc: string,
  kept = new Kept<Read>(),
): Promise<Ruleset> {
  const legacy = legacyTables(proc);
  const [heads, programs] = await Promise.all([chainsOf(runner), programsOf(runner)]);
  const read = await Promise.all([
    legacyOf(runner, programs.legacy, legacy),
    ...(heads === null && programs.isNft ? [allOf(runner)] : []),
    ...tablesOf(heads ?? []).map((own) =>
      kept.take(`${own[0]!.family} ${own[0]!.table}`, own.length, () =>
        readTable(runner, programs.nft, own),
      ),
    ),
  ]);
  return { ...sum(read), chains: heads?.length ?? null };
}

function sum(read: readonly Read[]): Read {
  return {
    tables: read.flatMap(({ tables }) => tables),
    text: read.map(({ text }) => text).join('\n'),
  };
}

/** All of nft's chains; null where there is no nft, none where the kernel has no nftables. */
async function chainsOf(runner: Runner): Promise<ChainHead[] | null> {
  const argv = ['nft', '-j', 'list', 'chains'];
  const ran = await runner.run(argv).catch((error: unknown) => {
    if (error instanceof HostError && error.code === 'ENOENT') return null;
    throw error;
  });
  if (ran === null) return null;
  const { code, stdout, stderr } = ran;
  if (code !== 0 && /not supported|No such file/i.test(stderr)) return [];
  if (code !== 0) throw refused(argv, code, stderr);
  return headsIn(parsed(argv, stdout));
}

/** Which tables of iptables-legacy there are. */
export function legacyTables(proc: string): string[] {
  try {
    const text = fs.readFileSync(`${proc}/net/ip_tables_names`, 'utf8');
    return text.split('\n').filter((name) => TABLES.includes(name));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw new HostError(errnoOf(error), textOf(error));
  }
}

async function programsOf(runner: Runner): Promise<Programs> {
  try {
    const { nft } = await versionOf(runner, 'iptables');
    return nft
      ? { nft: 'iptables', legacy: 'iptables-legacy', isNft: true }
      : { nft: 'iptables-nft', legacy: 'iptables', isNft: false };
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return { nft: 'iptables-nft', legacy: 'iptables-legacy', isNft: false };
  }
}

async function legacyOf(runner: Runner, program: string, names: readonly string[]): Promise<Read> {
  const read: Read[] = [];
  for (const name of names) {
    // The one listing that does not wait for iptables' lock.
    const text = await save(runner, [`${program}-save`, '-c', '-t', name]);
    read.push({ tables: tablesIn(text, program), text });
  }
  return sum(read);
}

/** Without nft nobody tells which tables there are, and to name one could make it. */
async function allOf(runner: Runner): Promise<Read> {
  const text = await save(runner, ['iptables-save', '-c']);
  return { tables: tablesIn(text, 'iptables'), text };
}

async function save(runner: Runner, argv: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runner.run(argv);
  if (code !== 0) throw refused(argv, code, stderr);
  return stdout;
}

/** The chains of each table that sees packets of ours by itself. */
function tablesOf(heads: readonly ChainHead[]): (readonly ChainHead[])[] {
  const tables = new Map<string, ChainHead[]>();
  for (const head of heads) {
    if (!FAMILIES.includes(head.family)) continue;
    const key = `${head.family} ${head.table}`;
    const own = tables.get(key) ?? [];
    if (own.push(head) === 1) tables.set(key, own);
  }
  return [...tables.values()].filter((own) => own.some(isWanted));
}

/** Chains of the type nat see the first packet of a flow alone, and are there to translate it. */
function isWanted({ base, type }: ChainHead): boolean {
  return base !== undefined && type !== 'nat';
}

async function readTable(
  runner: Runner,
  iptables: string,
  heads: readonly ChainHead[],
): Promise<Read> {
  const { family, table: name } = heads[0]!;
  const isIptables =
    family === 'ip' &&
    TABLES.includes(name) &&
    heads.every((head) => head.base === undefined || STANDARD.includes(head.name));
  if (isIptables) {
    const listed = await listing(runner, [iptables, '-t', name, '-S', '-v']);
    if (listed !== null && !/incompatible/.test(listed)) {
      return { tables: tablesIn(listed, iptables, name), text: listed };
    }
  }
  const read = heads.length > MANY_CHAINS ? reachable : whole;
  const { entries, text } = await read(runner, heads);
  const devices = await devicesOf(runner, family, heads);
  return { tables: [placed(tableIn(entries, family, name), heads, devices)], text };
}

interface Entries {
  readonly entries: readonly Entry[];
  readonly text: string;
}

async function whole(runner: Runner, [head]: readonly ChainHead[]): Promise<Entries> {
  const argv = ['nft', '-j', 'list', 'table', head!.family, head!.table];
  const text = (await listing(runner, argv)) ?? '{}';
  return { entries: parsed(argv, text), text };
}

/** Chain by chain. What its named sets hold stays unknown. */
async function reachable(runner: Runner, heads: readonly ChainHead[]): Promise<Entries> {
  const read = new Map<string, Entries>();
  let next = heads.filter(isWanted).map(({ name }) => name);
  while (next.length > 0 && read.size < MANY_CHAINS) {
    const targets: string[] = [];
    for (const name of next) {
      if (read.has(name)) continue;
      const { family, table } = heads[0]!;
      const argv = ['nft', '-j', 'list', 'chain', family, table, name];
      const text = (await listing(runner, argv)) ?? '{}';
      read.set(name, { entries: parsed(argv, text), text });
      for (const [, to] of text.matchAll(/"target": "([^"]+)"/g)) targets.push(to!);
    }
    next = targets;
  }
  const all = [...read.values()];
  return {
    entries: all.flatMap(({ entries }) => entries),
    text: all.map(({ text }) => text).join('\n'),
  };
}

/** Devices of base chains, where older versions of `nft -j` leave them out. */
async function devicesOf(
  runner: Runner,
  family: string,
  heads: readonly ChainHead[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  const devices = new Map<string, readonly string[]>();
  const isOpen = ({ base }: ChainHead) =>
    base !== undefined && isOfDevice(base.hook) && base.devices.length === 0;
  if (!heads.some(isOpen)) return devices;
  const text = (await listing(runner, ['nft', 'list', 'chains', family])) ?? '';
  let [table, chain] = ['', ''];
  for (const line of text.split('\n')) {
    table = /^table \S+ (\S+)/.exec(line)?.[1] ?? table;
    chain = /^\s+chain (\S+)/.exec(line)?.[1] ?? chain;
    const [, words] = /hook (?:ingress|egress) (.*) priority/.exec(line) ?? [];
    if (words === undefined || table !== heads[0]!.table) continue;
    devices.set(
      chain,
      words.match(/[^\s"{},=]+/g)?.filter((word) => !/^devices?$/.test(word)) ?? [],
    );
  }
  return devices;
}

function isOfDevice(hook: Hook): boolean {
  return hook === 'ingress' || hook === 'egress';
}

/** With the devices, and without base chains that do not concern us. */
function placed(
  table: Table,
  heads: readonly ChainHead[],
  devices: ReadonlyMap<string, readonly string[]>,
): Table {
  const chains = new Map<string, Chain>();
  for (const chain of table.chains.values()) {
    const head = heads.find(({ name }) => name === chain.name);
    const base = head === undefined || !isWanted(head) ? undefined : chain.base;
    const found = devices.get(chain.name);
    chains.set(chain.name, {
      ...chain,
      base: base === undefined || found === undefined ? base : { ...base, devices: found },
    });
  }
  return { ...table, chains };
}

/** What is printed; null when it is gone meanwhile, or this program cannot show it. */
async function listing(runner: Runner, argv: readonly string[]): Promise<string | null> {
  const ran = await runner.run(argv).catch((error: unknown) => {
    if (error instanceof HostError && error.code === 'ENOENT') return null;
    throw error;
  });
  if (ran === null) return null;
  const { code, stdout, stderr } = ran;
  if (argv[0] !== 'nft') return code === 0 ? stdout + stderr : null;
  if (code === 0) return stdout;
  if (/No such file/.test(stderr)) return null;
  throw refused(argv, code, stderr);
}

function parsed(argv: readonly string[], text: string): readonly Entry[] {
  try {
    return entriesIn(text);
  } catch {
    throw new HostError('ENFT', `what ${argv.join(' ')} prints cannot be read`);
  }
}

function refused(argv: readonly string[], code: number | null, stderr: string): HostError {
  const why = stderr.trim().split('\n')[0] || (code === null ? 'was killed' : `exit ${code}`);
  return new HostError('ENFT', `${argv.join(' ')}: ${why}`);
}
