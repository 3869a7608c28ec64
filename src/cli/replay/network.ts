/**
 * The network that `weft replay` plays in, seen from one of its hosts: from a store (etcd, or a
 * file of the file store), or from what a running weft tells in its status.
 */
import { parseConfig } from '../../control/overlay/config.js';
import { parseLeaseValue } from '../../control/overlay/lease-value.js';
import { Peers } from '../../control/overlay/peers.js';
import { formatSubnet, parseKey, type Subnet } from '../../control/overlay/subnet.js';
import type { Clock, Log } from '../../control/runtime.js';
import { type Store, StoreError } from '../../control/store/store.js';
import type { LocalRoute, Route } from '../../dataplane/routes/peer.js';
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import type { ReplayHost } from '../../operate/capture/verdict.js';

/** What the outer headers take from the underlay's MTU. */
export const OVERHEAD = 50;

/** The store is read once and not followed, so nobody asks for the time. */
export const NO_CLOCK: Clock = { now: () => 0, after: () => () => {} };

/**
 * The network in a store, seen from the host with this PublicIP.
 *
 * @param name of the store, for messages
 * @param mtu of the underlay, where the config has none
 */
export async function hostFromStore(
  store: Pick<Store, 'readConfig' | 'hintForMissingConfig' | 'configName' | 'list'>,
  name: string,
  address: number,
  mtu: number,
  log: Log,
): Promise<ReplayHost> {
  const text = await store.readConfig();
  if (text === undefined) {
    throw new StoreError(`${name}: has no "config"; ${await store.hintForMissingConfig()}`);
  }
  const config = parseConfig(text, store.configName);
  const listing = await store.list();
  const own = ownLease(name, address, listing.entries);

  let routes: readonly Route[] = [];
  const { backend } = config;
  if (backend.type !== 'vxlan') {
    throw new StoreError(`${name}: its Backend.Type is ${backend.type}, so there is no VXLAN`);
  }
  const { port, vni } = backend;
  new Peers({
    ownKey: own.key,
    ownSubnet: own.subnet,
    publicIp: address,
    clock: NO_CLOCK,
    log,
    update: ({ peers }) => {
      routes = peers.map(({ subnet, publicIp, vtepMac }) => ({
        ...routeOf(subnet),
        peer: { address: publicIp, port, mac: vtepMac! },
      }));
    },
  }).snapshot(listing);
  return {
    address,
    mac: own.mac,
    vni,
    port,
    mtu: (backend.mtu ?? mtu) - OVERHEAD,
    overlay: [routeOf(config.network)],
    local: [routeOf(own.subnet)],
    routes,
  };
}

interface OwnLease {
  readonly key: string;
  readonly subnet: Subnet;
  readonly mac: Uint8Array;
}

function ownLease(
  name: string,
  address: number,
  entries: readonly { readonly key: string; readonly value: string }[],
): OwnLease {
  const known: string[] = [];
  for (const { key, value } of entries) {
    const subnet = parseKey(key)?.subnet;
    const lease = leaseOf(value);
    if (subnet === undefined || lease === undefined) continue;
    if (lease.publicIp === address) {
      if ('mac' in lease.vtep) return { key, subnet, mac: lease.vtep.mac };
      throw new StoreError(
        `${name}: subnet ${formatSubnet(subnet)} is ours, but ${lease.vtep.problem}`,
      );
    }
    known.push(formatAddress(lease.publicIp));
  }
  throw new StoreError(
    `${name}: no subnet has the PublicIP ${formatAddress(address)} that -as names; ` +
      `there are: ${known.join(', ') || 'none'}`,
  );
}

/** Undefined for what is no lease: `Peers` says so, once. */
function leaseOf(value: string): ReturnType<typeof parseLeaseValue> | undefined {
  try {
    return parseLeaseValue(value);
  } catch {
    return undefined;
  }
}

export function routeOf({ address, length }: Subnet): LocalRoute {
  return { network: address, length };
}
