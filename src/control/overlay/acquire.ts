/**
 * Gets this host its lease, in flannel's order:
 *
 *  1. the lease that carries our public IP, if it fits the config (one that does not is removed);
 *  2. the subnet of an earlier run (subnet.env), if it is free;
 *  3. one of the first 100 free subnets from SubnetMin on, at random.
 *
 * Every write is conditional, so that another host's lease is never overwritten; whoever loses
 * a race lists again and chooses anew. A reservation (a key without an etcd lease) stays one.
 */
import { formatMac } from '../../dataplane/wire/ethernet.js';
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import type { Log, Random } from '../runtime.js';
import {
  type Entry,
  type LeaseStore,
  type Store,
  StoreError,
  type Writes,
  type Written,
} from '../store/store.js';
import type { Config } from './config.js';
import { LEASE_TTL } from './lease/known.js';
import {
  type LeaseValue,
  ownLeaseValue,
  parseLeaseValue,
  rewriteLeaseValue,
  vtepMacIn,
} from './lease-value.js';
import {
  contains,
  formatSubnet,
  keyOf,
  overlaps,
  parseKey,
  type Subnet,
  sameSubnet,
  sizeOf,
} from './subnet.js';

/** Who we are, and what is known from an earlier run. */
export interface Identity {
  /** int32 */
  readonly publicIp: number;
  /** From subnet.env. */
  readonly previousSubnet?: Subnet | undefined;
  /** The VTEP's address of an earlier run. */
  readonly vtepMac?: Uint8Array | undefined;
  /** The lease that this very host is known to have held last, since its last boot. */
  readonly formerSelf?: FormerSelf | undefined;
}

export interface FormerSelf {
  /** int32 */
  readonly publicIp: number;
  /** As the store held it last; `publicIp` may be newer. */
  readonly own: { readonly key: string; readonly value: string };
  readonly vtepMac: Uint8Array;
}

/** The lease of this host. */
export interface OwnLease extends Written {
  readonly key: string;
  readonly subnet: Subnet;
  /** Means nothing with host-gw, whose leases have none. */
  readonly vtepMac: Uint8Array;
  /** The text in the store. */
  readonly value: string;
  /** Whether the key is one without an etcd lease; as `lease` says unless told. */
  readonly reserved?: boolean;
}

/** There is no free subnet. */
class OutOfSubnets extends Error {
  override readonly name = 'OutOfSubnets';
}

/** Each lost race is a subnet less for whoever won it, so there are not many in a row. */
const ATTEMPTS = 100;
const CANDIDATES = 100;

/** An entry that names a subnet; `value` is undefined where it cannot be read. */
interface Lease {
  readonly entry: Entry;
  readonly subnet: Subnet;
  readonly value: LeaseValue | undefined;
}

export interface AcquireOptions {
  readonly store: Store;
  readonly writes: Exclude<Writes, { readonly kind: 'none' }>;
  readonly config: Config;
  readonly identity: Identity;
  readonly random: Random;
  readonly log: Log;
}

/**
 * Rejects with OutOfSubnets, with an Error after a hundred lost races, or as the store does; nothing
 * is left half done, so the caller may simply try again.
 */
export async function acquire(options: AcquireOptions): Promise<OwnLease> {
  const { store, log } = options;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const leases = (await store.list()).entries.flatMap(readLease);
    const lease = await takeOwnOrNew(options, leases);
    if (lease !== undefined) return lease;
    log.info('another host wrote that key first; choosing again');
  }
  throw new Error(`no lease after ${ATTEMPTS} attempts; other hosts were faster each time`);
}

/** Undefined when the race for the chosen key was lost. */
async function takeOwnOrNew(
  options: AcquireOptions,
  leases: readonly Lease[],
): Promise<OwnLease | undefined> {
  const { config, identity, log } = options;
  const ours = leases.filter(({ value }) => value?.publicIp === identity.publicIp);
  const fitting = ours.filter((lease) => isPlain(lease) && fits(lease.subnet, config));
  const own = fitting.find(({ subnet }) => isPrevious(subnet, identity)) ?? fitting[0];
  if (own !== undefined) {
    log.info(`found our lease ${formatSubnet(own.subnet)}, keeping it`);
    return rewrite(options, own);
  }
  for (const lease of ours) await removeUnfit(options, lease);
  const others = othersOf(leases, ours);

  const previous = takePrevious(options, others);
  if (previous === 'ours') {
    const before = others.find(({ subnet }) => isPrevious(subnet, identity)) as Lease;
    return rewrite(options, before);
  }
  return create(options, previous ?? chooseFree(options, others), others);
}

