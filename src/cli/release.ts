/** `weft release`: gives this host's subnet back to the network. */
import fs from 'node:fs';
import path from 'node:path';
import { systemClock } from '../control/daemon/clock.js';
import { directStream } from '../control/daemon/line-stream.js';
import { createLog } from '../control/daemon/log.js';
import { HostError } from '../control/host/errors.js';
import { readHostId } from '../control/host/host-id.js';
import { chooseInterface } from '../control/host/interfaces.js';
import { systemRunner } from '../control/host/runner.js';
import { release } from '../control/overlay/release.js';
import { type ReadNetwork, readSaved, savedFile } from '../control/overlay/saved.js';
import { EtcdStore } from '../control/store/etcd.js';
import { messageOf, StoreError, StoreUnreachable } from '../control/store/store.js';
import { parseAddress } from '../dataplane/wire/ipv4.js';
import { listSockets, readStatus, socketPath } from '../operate/status/socket.js';
import { isStarting } from '../operate/status/status.js';
import { type EtcdAccess, takeEtcdFlags } from './etcd-access.js';
import { type Flags, parseFlags, UsageError } from './flags.js';
import { flagsOf } from './manual/command.js';
import { helpOf } from './manual/help.js';
import { RELEASE } from './manual/release.js';
import { complain, print, printText } from './print.js';
import { ownFolder, readRunDirectory } from './run-dir.js';

export async function main(args: string[]): Promise<number> {
  const flags = parseFlags(flagsOf(RELEASE), args, process.env);
  if (flags.bool('help')) {
    printText(helpOf(RELEASE));
    return 0;
  }
  if (flags.rest.length > 0) throw new UsageError(`${JSON.stringify(flags.rest[0])} is not a flag`);
  const access = takeEtcdFlags(flags, ['weft', 'release', ...args], process.env);
  const runDirectory = readRunDirectory(flags, process.env);
  for (const line of access.warnings) tell(line);
  let store: EtcdStore;
  try {
    store = openStore(access);
  } catch (error) {
    tell(messageOf(error));
    return 1;
  }
  try {
    const folder = await ownFolder(runDirectory);
    const file = savedFile(folder, store.configName);
    refuseWithoutRights(file);
    await refuseWhileRunning(store, folder);
    const saved = ownSaved(file, store.configName);
    const publicIp = await publicIpOf(flags, saved);
    const vtepMac = saved?.publicIp === publicIp ? saved.vtepMac : undefined;
    const { done, left } = await release({ store, keys: store.leases, publicIp, vtepMac });
    for (const line of done) print(line);
    for (const line of left) tell(line);
    // A start without etcd would come up on a subnet that is not ours any more.
    const forgotten = done.length === 0 || saved?.publicIp !== publicIp || forget(file);
    return left.length === 0 && forgotten ? 0 : 1;
  } catch (error) {
    const expected = [HostError, StoreError, StoreUnreachable, Refused];
    if (!expected.some((kind) => error instanceof kind)) throw error;
    tell(messageOf(error));
    return 1;
  } finally {
    await store.close();
  }
}

class Refused extends Error {}

function tell(line: string): void {
  complain(`weft release: ${line}`);
}

/** Throws an Error that names the flag of a file that cannot be used. */
function openStore(access: EtcdAccess): EtcdStore {
  access.readAccess();
  return new EtcdStore({ ...access, clock: systemClock, log: createLog(0, directStream) });
}

/** The saved network says which lease is ours, and has to go with it: looked at before etcd is. */
export function refuseWithoutRights(file: string): void {
  const folder = path.dirname(file);
  try {
    // No folder: no weft has run here.
    if (!fs.existsSync(folder)) return;
    fs.accessSync(folder, fs.constants.X_OK);
    if (!fs.existsSync(file)) return;
    fs.accessSync(file, fs.constants.R_OK);
    fs.accessSync(folder, fs.constants.W_OK);
  } catch (error) {
    throw new Refused(
      `${file}, the saved network of this host, has to be read and removed (${messageOf(error)}); ` +
        'be root. Nothing was given back',
    );
  }
}

/** False where it could not be removed, which is told. */
function forget(file: string): boolean {
  try {
    fs.rmSync(file, { force: true });
    return true;
  } catch (error) {
    tell(
      `the saved network could not be removed (${messageOf(error)}): without etcd the next start ` +
        `would take the subnet that is given back; remove it: rm ${file}`,
    );
    return false;
  }
}

/** A running weft would find its key gone, and with -on-lease-loss=reacquire write it again. */
async function refuseWhileRunning(store: EtcdStore, folder: string): Promise<void> {
  for (const name of listSockets(folder)) {
    let answer: Awaited<ReturnType<typeof readStatus>>;
    try {
      answer = await readStatus(socketPath(name, folder));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ECONNREFUSED') continue;
      throw new Refused(`${name}: a weft runs here and does not answer; stop it first`);
    }
    if (!isStarting(answer) && answer.network !== store.network) continue;
    throw new Refused(
      `weft is running (process ${answer.pid}) and holds its lease; stop it first, ` +
        'then release: systemctl stop weft',
    );
  }
}

/** Not what another host saved, of which this one is a clone: its lease is in use. */
function ownSaved(file: string, network: string): ReadNetwork | undefined {
  let saved: ReadNetwork | undefined;
  try {
    saved = readSaved(file, network);
  } catch {
    return undefined;
  }
  if (saved?.hostId === undefined || saved.hostId === readHostId('/proc')) return saved;
  tell(`${file} was saved on another host or in another network namespace: not used`);
  return undefined;
}

/** int32 */
async function publicIpOf(flags: Flags, saved: ReadNetwork | undefined): Promise<number> {
  const iface = flags.list('iface').filter((name) => name !== '');
  const given = flags.text('public-ip');
  if (given !== '') {
    const address = parseAddress(given);
    if (address === undefined) throw new UsageError(`-public-ip=${given} is not an IPv4 address`);
    return address;
  }
  if (iface.length === 0 && saved !== undefined) return saved.publicIp;
  const { publicIp } = await chooseInterface(systemRunner, { iface, publicIp: '' });
  return parseAddress(publicIp) as number;
}
