/** Finds the weft that a command is about, and asks it. */

import fs from 'node:fs';
import path from 'node:path';
import { journalFile, readJournal } from '../control/host/journal.js';
import { describeElsewhere, type Elsewhere, findElsewhere } from '../control/host/run-folder.js';
import { messageOf } from '../control/store/store.js';
import { counted } from '../operate/status/format.js';
import { isStartingName, listSockets, readStatus, socketPath } from '../operate/status/socket.js';
import type { Answer } from '../operate/status/status.js';
import type { Flags } from './flags.js';
import { ownFolder, readRunDirectory } from './run-dir.js';

interface Asked {
  readonly name: string;
  readonly folder: string;
  readonly answer?: Answer;
  /** Why there is no answer. */
  readonly error?: NodeJS.ErrnoException;
}

export interface Found {
  /** Undefined where none answers, or several do. */
  readonly answer: Answer | undefined;
  /** Its socket's name. */
  readonly name: string;
  readonly folder: string;
  /** Why there is no answer, a line each; none where there is one. */
  readonly why: readonly string[];
  /** Whether several run, and none was named. */
  readonly several: boolean;
  /** A line that names those in other network namespaces, or nothing. */
  readonly others: string;
}

/** `flags` are `-device` and `-run-dir`. */
export async function findRunning(flags: Flags, environment: NodeJS.ProcessEnv): Promise<Found> {
  const runDirectory = readRunDirectory(flags, environment);
  const folder = await ownFolder(runDirectory);
  const names = flags.given('device') ? [flags.text('device')] : listSockets(folder);
  const asked = await Promise.all(names.map((name) => ask(name, folder)));
  const elsewhere = await findElsewhere(runDirectory, folder);
  const others = describeOthers(elsewhere);
  const alive = asked.filter(({ answer }) => answer !== undefined);
  const [only] = alive;
  const none = { answer: undefined, name: '', folder, others };
  if (alive.length > 1) {
    const list = alive.map(({ name }) => name).join(', ');
    const why = [`several run on this host; name one with -device: ${list}`];
    return { ...none, why, several: true };
  }
  if (only !== undefined) {
    const { answer, name } = only;
    return { answer, name, folder, why: [], several: false, others };
  }
  const there = listSockets(folder);
  const silent = asked.filter((one) => {
    const { name, error } = one;
    // One that died before it had a device has left nothing but its socket.
    return !(isStartingName(name) && isDead(error)) && !(there.length === 0 && isUnknown(one));
  });
  const why = silent.map((one) =>
    isUnknown(one)
      ? `no weft runs for the device ${JSON.stringify(one.name)}; there are: ${there.join(', ')}`
      : describeSilence(one),
  );
  if (silent.length === 0) {
    const here = others === '' ? 'on this host' : 'in this network namespace';
    why.push(
      isReadOnly(folder)
        ? `no weft can be asked: ${folder} is read-only, so one that runs has no socket there; ` +
            'give it and this command another folder with -run-dir'
        : `no weft runs ${here}; start one with: weft up`,
    );
  }
  return { ...none, why, several: false };
}

/** Whether nothing can be made there, be it that the folder itself is missing. */
function isReadOnly(folder: string): boolean {
  try {
    fs.accessSync(folder, fs.constants.W_OK);
    return false;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && folder !== '/') return isReadOnly(path.dirname(folder));
    return code === 'EROFS';
  }
}

/** A line, or nothing. */
function describeOthers(others: readonly Elsewhere[]): string {
  if (others.length === 0) return '';
  const count = new Set(others.map(({ namespace }) => namespace)).size;
  const where = counted(count, 'other network namespace');
  return `weft also runs in ${where}: ${describeElsewhere(others)}; ask it there\n`;
}

async function ask(name: string, folder: string): Promise<Asked> {
  try {
    return { name, folder, answer: await readStatus(socketPath(name, folder)) };
  } catch (error) {
    return { name, folder, error: error instanceof Error ? error : new Error(String(error)) };
  }
}

function isDead(error: NodeJS.ErrnoException | undefined): boolean {
  return error?.code === 'ECONNREFUSED' || error?.code === 'ENOENT';
}

/** Whether nothing says that one ever ran by this name, which somebody typed. */
function isUnknown({ name, folder, error }: Asked): boolean {
  return error?.code === 'ENOENT' && !fs.existsSync(journalFile(name, folder));
}

function describeSilence({ name, folder, error }: Asked): string {
  const why = messageOf(error);
  if (error?.code === 'ETIMEDOUT') {
    return (
      `the weft of ${name}${processOf(name, folder)} runs but its main thread hangs (${why}); packets may ` +
      'still flow, peers are no longer followed; restart it'
    );
  }
  if (error?.code === 'EACCES')
    return `${socketPath(name, folder)} may not be opened (${why}); be root`;
  if (isDead(error)) {
    return `the weft of ${name} does not answer (${why}); if it died, clean up with: weft down`;
  }
  return `the weft of ${name}${processOf(name, folder)} does not answer (${why})`;
}

/** `, process 123`, from the journal, where that can be read. */
function processOf(name: string, folder: string): string {
  try {
    const pid = readJournal(journalFile(name, folder))?.owner.pid;
    return pid === undefined ? '' : `, process ${pid},`;
  } catch {
    return '';
  }
}
