/** Takes back what the journal of a device says weft made, and nothing else. */
import fs from 'node:fs';
import { isListening, socketPath } from './control-socket.js';
import { errnoOf, HostError, textOf } from './errors.js';
import { takeBackIptables } from './firewall/iptables.js';
import { takeBackNftables } from './firewall/nftables.js';
import { readHostId } from './host-id.js';
import { rowsOf } from './ip-rows.js';
import {
  describeOwner,
  type Entry,
  entriesHere,
  type IptablesTable,
  JOURNAL_DIRECTORY,
  journalFile,
  type NftTable,
  readJournal,
  writeJournal,
} from './journal.js';
import { findFlanneld } from './leftover.js';
import { isAlive } from './owner.js';
import type { Runner } from './runner.js';
import { readSysctl, sysctlCommand } from './sysctls.js';

/** The journal of what `weft docker-opts` wrote, beside those of the devices. */
export const DOCKER_OPTIONS = 'docker-opts';

export interface TakenBack {
  /** One sentence for each thing that was taken back or left, and why. */
  did: string[];
  /** One sentence for each thing that failed; the journal then keeps those for another try. */
  problems: string[];
}

/**
 * Takes back what weft made for `device`: its TUN, kernel routes, files and firewall rules that still
 * are as weft left them, last the journal itself. Harmless when repeated. Throws a
 * HostError while the owning process is alive or a flanneld runs in its place, when its TUN is still
 * held open, or when the journal is broken.
 */
export async function down(
  runner: Runner,
  device: string,
  directory = JOURNAL_DIRECTORY,
  proc = '/proc',
): Promise<TakenBack> {
  const file = journalFile(device, directory);
  const content = readJournal(file);
  if (content === null) {
    return { did: [`Nothing to take back: there is no journal ${file}.`], problems: [] };
  }
  if (isAlive(content.owner, proc) || (await isListening(socketPath(device, directory)))) {
    const who = describeOwner(content.owner, proc);
    throw new HostError(
      'EBUSY',
      `weft still runs for ${device} as process ${who}; stop it first ` +
        `(kill ${content.owner.pid}, or systemctl stop its unit)`,
    );
  }

  const flanneld = findFlanneld(proc);
  if (flanneld !== null) {
    throw new HostError(
      'EBUSY',
      `flanneld runs as process ${flanneld} and has taken over what weft left for ${device}, so ` +
        `nothing is taken back; to have weft forget it: rm ${file}`,
    );
  }

  const entries = entriesHere(content, readHostId(proc));
  await refuseHeld(entries, runner);

  const result: TakenBack = { did: [], problems: [] };
  if (entries.length < content.entries.length) {
    result.did.push(
      'What was made in a network namespace that is gone, or before a reboot, is gone.',
    );
  }
  const left: Entry[] = [];
  // The newest first, as things may stand on one another.
  for (const entry of [...entries].reverse()) {
    try {
      result.did.push(await takeBack(entry, runner, proc));
    } catch (error) {
      left.unshift(entry);
      result.problems.push(`${what(entry)} could not be taken back: ${textOf(error)}`);
    }
  }
  if (left.length > 0) {
    writeJournal(file, { ...content, entries: left });
    result.did.push(`The journal ${file} was kept for what is left.`);
  } else {
    fs.rmSync(file, { force: true });
    result.did.push(`The journal ${file} was removed.`);
  }
  return result;
}

function takeBack(entry: Entry, runner: Runner, proc: string): Promise<string> | string {
  switch (entry.kind) {
    case 'device':
      return takeBackDevice(entry.name, entry.index, runner);
    case 'sysctl':
      return leaveSysctl(entry.path, entry.old, proc);
    case 'file':
      return takeBackFile(entry.path, entry.wrote);
    case 'iptables':
      return takeBackTable(entry.table, entry.made, runner);
    case 'nftables':
      return takeBackNft(entry.table, entry.made, runner);
    case 'routes':
      return takeBackRoutes(entry.made, runner);
  }
}

/**
 * A TUN of ours that has a carrier is held by a live process, so the owner runs after all, out of
 * sight in another container. Throws before anything is touched.
 */
async function refuseHeld(entries: readonly Entry[], runner: Runner): Promise<void> {
  for (const entry of entries) {
    if (entry.kind !== 'device') continue;
    const link = await findLink(entry.name, runner);
    if (link === null || !isOurs(link, entry.index) || !link.flags?.includes('LOWER_UP')) continue;
    throw new HostError(
      'EBUSY',
      `${entry.name} is held open by a process that is not to be seen from here, as weft in ` +
        `another container; stop that first (or: ip link del ${entry.name})`,
    );
  }
}

