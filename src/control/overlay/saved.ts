/**
 * The network as it was last seen, in a file beside weft's socket, so that a restart while etcd is
 * away can forward at once. It is a copy of what the store held, read by the same rules; it is
 * used for the same store and public IP only, and the store's truth replaces it when it comes.
 *
 * The folder is `/run/weft`: like `subnet.env` it does not outlive a reboot.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { formatMac, parseMac } from '../../dataplane/wire/ethernet.js';
import { formatAddress, parseAddress } from '../../dataplane/wire/ipv4.js';
import { isObject, parseJson } from '../store/json.js';
import { subnetNameOf } from '../store/store.js';
import { type Config, parseConfig } from './config.js';
import { isUnicast, parseLeaseValue } from './lease-value.js';
import { keyOf, parseKey, type Subnet } from './subnet.js';

const VERSION = 1;
const ENDING = '.saved';
/** Behind the name while it is being written: a weft that is killed then leaves it. */
const NEW = '.new';

/** What is kept of a store. */
export interface SavedNetwork {
  /** The store's `configName`: the network that this is. */
  readonly network: string;
  /** The text of the network config. */
  readonly config: string;
  /** int32 */
  readonly publicIp: number;
  readonly own: SavedLease;
  /** Whether our key is one without an etcd lease. */
  readonly reserved: boolean;
  /** That of the host that saved it; undefined where it did not know. */
  readonly hostId?: string | undefined;
  /** The id of the store's cluster; undefined where it has none. */
  readonly cluster?: string | undefined;
  readonly vtepMac: Uint8Array;
  /** All leases, ours too, as the store held them. */
  readonly leases: readonly SavedLease[];
}

export interface SavedLease {
  readonly key: string;
  /** The name of its subnet, where that is not the key. */
  readonly subnet?: string;
  readonly value: string;
}

/** A saved network whose parts were read and found good. */
export interface ReadNetwork extends SavedNetwork {
  readonly parsedConfig: Config;
  readonly subnet: Subnet;
  /** ISO 8601, when the file was written. */
  readonly savedAt: string;
}

/** Where the network of a store is kept; one file a network. */
export function savedFile(directory: string, network: string): string {
  const digest = createHash('sha256').update(network).digest('hex').slice(0, 16);
  return path.join(directory, `network-${digest}${ENDING}`);
}

/** Removes every saved network in a folder, half written ones too; gives their paths. */
export function removeSaved(directory: string): string[] {
  if (!fs.existsSync(directory)) return [];
  const endings = [ENDING, `${ENDING}${NEW}`];
  const names = fs
    .readdirSync(directory)
    .filter((name) => endings.some((ending) => name.endsWith(ending)));
  const files = names.map((name) => path.join(directory, name));
  for (const file of files) fs.rmSync(file, { force: true });
  return files;
}

/** Whole or not at all. Throws what the file system throws. */
export function writeSaved(file: string, saved: SavedNetwork): void {
  const { network, config, publicIp, own, reserved, hostId, cluster, vtepMac, leases } = saved;
  const text = JSON.stringify({
    version: VERSION,
    network,
    config,
    publicIp: formatAddress(publicIp),
    vtepMac: formatMac(vtepMac),
    own: plain(own),
    reserved,
    hostId,
    cluster,
    leases: leases.map(plain),
  });
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o755 });
  const temporary = `${file}${NEW}`;
  try {
    fs.writeFileSync(temporary, text, { mode: 0o600 });
    fs.renameSync(temporary, file);
  } catch (error) {
    if (fs.existsSync(temporary)) fs.rmSync(temporary, { force: true });
    throw error;
  }
}

/** Undefined when there is none; throws an Error that says why it cannot be used. */
export function readSaved(file: string, network: string): ReadNetwork | undefined {
  let text: string;
  let savedAt: string;
  try {
    text = fs.readFileSync(file, 'utf8');
    savedAt = fs.statSync(file).mtime.toISOString();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const root = parseJson(text);
  if (!isObject(root)) throw new Error('it is not a JSON object');
  if (root.version !== VERSION) throw new Error(`its version is ${root.version}, not ${VERSION}`);
  if (root.network !== network) throw new Error(`it is of another network, ${root.network}`);
  const { config, reserved, hostId, cluster, leases } = root;
  if (typeof config !== 'string' || typeof reserved !== 'boolean' || !Array.isArray(leases)) {
    throw new Error('config, reserved or leases is missing');
  }
  const publicIp = parseAddress(String(root.publicIp));
  const vtepMac = parseMac(String(root.vtepMac));
  const own = readLease(root.own);
  // It may be written into the store again.
  parseLeaseValue(own.value);
  const name = subnetNameOf(own);
  const subnet = parseKey(name)?.subnet;
  if (publicIp === undefined || vtepMac === undefined || !isUnicast(vtepMac)) {
    throw new Error('publicIp or vtepMac is not an address');
  }
  if (subnet === undefined || keyOf(subnet) !== name) {
    throw new Error(`own.key ${name} names no subnet`);
  }
  return {
    network,
    config,
    parsedConfig: parseConfig(config, `saved in ${file}`),
    publicIp,
    own,
    reserved,
    hostId: typeof hostId === 'string' ? hostId : undefined,
    cluster: typeof cluster === 'string' ? cluster : undefined,
    vtepMac,
    leases: leases.map(readLease),
    subnet,
    savedAt,
  };
}

function plain({ key, subnet, value }: SavedLease): SavedLease {
  return subnet === undefined ? { key, value } : { key, subnet, value };
}

function readLease(value: unknown): SavedLease {
  if (isObject(value) && typeof value.key === 'string' && typeof value.value === 'string') {
    const { key, subnet, value: text } = value;
    return typeof subnet === 'string'
      ? { key, subnet, value: text as string }
      : { key: key as string, value: text as string };
  }
  throw new Error('a lease in it has no key or no value');
}
