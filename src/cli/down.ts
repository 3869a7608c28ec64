/** `weft down`: takes back what a weft that has ended left on this host. */
import fs from 'node:fs';
import { DOCKER_OPTIONS, down } from '../control/host/down.js';
import { HostError } from '../control/host/errors.js';
import { JOURNAL_DIRECTORY } from '../control/host/journal.js';
import { systemRunner } from '../control/host/runner.js';
import { findTraces } from '../control/host/traces.js';
import { removeSaved } from '../control/overlay/saved.js';
import {
  isStartingName,
  listSockets,
  removeDeadSocket,
  socketPath,
} from '../operate/status/socket.js';
import { describeFlags, type Flag, parseFlags, UsageError } from './flags.js';

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
    process.stdout.write(
      `weft down: take back the TUN, routes, firewall rules and files that a weft left behind\n\n${describeFlags(FLAGS)}`,
    );
    return 0;
  }
  if (flags.rest.length > 0) throw new UsageError(`${JSON.stringify(flags.rest[0])} is not a flag`);
  for (const name of listSockets().filter(isStartingName)) await removeDeadSocket(socketPath(name));
  const devices = flags.given('device') ? [flags.text('device')] : listJournals();
  if (devices.length === 0 && !forgetNetworks()) {
    process.stdout.write(`${await describeRest()}\n`);
    return 0;
  }
  let failed = false;
  for (const device of devices) {
    // Docker's next start needs its options as long as a weft is there.
    if (device === DOCKER_OPTIONS && failed) continue;
    try {
      const { did, problems } = await down(systemRunner, device);
      await removeDeadSocket(socketPath(device));
      for (const line of did) process.stdout.write(`${line}\n`);
      for (const line of problems) process.stderr.write(`weft down: ${line}\n`);
      failed ||= problems.length > 0;
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      process.stderr.write(`weft down: ${error.message}\n`);
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
  for (const file of files) process.stdout.write(`The saved network ${file} was removed.\n`);
  return files.length > 0;
}

/** Without a journal weft does not know what is its own. */
async function describeRest(): Promise<string> {
  const found = await findTraces(systemRunner, ['/run/flannel/subnet.env']);
  if (found.length === 0) return 'Nothing to take back: weft has left nothing on this host.';
  return [
    `Nothing was taken back: there is no journal in ${JOURNAL_DIRECTORY}, so weft does not know what`,
    'is its own. One that ran in a container kept its journal there, unless it was given the',
    `host's folder (-v ${JOURNAL_DIRECTORY}:${JOURNAL_DIRECTORY}). There are, by that weft or by a flanneld:`,
    ...found.map((what) => `  ${what}`),
  ].join('\n');
}

/** That of Docker's options last. */
function listJournals(): string[] {
  try {
    const names = fs
      .readdirSync(JOURNAL_DIRECTORY)
      .filter((name) => name.endsWith('.json'))
      .map((name) => name.slice(0, -'.json'.length));
    const rest = names.filter((name) => name !== DOCKER_OPTIONS);
    return names.length === rest.length ? rest : [...rest, DOCKER_OPTIONS];
  } catch {
    return [];
  }
}
