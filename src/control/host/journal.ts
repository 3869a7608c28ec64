/**
 * What weft made on this host, kept in `/run/weft/<device>.json`, so that `weft down` can take
 * back exactly that. A file is recorded before it is made: a crash in between leaves an
 * entry without a thing, which is harmless, never a thing without an entry. A TUN is recorded when
 * its index is known, since by its name alone another's could be taken for ours; until then, and
 * always while it is not persistent, it goes with the process.
 *
 * A folder that is full or read-only stops nothing: what cannot be written is kept in memory and
 * tried again each period, and is a fault while it lasts.
 */
import fs from 'node:fs';
import path from 'node:path';
import { isListening, socketPath } from './control-socket.js';
import { errnoOf, HostError, textOf } from './errors.js';
import { readHostId } from './host-id.js';
import { isAlive, type Owner, readOwner } from './owner.js';

/** Where journals live, unless told. A tmpfs: what they describe does not survive a reboot either. */
export const JOURNAL_DIRECTORY = '/run/weft';

export type IptablesTable = 'nat' | 'filter' | 'mangle';
export type NftTable = 'ip flannel-ipv4' | 'ip weft-guard';

/** Something made. */
export type Entry =
  /** A TUN. `index` is null from before the device is opened until its number is known. */
  | { kind: 'device'; name: string; index: number | null }
  /** Of an earlier weft: a file under /proc/sys, by its path there (`net/ipv4/ip_forward`). */
  | { kind: 'sysctl'; path: string; old: string; wrote: string }
  /** A file with just this content. */
  | { kind: 'file'; path: string; wrote: string }
  /** Rules of a table of iptables, as `iptables-save` prints them. */
  | { kind: 'iptables'; table: IptablesTable; made: readonly string[] }
  /** A table of nft, as `nft list` prints it; null until that is known. */
  | { kind: 'nftables'; table: NftTable; made: string | null }
  /** Kernel routes that do not go with a device of ours, each as `ip route del` wants it. */
  | { kind: 'routes'; made: readonly string[] };

/** What tells one entry from another. */
export type EntryName =
  | { kind: 'device'; name: string }
  | { kind: 'sysctl' | 'file'; path: string }
  | { kind: 'iptables'; table: IptablesTable }
  | { kind: 'nftables'; table: NftTable }
  | { kind: 'routes' };

export interface Content {
  version: 1;
  owner: Owner;
  /** The owner's `readHostId`; an earlier weft did not tell. */
  namespace?: string;
  entries: Entry[];
}

/** An open journal: the daemon's side. */
export class Journal {
  readonly file: string;
  readonly #owner: Owner;
  readonly #namespace: string | undefined;
  readonly #entries: Entry[];
  /** Why the file is not as it is to be. */
  #problem: HostError | undefined;

  private constructor(file: string, owner: Owner, namespace: string | undefined, entries: Entry[]) {
    this.file = file;
    this.#owner = owner;
    this.#namespace = namespace;
    this.#entries = entries;
  }

  /**
   * Opens the journal of `device`, keeping what an earlier run recorded (its rules are still to be
   * taken back one day), and makes this process its owner. Throws a HostError when another live
   * process owns it, as far as a process id tells (see `refuseInUse`), or the file is broken or
   * cannot be read, as where its folder is none.
   */
  static open(
    device: string,
    directory = JOURNAL_DIRECTORY,
    proc = '/proc',
    pid = process.pid,
  ): Journal {
    const file = journalFile(device, directory);
    const owner = readOwner(pid, proc);
    if (owner === null) throw new HostError('ENOENT', `${proc}/${pid}/stat cannot be read`);
    const content = readJournal(file);
    if (content !== null && content.owner.pid !== owner.pid && isAlive(content.owner, proc)) {
      throw inUse(device, content, proc);
    }
    const namespace = readHostId(proc);
    const entries = content === null ? [] : entriesHere(content, namespace);
    const journal = new Journal(file, owner, namespace, entries);
    journal.#write();
    return journal;
  }

  /** For the loop. */
  get name(): string {
    return this.file;
  }