/** The subnet of the earlier run, if it may be had: as a free one, or from our own old lease. */
function takePrevious(
  { config, identity, log }: AcquireOptions,
  others: readonly Lease[],
): Subnet | 'ours' | undefined {
  const { previousSubnet, publicIp, formerSelf } = identity;
  if (previousSubnet === undefined) return undefined;
  const shown = formatSubnet(previousSubnet);
  if (!fits(previousSubnet, config)) {
    log.info(`the previous subnet ${shown} does not fit the network config, taking another`);
    return undefined;
  }
  const holder = others.find(({ subnet }) => overlaps(subnet, previousSubnet));
  if (holder === undefined) {
    log.info(`the previous subnet ${shown} is free, taking it again`);
    return previousSubnet;
  }
  const { value } = holder;
  const now = formatAddress(publicIp);
  const then = value === undefined ? 'an unreadable lease' : formatAddress(value.publicIp);
  if (sameSubnet(holder.subnet, previousSubnet) && wasOurs(holder, formerSelf)) {
    log.warn(`our public IP was ${then} and is ${now} now; keeping the subnet ${shown}`);
    return 'ours';
  }
  log.warn(`the previous subnet ${shown} belongs to ${then} now; ${now} takes another`);
  return undefined;
}

/**
 * Whether a lease with another public IP is the one that this host held before it moved. Neither
 * its subnet nor its VTEP's address proves that: a clone of the host that holds it has both.
 */
function wasOurs({ entry, value }: Lease, before: FormerSelf | undefined): boolean {
  return (
    before !== undefined &&
    entry.key === before.own.key &&
    value !== undefined &&
    (value.publicIp === before.publicIp || entry.value === before.own.value) &&
    'mac' in value.vtep &&
    Buffer.compare(value.vtep.mac, before.vtepMac) === 0
  );
}

/** flannel's choice: one of the first 100 free subnets. */
function chooseFree({ config, random }: AcquireOptions, others: readonly Lease[]): Subnet {
  const free = freeSubnets(
    config,
    others.map(({ subnet }) => subnet),
    CANDIDATES,
  );
  if (free.length === 0) throw new OutOfSubnets(describeFull(config));
  return free[Math.floor(random() * free.length)] as Subnet;
}

/** Why a host with this public IP (int32) would get no subnet; undefined where it has one, or there is one. */
export function whyNoSubnet(
  config: Config,
  entries: readonly Entry[],
  publicIp: number,
): string | undefined {
  const leases = entries.flatMap(readLease);
  const ours = leases.filter(({ value }) => value?.publicIp === publicIp);
  if (ours.some((lease) => isPlain(lease) && fits(lease.subnet, config))) return undefined;
  const taken = othersOf(leases, ours).map(({ subnet }) => subnet);
  return freeSubnets(config, taken, 1).length > 0 ? undefined : describeFull(config);
}

function describeFull({ network, subnetLength, subnetMin, subnetMax }: Config): string {
  const range = `${formatAddress(subnetMin)} to ${formatAddress(subnetMax)}`;
  return (
    `out of subnets: every /${subnetLength} from ${range} in ${formatSubnet(network)} is leased; ` +
    'remove leases that are not needed any more, or widen the network config'
  );
}

/** What is taken once a start has removed ours that do not fit: it leaves reservations alone. */
function othersOf(leases: readonly Lease[], ours: readonly Lease[]): Lease[] {
  return leases.filter((lease) => !ours.includes(lease) || lease.entry.lease === 0n);
}

/** The first so many that overlap none of those that are taken, in their order. */
export function freeSubnets(config: Config, taken: readonly Subnet[], most: number): Subnet[] {
  const { subnetLength: length, subnetMin, subnetMax } = config;
  const free: Subnet[] = [];
  for (let at = subnetMin >>> 0; at <= subnetMax >>> 0; at += sizeOf(length)) {
    const candidate = { address: at | 0, length };
    if (taken.some((subnet) => overlaps(subnet, candidate))) continue;
    free.push(candidate);
    if (free.length === most) break;
  }
  return free;
}

async function create(
  options: AcquireOptions,
  subnet: Subnet,
  others: readonly Lease[],
): Promise<OwnLease | undefined> {
  const { writes, config, identity, random, log } = options;
  const { publicIp } = identity;
  let vtepMac = identity.vtepMac ?? randomMac(random);
  if (others.some((other) => hasMac(other, vtepMac))) {
    log.warn(`another host has the VTEP address ${formatMac(vtepMac)} too; taking a new one`);
    vtepMac = randomMac(random);
  }
  const key = keyOf(subnet);
  const value = ownLeaseValue(config.backend, publicIp, vtepMac);
  const ttl = writes.kind === 'leased' ? LEASE_TTL : undefined;
  const written = await writes.keys.create(key, value, ttl);
  return written && { ...written, key, subnet, vtepMac, value };
}

