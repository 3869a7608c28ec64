/**
 * The leases that are not as they should be, each once: those that weft does not use, and those that
 * would hurt a real flanneld, decided from all of them as they are now.
 */
import { formatMac } from '../../dataplane/wire/ethernet.js';
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import type { Refused } from './admit.js';
import type { Does, Doing, Used } from './flanneld.js';
import { contains, formatSubnet, keyOf, overlaps, type Subnet, subnetOf } from './subnet.js';

/** One entry. */
export interface Entered {
  readonly key: string;
  readonly revision: bigint;
  /** What flanneld makes of it alone; undefined: it is none of its business. */
  readonly flanneld: Doing | Used | undefined;
}

export interface Unsound {
  readonly key: string;
  /** What is wrong with it, a clause of which the lease is the subject; weft's reason where it has one. */
  readonly why: string;
  /** Whether weft does not use it. */
  readonly isRefused: boolean;
  /** What a flanneld does; undefined where nobody can tell. */
  readonly does: Does | undefined;
}

/** This host and the network. */
export interface Around {
  readonly subnet: Subnet;
  /** int32 */
  readonly publicIp: number;
  readonly vtepMac: Uint8Array | undefined;
  /** Of all hosts; undefined where it is not known. */
  readonly network: { readonly network: Subnet; readonly subnetLength: number } | undefined;
}

interface Lease extends Used {
  readonly key: string;
  readonly revision: bigint;
}

export function findUnsound(
  entries: readonly Entered[],
  refused: readonly Refused[],
  around: Around,
): Unsound[] {
  const doings = new Map<string, Doing>();
  const leases: Lease[] = [];
  for (const { key, revision, flanneld } of entries) {
    if (flanneld === undefined) continue;
    if ('does' in flanneld) doings.set(key, flanneld);
    else leases.push({ key, revision, ...flanneld });
  }
  for (const [key, doing] of [...ofPlaces(leases, around), ...ofTwins(leases, around)]) {
    if (!doings.has(key)) doings.set(key, doing);
  }
  const used = new Set(leases.map(({ key }) => key));
  const reasons = new Map(refused.map(({ key, reason }) => [key, reason]));
  return entries.flatMap(({ key }): Unsound[] => {
    const [doing, reason] = [doings.get(key), reasons.get(key)];
    if (reason !== undefined) {
      const does = doing?.does ?? (used.has(key) ? 'takes' : undefined);
      return [{ key, why: `is not used: ${reason}`, isRefused: true, does }];
    }
    return doing === undefined ? [] : [{ key, why: doing.why, isRefused: false, does: doing.does }];
  });
}

/** By its subnet. */
function ofPlaces(leases: readonly Lease[], around: Around): [string, Doing][] {
  const { subnet: own, publicIp: ours, network } = around;
  const length = network?.subnetLength;
  const keys = new Set(leases.map(({ key }) => key));
  const regular = new Map(
    leases.flatMap(({ subnet, key }) => (subnet.length === length ? [[subnet.address, key]] : [])),
  );
  return leases.flatMap(({ key, subnet, publicIp }): [string, Doing][] => {
    for (const address of [ours, publicIp]) {
      if (!contains(subnet, address)) continue;
      const why = `holds ${formatAddress(address)}, which is an address of the underlay`;
      return [[key, { does: 'is cut off', why }]];
    }
    const plain = keyOf(subnet);
    if (key !== plain && keys.has(plain)) {
      return [[key, { does: 'misdirects', why: `names the subnet of the lease ${plain} again` }]];
    }
    // Of two that overlap, the longer one's route counts.
    if (overlaps(subnet, own) && subnet.length >= own.length) {
      return [[key, { does: 'misdirects', why: `overlaps our subnet ${formatSubnet(own)}` }]];
    }
    if (network === undefined) return [];
    const { subnetLength } = network;
    if (subnet.length > subnetLength) {
      const whole = regular.get(subnetOf(subnet.address, subnetLength).address);
      if (whole !== undefined) {
        return [[key, { does: 'misdirects', why: `is a part of the lease ${whole}` }]];
      }
    }
    if (subnet.length !== subnetLength) {
      const why = `is a /${subnet.length}, and SubnetLen of the network is ${subnetLength}`;
      return [[key, { does: 'takes', why }]];
    }
    if (contains(network.network, subnet.address)) return [];
    const why = `is not in the network ${formatSubnet(network.network)}`;
    return [[key, { does: 'takes', why }]];
  });
}

/** By its VTEP's address: a flanneld keeps one host for each. Of two, the older one is told. */
function ofTwins(leases: readonly Lease[], { publicIp, vtepMac }: Around): [string, Doing][] {
  const newest = new Map<string, Pick<Lease, 'publicIp'> & { readonly key: string | undefined }>();
  if (vtepMac !== undefined) newest.set(formatMac(vtepMac), { publicIp, key: undefined });
  const found: [string, Doing][] = [];
  const byAge = [...leases].sort((a, b) => (a.revision < b.revision ? 1 : -1));
  for (const { key, mac, publicIp: at } of byAge) {
    const text = formatMac(mac);
    const other = newest.get(text);
    if (other === undefined) newest.set(text, { publicIp: at, key });
    if (other === undefined || other.publicIp === at) continue;
    const whose = other.key === undefined ? 'this host' : `the lease ${other.key}`;
    const why = `has the VTEP address ${text}, as ${whose} at ${formatAddress(other.publicIp)} has`;
    found.push([key, { does: 'misdirects', why }]);
  }
  return found;
}