  /** Writes what could not be written, or was removed. Rejects with a HostError while it cannot. */
  async reconcile(): Promise<string[]> {
    if (this.#problem === undefined && fs.existsSync(this.file)) return [];
    this.#write();
    if (this.#problem !== undefined) throw this.#problem;
    return [`wrote ${this.file}`];
  }

  /** Records a thing that is about to be made, or what has become known about it. */
  record(entry: Entry): void {
    const at = this.#entries.findIndex((e) => identity(e) === identity(entry));
    if (at < 0) this.#entries.push(entry);
    else this.#entries[at] = entry;
    this.#write();
  }

  /** Takes out a thing that is gone, such as the device, which goes with the process. */
  forget(name: EntryName): void {
    const at = this.#entries.findIndex((entry) => identity(entry) === identity(name));
    if (at < 0) return;
    this.#entries.splice(at, 1);
    this.#write();
  }

  /** The kernel routes in it. */
  get routes(): readonly string[] {
    return this.#entries.flatMap((entry) => (entry.kind === 'routes' ? entry.made : []));
  }

  /** The rules of a table of iptables in it. */
  rulesIn(table: IptablesTable): readonly string[] {
    return this.#entries.flatMap((e) => (e.kind === 'iptables' && e.table === table ? e.made : []));
  }

  /**
   * Takes over the kernel routes that `ours` accepts from runs under another name (another VNI,
   * another backend) that have ended, so that they do not stay for ever. `running`: the names that
   * a weft listens under, be it one that is not in `proc`.
   */
  inheritRoutes(
    ours: (name: string) => boolean,
    proc = '/proc',
    running: readonly string[] = [],
  ): void {
    const directory = path.dirname(this.file);
    for (const name of listJournals(directory)) {
      const file = journalFile(name, directory);
      const content = file === this.file ? null : readIfWhole(file);
      if (content === null || isAlive(content.owner, proc) || running.includes(name)) continue;
      if (entriesHere(content, this.#namespace) !== content.entries) continue;
      const theirs = content.entries.flatMap((e) => (e.kind === 'routes' ? e.made : []));
      const taken = theirs.filter(ours);
      if (taken.length === 0) continue;
      this.record({ kind: 'routes', made: [...new Set([...this.routes, ...taken])] });
      const others = content.entries.filter(({ kind }) => kind !== 'routes');
      const rest = theirs.filter((route) => !ours(route));
      if (rest.length > 0) others.push({ kind: 'routes', made: rest });
      try {
        if (others.length > 0) writeJournal(file, { ...content, entries: others });
        else fs.rmSync(file, { force: true });
      } catch {
        // Named twice, a route is taken back once.
      }
    }
  }

  /** Removes a journal that names nothing, as after a start that failed early. */
  removeIfEmpty(): void {
    if (this.#entries.length === 0) fs.rmSync(this.file, { force: true });
  }

  #write(): void {
    const [owner, namespace, entries] = [this.#owner, this.#namespace, this.#entries];
    try {
      writeJournal(this.file, {
        version: 1,
        owner,
        ...(namespace === undefined ? {} : { namespace }),
        entries,
      });
      this.#problem = undefined;
    } catch (error) {
      this.#problem = new HostError(
        errnoOf(error),
        `${textOf(error)}; weft goes on, tries again, and weft down will not know what is not ` +
          'written there',
      );
    }
  }
}

/**
 * Throws a HostError while a weft runs whose journal that is, here or in another container that
 * shares the folder and the network namespace.
 */
export async function refuseInUse(
  device: string,
  directory = JOURNAL_DIRECTORY,
  proc = '/proc',
): Promise<void> {
  const content = readIfWhole(journalFile(device, directory));
  if (content !== null && (await isListening(socketPath(device, directory)))) {
    throw inUse(device, content, proc);
  }
}

function inUse(device: string, { owner, namespace }: Content, proc: string): HostError {
  const here = readHostId(proc);
  if (namespace !== undefined && here !== undefined && namespace !== here) {
    const what = 'was taken just now by a weft in another network namespace; start again';
    return new HostError('EBUSY', `the journal of ${device} ${what}`);
  }
  const who = describeOwner(owner, proc);
  return new HostError(
    'EBUSY',
    `${device} is in use by the running weft with process id ${who}; stop that first`,
  );
}

/** `4711`; of one that is not to be seen from here, the number is its container's. */
export function describeOwner(owner: Owner, proc = '/proc'): string {
  return `${owner.pid}${isAlive(owner, proc) ? '' : ' in another container'}`;
}

/**
 * What of it may still be there: of another network namespace, or of an earlier boot, the files
 * alone, since all else went with it.
 */
export function entriesHere(content: Content, namespace: string | undefined): Entry[] {
  const { entries } = content;
  const foreign = content.namespace !== undefined && namespace !== undefined;
  if (!foreign || content.namespace === namespace) return entries;
  return entries.filter(({ kind }) => kind === 'file');
}

/** The devices that have a journal. */
export function listJournals(directory: string): string[] {
  try {
    return fs
      .readdirSync(directory)
      .filter((name) => name.endsWith('.json'))
      .map((name) => name.slice(0, -'.json'.length));
  } catch {
    return [];
  }
}

/** The path of a device's journal. */
export function journalFile(device: string, directory = JOURNAL_DIRECTORY): string {
  return path.join(directory, `${device}.json`);
}

/** The journal's content, or null if there is none. Throws a HostError naming a broken file. */
export function readJournal(file: string): Content | null {
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw new HostError(errnoOf(error), `cannot read the journal ${file}: ${textOf(error)}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = null;
  }
  if (isContent(value)) return value;
  throw new HostError(
    'EBADMSG',
    `the journal ${file} is broken; look at it, take back by hand what it names, and delete it`,
  );
}

/** Another's broken journal is no hindrance to us; `weft down` names it. */
export function readIfWhole(file: string): Content | null {
  try {
    return readJournal(file);
  } catch {
    return null;
  }
}

/** Replaces the journal in one step: a reader sees the old one or the new one. */
export function writeJournal(file: string, content: Content): void {
  const next = `${file}.new`;
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o755 });
    fs.writeFileSync(next, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o644, flush: true });
    fs.renameSync(next, file);
  } catch (error) {
    removeQuietly(next);
    throw new HostError(
      errnoOf(error) || 'EIO',
      `cannot write the journal ${file} (${textOf(error)})`,
    );
  }
}

/** What was written of it takes room that may be short. */
function removeQuietly(file: string): void {
  try {
    fs.rmSync(file, { force: true });
  } catch {
    // As read-only as before.
  }
}

function identity(entry: EntryName): string {
  switch (entry.kind) {
    case 'device':
      return `device ${entry.name}`;
    case 'iptables':
      return `iptables ${entry.table}`;
    case 'nftables':
      return `nftables ${entry.table}`;
    case 'routes':
      return entry.kind;
    default:
      return `${entry.kind} ${entry.path}`;
  }
}

function isContent(value: unknown): value is Content {
  if (!isObject(value) || value.version !== 1 || !isObject(value.owner)) return false;
  if (value.namespace !== undefined && typeof value.namespace !== 'string') return false;
  const { pid, startTime } = value.owner;
  if (!Number.isInteger(pid) || typeof startTime !== 'string') return false;
  return Array.isArray(value.entries) && value.entries.every(isEntry);
}

function isEntry(value: unknown): value is Entry {
  if (!isObject(value)) return false;
  const isText = (key: string) => typeof value[key] === 'string';
  switch (value.kind) {
    case 'device':
      return isText('name') && (value.index === null || Number.isInteger(value.index));
    case 'sysctl':
      return isText('path') && isText('old') && isText('wrote');
    case 'file':
      return isText('path') && isText('wrote');
    case 'iptables':
      return ['nat', 'filter', 'mangle'].includes(String(value.table)) && isLines(value.made);
    case 'routes':
      return isLines(value.made);
    case 'nftables':
      // An earlier weft had one table, and did not name it.
      value.table ??= 'ip flannel-ipv4';
      return (
        ['ip flannel-ipv4', 'ip weft-guard'].includes(String(value.table)) &&
        (value.made === null || isText('made'))
      );
    default:
      return false;
  }
}

function isLines(value: unknown): boolean {
  return Array.isArray(value) && value.every((line) => typeof line === 'string');
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
