/** `weft status`: asks the running weft and tells, for people or as JSON. */
import fs from 'node:fs';
import path from 'node:path';
import { journalFile, readJournal } from '../control/host/journal.js';
import { describeElsewhere, type Elsewhere, findElsewhere } from '../control/host/run-folder.js';
import { messageOf } from '../control/store/store.js';
import { describe } from '../operate/status/describe.js';
import { plainJson } from '../operate/status/plain.js';
import { isStartingName, listSockets, readStatus, socketPath } from '../operate/status/socket.js';
import { type Answer, isStarting } from '../operate/status/status.js';
import { parseFlags, UsageError } from './flags.js';
import { flagsOf } from './manual/command.js';
import { helpOf } from './manual/help.js';
import { STATUS } from './manual/status.js';
import { complain, complainText, printJson, printText } from './print.js';
import { ownFolder, readRunDirectory } from './run-dir.js';

interface Asked {
  readonly name: string;
  readonly folder: string;
  readonly answer?: Answer;
  /** Why there is no answer. */
  readonly error?: NodeJS.ErrnoException;
}

export async function main(args: string[]): Promise<number> {
  const flags = parseFlags(flagsOf(STATUS), args);
  if (flags.bool('help')) {
    printText(helpOf(STATUS));
    return 0;
  }
  if (flags.rest.length > 0) throw new UsageError(`${JSON.stringify(flags.rest[0])} is not a flag`);
  const runDirectory = readRunDirectory(flags, process.env);
  const folder = await ownFolder(runDirectory);
  const names = flags.given('device') ? [flags.text('device')] : listSockets(folder);
  const asked = await Promise.all(names.map((name) => ask(name, folder)));
  const others = await findElsewhere(runDirectory, folder);
  const alive = asked.filter(({ answer }) => answer !== undefined);
  if (alive.length > 1) {
    const list = alive.map(({ name }) => name).join(', ');
    complain(`weft status: several run on this host; name one with -device: ${list}`);
    return 2;
  }
  const [only] = alive;
  if (only?.answer !== undefined) {
    const { answer } = only;
    if (flags.bool('json')) printJson(plainJson(answer));
    else printText(`${describe(answer)}${describeOthers(others)}`);
    return !isStarting(answer) && answer.verdict.state === 'well' ? 0 : 1;
  }
  // One that died before it had a device has left nothing but its socket.
  const silent = asked.filter(({ name, error }) => !(isStartingName(name) && isDead(error)));
  if (silent.length === 0) {
    const here = others.length === 0 ? 'on this host' : 'in this network namespace';
    const why = isReadOnly(folder)
      ? `no weft can be asked: ${folder} is read-only, so one that runs has no socket there; give ` +
        'it and weft status another folder with -run-dir'
      : `no weft runs ${here}; start one with: weft up`;
    complain(`weft status: ${why}`);
  }
  complainText(describeOthers(others));
  for (const one of silent) complain(`weft status: ${describeSilence(one)}`);
  return 1;
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
  const where = `${count} other network namespace${count === 1 ? '' : 's'}`;
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
