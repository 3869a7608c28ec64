/** `weft down`: takes back what a weft that has ended left on this host. */
import { capturePath } from '../control/host/control-socket.js';
import { DOCKER_OPTIONS, down } from '../control/host/down.js';
import { HostError } from '../control/host/errors.js';
import { listJournals } from '../control/host/journal.js';
import { describeElsewhere, findElsewhere, removeIfUnused } from '../control/host/run-folder.js';
import { systemRunner } from '../control/host/runner.js';
import { findTraces } from '../control/host/traces.js';
import { removeSaved } from '../control/overlay/saved.js';
import {
  isStartingName,
  listSockets,
  removeDeadSocket,
  socketPath,
} from '../operate/status/socket.js';
import { parseFlags, UsageError } from './flags.js';
import { flagsOf } from './manual/command.js';
import { DOWN } from './manual/down.js';
import { helpOf } from './manual/help.js';
import { complain, print, printText } from './print.js';
import { ownFolder, readRunDirectory } from './run-dir.js';

export async function main(args: string[]): Promise<number> {
  const flags = parseFlags(flagsOf(DOWN), args);
  if (flags.bool('help')) {
    printText(helpOf(DOWN));
    return 0;
  }
  if (flags.rest.length > 0) throw new UsageError(`${JSON.stringify(flags.rest[0])} is not a flag`);
  const runDirectory = readRunDirectory(flags, process.env);
  const folder = await ownFolder(runDirectory);
  for (const name of listSockets(folder).filter(isStartingName)) {
    await removeDeadSocket(socketPath(name, folder));
  }
  const devices = flags.given('device') ? [flags.text('device')] : dockerLast(listJournals(folder));
  if (devices.length === 0 && !forgetNetworks(folder)) {
    printText(`${await describeRest(runDirectory, folder)}\n`);
    return 0;
  }
  let failed = false;
  for (const device of devices) {
    // Docker's next start needs its options as long as a weft is there.
    if (device === DOCKER_OPTIONS && failed) continue;
    try {
      const { did, problems } = await down(systemRunner, device, folder);
      await removeDeadSocket(socketPath(device, folder));
      await removeDeadSocket(capturePath(device, folder));
      for (const line of did) print(line);
      for (const line of problems) complain(`weft down: ${line}`);
      failed ||= problems.length > 0;
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      complain(`weft down: ${error.message}`);
      failed = true;
    }
  }
  if (!failed) forgetNetworks(folder);
  removeIfUnused(folder, runDirectory);
  return failed ? 1 : 0;
}

/** The saved networks are of no use once no weft has anything here. False: there was none. */
function forgetNetworks(folder: string): boolean {
  if (listJournals(folder).length > 0) return false;
  const files = removeSaved(folder);
  for (const file of files) print(`The saved network ${file} was removed.`);
  return files.length > 0;
}

/** Without a journal weft does not know what is its own. */
async function describeRest(runDirectory: string, folder: string): Promise<string> {
  const others = await findElsewhere(runDirectory, folder);
  const elsewhere = others.length === 0 ? '' : `; it runs in ${describeElsewhere(others)}`;
  const where = others.length === 0 ? 'on this host' : 'in this network namespace';
  // With one in another namespace, the subnet file is that one's.
  const files = others.length === 0 ? ['/run/flannel/subnet.env'] : [];
  const found = await findTraces(systemRunner, files);
  if (found.length === 0) {
    return `Nothing to take back: weft has left nothing ${where}${elsewhere}.`;
  }
  return [
    `Nothing was taken back: there is no journal in ${folder}, so weft does not know what`,
    'is its own. One that ran in a container kept its journal there, unless it was given the',
    `host's folder (-v ${folder}:${folder}). There are, by that weft or by a flanneld:`,
    ...found.map((what) => `  ${what}`),
  ].join('\n');
}

function dockerLast(names: readonly string[]): string[] {
  const rest = names.filter((name) => name !== DOCKER_OPTIONS);
  return names.length === rest.length ? rest : [...rest, DOCKER_OPTIONS];
}
