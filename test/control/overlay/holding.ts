/** A lease holder on a store in memory, for the tests of it. */
import type { OwnLease } from '../../../src/control/overlay/acquire.js';
import { LeaseHolder } from '../../../src/control/overlay/lease/holder.js';
import { formatLeaseValue } from '../../../src/control/overlay/lease-value.js';
import { parseSubnet, type Subnet } from '../../../src/control/overlay/subnet.js';
import { parseMac } from '../../../src/dataplane/wire/ethernet.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';
import type { FakeClock, Lines } from '../fakes.js';
import type { MemoryStore } from './memory-store.js';

export const KEY = '10.5.52.0-24';
export const US = parseAddress('192.168.64.3') as number;
export const MAC = parseMac('02:00:00:00:00:0a') as Uint8Array;
/** With a member that weft does not know, which must stay. */
export const VALUE = `${formatLeaseValue(US, 1, MAC).slice(0, -1)},"Note":"mine"}`;
export const HOUR = 3_600_000;
export const MINUTE = 60_000;

export interface Surroundings {
  readonly store: MemoryStore;
  readonly clock: FakeClock;
  readonly log: Lines;
  /** Gets the reasons of a loss. */
  readonly lost: string[];
  readonly random?: () => number;
}

/** Puts our key into the store and holds it. */
export function holdIn(
  { store, clock, log, lost, random = () => 0 }: Surroundings,
  {
    margin = HOUR,
    ttl = 86_400,
    lease = 5n,
    reacquire = false,
    unverified = false,
    value = VALUE,
  } = {},
): LeaseHolder {
  const { revision } = store.put(KEY, value, lease);
  const own: OwnLease = {
    key: KEY,
    subnet: parseSubnet('10.5.52.0/24') as Subnet,
    vtepMac: MAC,
    value,
    revision,
    lease,
    ttl,
  };
  const holder = new LeaseHolder({
    store,
    own,
    publicIp: US,
    marginMs: margin,
    reacquire,
    unverified,
    clock,
    random,
    log,
    lost: (reason) => lost.push(reason),
  });
  store.follow({
    snapshot: (listing) => holder.snapshot(listing),
    changes: (batch) => holder.changes(batch),
  });
  return holder;
}
