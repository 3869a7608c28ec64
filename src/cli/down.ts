/** `weft down`: takes back what a weft that has ended left on this host. */
import fs from 'node:fs';
import { down } from '../control/host/down.js';
import { HostError } from '../control/host/errors.js';
import { JOURNAL_DIRECTORY } from '../control/host/journal.js';
import { systemRunner } from '../control/host/runner.js';
import { removeSaved } from '../control/overlay/saved.js';
import {
  isStartingName,
  listSockets,
  removeDeadSocket,
  socketPath,
} from '../operate/status/socket.js';
import { describeFlags, type Flag, parseFlags, UsageError } from './flags.js';
import { complain, print, printText } from './print.js';

const FLAGS: readonly Flag[] = [
  {
    name: 'device',
    kind: 'string',
    value: 'name',
    help: 'whose things to take back (default: of every weft that has ended)',
  },
  { name: 'help', kind: 'bool', help: 'this text' },
];

export async function main(args: string[]): Promise<number> {
  const flags = parseFlags(FLAGS, args);
  if (flags.bool('help')) {
    printText(
      `weft down: take back the TUN, routes, firewall rules, sysctls and subnet file that a weft left behind\n\n${describeFlags(FLAGS)}`,
    );
    return 0;
  }
  if (flags.rest.length > 0) throw new UsageError(`${JSON.stringify(flags.rest[0])} is not a flag`);
  for (const name of listSockets().filter(isStartingName)) await removeDeadSocket(socketPath(name));
  const devices = flags.given('device') ? [flags.text('device')] : listJournals();
  if (devices.length === 0 && !forgetNetworks()) {
    print('Nothing to take back: weft has left nothing on this host.');
    return 0;
  }
  let failed = false;
  for (const device of devices) {
    try {
      const { did, problems } = await down(systemRunner, device);
      await removeDeadSocket(socketPath(device));
      for (const line of did) print(line);
      for (const line of problems) complain(`weft down: ${line}`);
      failed ||= problems.length > 0;
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      complain(`weft down: ${error.message}`);
      failed = true;
    }
  }
  if (!failed) forgetNetworks();
  return failed ? 1 : 0;
}

/** The saved networks are of no use once no weft has anything here. False: there was none. */
function forgetNetworks(): boolean {
  if (listJournals().length > 0) return false;
  const files = removeSaved(JOURNAL_DIRECTORY);
  for (const file of files) print(`The saved network ${file} was removed.`);
  return files.length > 0;
}

function listJournals(): string[] {
  try {
    return fs
      .readdirSync(JOURNAL_DIRECTORY)
      .filter((name) => name.endsWith('.json'))
      .map((name) => name.slice(0, -'.json'.length));
  } catch {
    return [];
  }
}
