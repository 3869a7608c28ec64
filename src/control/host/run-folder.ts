/**
 * Where wefts keep their files: journal, control socket, saved network. Two network namespaces may
 * share one /run, and each may have a device of the same name, so each has a folder of its own:
 *
 *     /run/weft                  of the one whose weft came first, mostly the host's own
 *     /run/weft/net-4026532288   of any other, by the namespace's number
 *
 * Whose the first is, its journals say, and the sockets of wefts that are starting there.
 */
import fs from 'node:fs';
import path from 'node:path';
import { isStartingName, listListening, namespaceOfStarting } from './control-socket.js';
import { namespaceNumber, sameBoot } from './host-id.js';
import { type Content, journalFile, listJournals, readIfWhole } from './journal.js';

const FOLDER = 'net-';

/**
 * The folder of the network namespace that `hostId` names; the first where it names none. It need
 * not be there.
 */
export async function folderOf(base: string, hostId: string | undefined): Promise<string> {
  if (hostId === undefined) return base;
  const own = path.join(base, `${FOLDER}${namespaceNumber(hostId)}`);
  if (fs.existsSync(own)) return own;
  return (await isOfAnother(base, hostId)) ? own : base;
}

async function isOfAnother(base: string, hostId: string): Promise<boolean> {
  const named = journalsOf(base).flatMap(({ namespace }) => namespace ?? []);
  if (named.includes(hostId)) return false;
  // What a journal of an earlier boot tells of is gone, and its namespace too.
  if (named.some((other) => sameBoot(other, hostId))) return true;
  const starting = (await listListening(base)).flatMap((name) => namespaceOfStarting(name) ?? []);
  return starting.some((number) => number !== namespaceNumber(hostId));
}

/** Removes a folder that another network namespace than the first has no use for any more. */
export function removeIfUnused(folder: string, base: string): void {
  if (folder === base) return;
  try {
    fs.rmdirSync(folder);
  } catch {
    // Something is in it, or it was never made.
  }
}

/** A weft that runs in another network namespace. */
export interface Elsewhere {
  /** `net:[4026532288]`; `another` where that is not known. */
  readonly namespace: string;
  /** Its device; null while it is starting. */
  readonly device: string | null;
  /** Undefined while it is starting. */
  readonly journal: Content | undefined;
}

/** The wefts that run in other network namespaces than that of `folder`. */
export async function findElsewhere(base: string, folder: string): Promise<Elsewhere[]> {
  const found: Elsewhere[] = [];
  for (const other of listFolders(base)) {
    if (other === folder) continue;
    for (const name of await listListening(other)) {
      const starting = isStartingName(name);
      const journal = starting ? undefined : (readIfWhole(journalFile(name, other)) ?? undefined);
      const number =
        other === base
          ? (namespaceOfStarting(name) ?? namespaceNumber(journal?.namespace ?? ''))
          : path.basename(other).slice(FOLDER.length);
      const namespace = number === '' ? 'another' : `net:[${number}]`;
      found.push({ namespace, device: starting ? null : name, journal });
    }
  }
  return found;
}

/** `net:[4026532288] (flannel.1)`. */
export function describeElsewhere(found: readonly Elsewhere[]): string {
  return found.map(({ namespace, device }) => `${namespace} (${device ?? 'starting'})`).join(', ');
}

function listFolders(base: string): string[] {
  try {
    const names = fs.readdirSync(base).filter((name) => /^net-\d+$/.test(name));
    return [base, ...names.sort().map((name) => path.join(base, name))];
  } catch {
    return [];
  }
}

function journalsOf(folder: string): Content[] {
  return listJournals(folder).flatMap((name) => readIfWhole(journalFile(name, folder)) ?? []);
}
