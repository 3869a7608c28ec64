/**
 * What `weft doctor` says before a start of what others wrote into the store: leases and a network
 * config that a running weft would find fault with, and whether there is a subnet for this host.
 */
import { reportUnsound } from '../../control/daemon/report.js';
import { whyNoSubnet } from '../../control/overlay/acquire.js';
import { findAssigned } from '../../control/overlay/assigned.js';
import type { Config } from '../../control/overlay/config.js';
import { configProblem } from '../../control/overlay/flanneld.js';
import { parseLeaseValue } from '../../control/overlay/lease-value.js';
import { Peers } from '../../control/overlay/peers.js';
import { keyOf, parseKey, type Subnet } from '../../control/overlay/subnet.js';
import type { Clock, Log, Random } from '../../control/runtime.js';
import {
  type Entry,
  messageOf,
  type Store,
  StoreError,
  StoreUnreachable,
  subnetNameOf,
} from '../../control/store/store.js';
import { formatAddress, parseAddress } from '../../dataplane/wire/ipv4.js';
import { type Look, wrong } from '../../operate/diagnose/look.js';
import { judgeConfig } from '../../operate/findings/config.js';
import { judgeRefused, judgeUnsound } from '../../operate/findings/unsound.js';

export interface Written {
  readonly store: Store;
  readonly config: Config;
  /** Of the config. */
  readonly text: string;
  readonly entries: readonly Entry[];
  /** This host's, dotted; undefined where that is not known. */
  readonly publicIp: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
}

/** Overlaps no other. */
const NO_SUBNET: Subnet = { address: 0, length: 32 };
const SILENT: Log = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };

/** Nothing where nothing is wrong. Rejects as the store does. */
export async function lookAtWritten(written: Written): Promise<Look[]> {
  const { store, text } = written;
  const { description, etcdctlFlags = '' } = store;
  const at = { store: description, etcdctlFlags };
  const flanneldRefuses = isBesideFlanneld(store) ? (configProblem(text) ?? null) : null;
  const unsoundLeases = unsoundOf(written);
  const findings = [
    ...judgeConfig({ ...at, flanneldRefuses }),
    ...judgeUnsound({ ...at, unsoundLeases }),
    ...judgeRefused({ ...at, unsoundLeases }),
  ];
  const looks = findings.length === 0 ? [] : [{ at: 'leases', saw: '', findings }];
  return [...looks, ...(await lookForSubnet(written))];
}

/** As the overlay does once it has joined. */
function isBesideFlanneld({ subnets, writes }: Store): boolean {
  return subnets.kind === 'taken' && writes.kind === 'leased';
}

function unsoundOf({ store, config, entries, publicIp, clock }: Written) {
  const own = entries.find((entry) => publicIp !== undefined && hostOf(entry) === publicIp);
  const ownSubnet = (own && parseKey(subnetNameOf(own))?.subnet) ?? NO_SUBNET;
  const peers = new Peers({
    ...{ ownKey: own?.key ?? keyOf(ownSubnet), ownSubnet, clock, log: SILENT },
    publicIp: parseAddress(publicIp ?? '') ?? 0,
    backend: config.backend.type,
    besideFlanneld: isBesideFlanneld(store) ? { network: config, vtepMac: undefined } : undefined,
    update: () => {},
  });
  peers.snapshot({ entries, revision: 0n });
  return reportUnsound(peers.unsound);
}

async function lookForSubnet(written: Written): Promise<Look[]> {
  const { store, config, entries, publicIp, random } = written;
  const address = parseAddress(publicIp ?? '');
  if (address === undefined) return [];
  if (store.subnets.kind === 'taken') {
    const why = whyNoSubnet(config, entries, address);
    return why === undefined ? [] : [wrong('lease', 'out-of-subnets', why)];
  }
  if (store.writes.kind !== 'none') return [];
  try {
    await findAssigned({ store, config, identity: { publicIp: address }, random });
  } catch (error) {
    if (error instanceof StoreError || error instanceof StoreUnreachable) throw error;
    return [wrong('lease', 'no-entry', messageOf(error))];
  }
  return [];
}

/** The public IP in a lease; undefined of what is no lease. */
export function hostOf({ value }: Entry): string | undefined {
  try {
    return formatAddress(parseLeaseValue(value).publicIp);
  } catch {
    return undefined;
  }
}