function hasMac({ value }: Lease, mac: Uint8Array): boolean {
  return value !== undefined && 'mac' in value.vtep && Buffer.compare(value.vtep.mac, mac) === 0;
}

/** Writes our present attributes to a lease that is ours already. */
async function rewrite(options: AcquireOptions, lease: Lease): Promise<OwnLease | undefined> {
  const { writes, config, identity, random, log } = options;
  const { entry, subnet, value: before } = lease;
  const found = before !== undefined && 'mac' in before.vtep ? before.vtep.mac : undefined;
  const vtepMac = found ?? identity.vtepMac ?? randomMac(random);
  const { backend } = config;
  const { publicIp } = identity;
  const value =
    backend.type === 'vxlan'
      ? rewriteLeaseValue(entry.value, publicIp, backend.vni, vtepMac)
      : ownLeaseValue(backend, publicIp, vtepMac);
  const reserved = entry.lease === 0n;
  if (reserved && writes.kind === 'leased') log.info(`${entry.key} is a reservation and stays one`);
  const ttl = reserved ? undefined : LEASE_TTL;
  let written: Written | undefined;
  try {
    written = await writes.keys.update(entry.key, value, ttl, entry.revision);
  } catch (error) {
    // A full etcd refuses puts. What it holds already need not be put.
    if (!(error instanceof StoreError) || entry.value !== value) throw error;
    log.warn(`${error.message}; ${entry.key} is ours as it is, and is kept alive`);
    const left =
      reserved || writes.kind !== 'leased' ? 0 : await writes.keys.keepAlive(entry.lease);
    written = { revision: entry.revision, lease: entry.lease, ttl: left };
  }
  if (written === undefined) return undefined;
  if (writes.kind === 'leased' && !reserved && written.lease !== entry.lease) {
    await discardQuietly(writes.keys, entry.lease, log);
  }
  return { ...written, key: entry.key, subnet, vtepMac, value };
}

async function removeUnfit({ writes, log }: AcquireOptions, lease: Lease): Promise<void> {
  const { key, revision, lease: id } = lease.entry;
  if (id === 0n) {
    log.warn(`the reservation ${key} of this host does not fit the network config, left alone`);
    return;
  }
  log.warn(`our lease ${key} does not fit the network config, removing it`);
  await writes.keys.remove(key, revision);
}

/** The old etcd lease is empty and would time out by itself; so its end may fail. */
async function discardQuietly(leases: LeaseStore, id: bigint, log: Log): Promise<void> {
  try {
    await leases.discard(id);
  } catch (error) {
    log.debug(`the earlier etcd lease was not revoked and will time out: ${String(error)}`);
  }
}

function readLease(entry: Entry): Lease[] {
  const key = parseKey(entry.key);
  if (key === undefined) return [];
  let value: LeaseValue | undefined;
  try {
    value = parseLeaseValue(entry.value);
  } catch {
    // The subnet is taken all the same; following the peers names the value that is bad.
  }
  return [{ entry, subnet: key.subnet, value }];
}

/** Whether the key is the one that an IPv4 host writes; not so a dual-stack one. */
function isPlain({ entry, subnet }: Lease): boolean {
  return entry.key === keyOf(subnet);
}

function fits(subnet: Subnet, { subnetLength, subnetMin, subnetMax, network }: Config): boolean {
  const at = subnet.address >>> 0;
  return (
    subnet.length === subnetLength &&
    contains(network, subnet.address) &&
    at >= subnetMin >>> 0 &&
    at <= subnetMax >>> 0
  );
}

function isPrevious(subnet: Subnet, { previousSubnet }: Identity): boolean {
  return previousSubnet !== undefined && sameSubnet(subnet, previousSubnet);
}

/** A locally administered unicast address. */
export function randomMac(random: Random): Uint8Array {
  const mac = Uint8Array.from({ length: 6 }, () => Math.floor(random() * 256));
  mac[0] = ((mac[0] as number) & 0xfe) | 0x02;
  return mac;
}

/** For messages. */
export function describeLease({ subnet, value, lease, reserved = lease === 0n }: OwnLease): string {
  const kind = reserved ? 'reserved' : 'leased';
  const mac = vtepMacIn(value);
  return `${formatSubnet(subnet)} (${kind})${mac === undefined ? '' : `, VTEP ${formatMac(mac)}`}`;
}
