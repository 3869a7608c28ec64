/**
 * Our lease in a store that assigns the subnets: the entry is there before the host. Where hosts
 * can write, ours gets our attributes; where not, it must have them already.
 */
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import type { Random } from '../runtime.js';
import { type Entry, type Store, subnetNameOf } from '../store/store.js';
import { freeSubnets, type Identity, type OwnLease, randomMac } from './acquire.js';
import type { Config } from './config.js';
import {
  backendProblem,
  type LeaseValue,
  ownLeaseValue,
  parseLeaseValue,
  vtepMacIn,
} from './lease-value.js';
import { keyOf, parseKey, type Subnet } from './subnet.js';

export interface AssignedOptions {
  readonly store: Store;
  readonly config: Config;
  readonly identity: Identity;
  readonly random: Random;
}

interface Assigned {
  readonly entry: Entry;
  readonly subnet: Subnet;
}

/** Rejects with an Error that says what to do where there is none, or as the store does. */
export async function findAssigned(options: AssignedOptions): Promise<OwnLease> {
  const { store, config } = options;
  const { entries } = await store.list();
  const found = entries.map(withSubnet).find((lease) => lease && isOurs(lease.entry, options));
  if (found === undefined) throw new Error(describeMissing(options, entries));
  const { entry, subnet } = found;
  if (store.writes.kind !== 'none') return write(options, found);

  const value = read(entry) as LeaseValue;
  const problem = backendProblem(value, config.backend.type);
  if (problem !== undefined) {
    throw new Error(`${store.description}: our entry ${entry.key}: ${problem}`);
  }
  const vtepMac = 'mac' in value.vtep ? value.vtep.mac : NO_MAC;
  const { key, value: text, revision } = entry;
  return { key, subnet, vtepMac, value: text, revision, lease: 0n, ttl: 0 };
}

function isOurs(entry: Entry, { store, identity }: AssignedOptions): boolean {
  const { subnets } = store;
  const ownKey = subnets.kind === 'assigned' ? subnets.ownKey : undefined;
  return ownKey === undefined ? read(entry)?.publicIp === identity.publicIp : entry.key === ownKey;
}

async function write(
  { store, config, identity, random }: AssignedOptions,
  { entry, subnet }: Assigned,
): Promise<OwnLease> {
  const { publicIp } = identity;
  const vtepMac = vtepMacIn(entry.value) ?? identity.vtepMac ?? randomMac(random);
  const value = ownLeaseValue(config.backend, publicIp, vtepMac);
  const { key } = entry;
  if (store.writes.kind === 'none') throw new Error(`${store.description} cannot be written`);
  const written = await store.writes.keys.update(key, value, undefined, entry.revision);
  if (written === undefined) {
    throw new Error(`${store.description}: our entry ${key} is being changed; start again`);
  }
  return { ...written, key, subnet, vtepMac, value };
}

/** With an entry that may be added as it stands: neither subnet nor MAC is another host's. */
function describeMissing(
  { store, config, identity, random }: AssignedOptions,
  entries: readonly Entry[],
): string {
  const { subnets } = store;
  const mac = identity.vtepMac ?? randomMac(random);
  const example = ownLeaseValue(config.backend, identity.publicIp, mac);
  const taken = entries.flatMap((entry) => parseKey(subnetNameOf(entry))?.subnet ?? []);
  const [free] = freeSubnets(config, taken, 1);
  if (subnets.kind !== 'assigned') throw new Error('the subnets of this store are not assigned');
  const which =
    subnets.ownKey === undefined
      ? `no entry has our public IP ${formatAddress(identity.publicIp)}`
      : `there is no entry ${subnets.ownKey} with a subnet`;
  return `${store.description}: ${which}; ${subnets.remedy(example, free && keyOf(free))}`;
}

function withSubnet(entry: Entry): Assigned | undefined {
  const name = subnetNameOf(entry);
  const subnet = parseKey(name)?.subnet;
  return subnet !== undefined && name === keyOf(subnet) ? { entry, subnet } : undefined;
}

function read({ value }: Entry): LeaseValue | undefined {
  try {
    return parseLeaseValue(value);
  } catch {
    return undefined;
  }
}

/** In place of a VTEP's, with host-gw. */
const NO_MAC = new Uint8Array(6);
