/**
 * What on this host looks as if a weft had made it, for `weft down` where no journal says so: one
 * that ran in a container wrote its journal into that. A flanneld makes most of it, too, so it is
 * named and left.
 */
import fs from 'node:fs';
import { GUARD, GUARD_TABLE } from './firewall/guard-rules.js';
import { PLACES } from './firewall/iptables-rules.js';
import { TABLE } from './firewall/nftables-rules.js';
import { rowsOf } from './ip-rows.js';
import type { Runner } from './runner.js';

/**
 * A phrase for each, with what removes it. `files`: those that would be there. Throws a HostError when
 * `ip` says that all is well and lists nothing, not even an empty list.
 */
export async function findTraces(runner: Runner, files: readonly string[]): Promise<string[]> {
  const found = [...(await findTuns(runner)), ...(await findChains(runner))];
  found.push(...(await findTables(runner)));
  const there = files.filter((file) => fs.existsSync(file));
  return [...found, ...there.map((file) => `the file ${file} (rm ${file})`)];
}

interface Tun {
  readonly ifname?: string;
  readonly flags?: readonly string[];
}

async function findTuns(runner: Runner): Promise<string[]> {
  const argv = ['ip', '-j', 'link', 'show', 'type', 'tun'];
  const ran = await runner.run(argv).catch(() => null);
  const rows = (ran?.code === 0 ? rowsOf(argv, ran) : []) as Tun[];
  return rows.flatMap(({ ifname = '', flags = [] }) => {
    if (!/^flannel\.\d+$/.test(ifname)) return [];
    // Held open: its owner lives.
    if (flags.includes('LOWER_UP')) return [`the TUN ${ifname}, whose process runs`];
    return [`the TUN ${ifname} (ip link del ${ifname})`];
  });
}

async function findChains(runner: Runner): Promise<string[]> {
  const saved = await ask(runner, ['iptables-save']);
  return [...PLACES, GUARD].flatMap(({ table, chain }) => {
    if (!new RegExp(`^:${chain} `, 'm').test(saved)) return [];
    return [`the chain ${chain} in iptables' table ${table}, and what jumps to it`];
  });
}

async function findTables(runner: Runner): Promise<string[]> {
  const lines = (await ask(runner, ['nft', 'list', 'tables'])).split('\n');
  return [TABLE, GUARD_TABLE].flatMap((table) => {
    const listed = lines.includes(`table ${table}`);
    return listed ? [`the nft table ${table} (nft delete table ${table})`] : [];
  });
}

/** Where a program is not there or is refused, nothing of its kind is to be seen. */
async function ask(runner: Runner, argv: readonly string[]): Promise<string> {
  try {
    const { code, stdout } = await runner.run(argv);
    return code === 0 ? stdout : '';
  } catch {
    return '';
  }
}