async function takeBackDevice(name: string, index: number | null, runner: Runner): Promise<string> {
  const link = await findLink(name, runner);
  if (link === null) return `The device ${name} is gone.`;
  if (kindOf(link) !== 'tun') {
    return `The device ${name} was left: it is not a TUN but a ${kindOf(link)} device.`;
  }
  if (!isOurs(link, index)) return `The device ${name} was left: somebody else made it.`;
  const removed = await runner.run(['ip', 'link', 'del', 'dev', name]);
  if (removed.code !== 0) throw new Error(removed.stderr.trim());
  return `The device ${name} was deleted.`;
}

async function findLink(name: string, runner: Runner): Promise<LinkRow | null> {
  const argv = ['ip', '-j', '-d', 'link', 'show', 'dev', name];
  const shown = await runner.run(argv);
  if (shown.code !== 0 && /does not exist|Cannot find device/.test(shown.stderr)) return null;
  return (rowsOf(argv, shown) as LinkRow[])[0] ?? null;
}

function kindOf(link: LinkRow): string {
  return link.linkinfo?.info_kind ?? 'physical';
}

/**
 * Whether weft made this link. While the index was not yet known (a crash right after opening),
 * only a persistent TUN can be weft's: any other would have gone with the process.
 */
function isOurs(link: LinkRow, index: number | null): boolean {
  if (kindOf(link) !== 'tun') return false;
  return index === null ? link.linkinfo?.info_data?.persist === true : index === link.ifindex;
}

/**
 * An earlier weft switched forwarding on for the whole host. Who needs it by now, such as Docker's
 * running containers, cannot be told, so it stays.
 */
function leaveSysctl(key: string, old: string, proc: string): string {
  const name = key.replaceAll('/', '.');
  const now = readSysctl(key, proc);
  if (now === undefined) return `${name} is gone.`;
  if (now === old) return `${name} is ${old} already.`;
  return (
    `${name} was left at ${now}: an earlier weft set it, and others, such as Docker's containers, ` +
    `may need it by now; where nothing does: ${sysctlCommand(key, old)}`
  );
}

/** The lines that weft wrote; what others put beside them stays, and so does the file then. */
function takeBackFile(file: string, wrote: string): string {
  let target: string;
  let now: string;
  try {
    target = fs.realpathSync(file);
    now = fs.readFileSync(target, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return `The file ${file} is gone.`;
    throw error;
  }
  const ours = wrote.split('\n').filter((line) => line !== '');
  const lines = now.split('\n');
  if (!ours.every((line) => lines.includes(line))) {
    return `The file ${file} was left: it is not as weft wrote it.`;
  }
  const others = lines.filter((line) => !ours.includes(line));
  if (others.some((line) => line !== '')) {
    fs.writeFileSync(target, others.join('\n'));
    return `The lines of weft were taken out of ${file}; those of others stay.`;
  }
  fs.rmSync(target);
  return `The file ${file} was removed.`;
}

async function takeBackTable(
  table: IptablesTable,
  made: readonly string[],
  runner: Runner,
): Promise<string> {
  const found = await takeBackIptables(runner, table, made);
  return `The rules in iptables' table ${table} ${found ? 'were removed' : 'are gone'}.`;
}

async function takeBackNft(table: NftTable, made: string | null, runner: Runner): Promise<string> {
  switch (await takeBackNftables(runner, table, made)) {
    case 'deleted':
      return `The nft table ${table} was deleted.`;
    case 'gone':
      return `The nft table ${table} is gone.`;
    case 'left':
      return `The nft table ${table} was left: it holds what weft did not put there.`;
  }
}

/** All in one process; those that are gone already are no failure. */
async function takeBackRoutes(made: readonly string[], runner: Runner): Promise<string> {
  const input = made.map((name) => `route del ${name}\n`).join('');
  const { stderr } = await runner.run(['ip', '-force', '-batch', '-'], { input });
  const reasons = stderr.split('\n').filter((l) => l !== '' && !l.startsWith('Command failed'));
  const gone = reasons.filter((l) => /No such process|Cannot find device/.test(l));
  const other = reasons.find((l) => !gone.includes(l));
  if (other !== undefined) throw new Error(other);
  const removed = made.length - gone.length;
  if (removed === 0) return 'The routes are gone.';
  const rest = gone.length === 0 ? '' : `, ${gone.length} had gone`;
  return `${removed} route${removed === 1 ? ' was' : 's were'} removed${rest}.`;
}

function what(entry: Entry): string {
  switch (entry.kind) {
    case 'device':
      return `The device ${entry.name}`;
    case 'iptables':
      return `What weft put into iptables' table ${entry.table}`;
    case 'nftables':
      return `The nft table ${entry.table}`;
    case 'routes':
      return 'The routes';
    default:
      return `The ${entry.kind} ${entry.path}`;
  }
}

/** A row of `ip -j -d link show`, as far as it is read here. */
interface LinkRow {
  ifindex: number;
  flags?: string[];
  linkinfo?: { info_kind?: string; info_data?: { persist?: boolean } };
}
