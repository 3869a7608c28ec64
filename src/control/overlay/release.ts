/**
 * Gives this host's subnet back: removes the keys that carry our public IP, each only if it is
 * still as it was read. A reservation is the operator's and stays.
 */
import { formatMac } from '../../dataplane/wire/ethernet.js';
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import type { Entry, KeyStore, Store } from '../store/store.js';
import { type LeaseValue, parseLeaseValue } from './lease-value.js';
import { parseKey } from './subnet.js';

export interface ReleaseOptions {
  readonly store: Store;
  readonly keys: KeyStore;
  /** int32 */
  readonly publicIp: number;
  /** Of the weft that ran here last; a key with another address is another host's. */
  readonly vtepMac: Uint8Array | undefined;
}

/** One sentence for each key, and for none. */
export interface Released {
  readonly done: readonly string[];
  /** Keys that stayed although they carry our public IP. */
  readonly left: readonly string[];
}

/** Rejects as the store does. */
export async function release(options: ReleaseOptions): Promise<Released> {
  const { store, keys, publicIp, vtepMac } = options;
  const shown = formatAddress(publicIp);
  const done: string[] = [];
  const left: string[] = [];
  for (const entry of (await store.list()).entries) {
    const value = read(entry);
    if (value?.publicIp !== publicIp) continue;
    const { key, lease, revision } = entry;
    const mac = 'mac' in value.vtep ? value.vtep.mac : undefined;
    if (lease === 0n) {
      left.push(`${key} is a reservation for ${shown} and stays; remove it with etcdctl del`);
    } else if (vtepMac !== undefined && mac !== undefined && Buffer.compare(mac, vtepMac) !== 0) {
      left.push(
        `${key} has our public IP ${shown} but the VTEP address ${formatMac(mac)}, ours was ` +
          `${formatMac(vtepMac)}: another host's, left alone`,
      );
    } else if (await keys.remove(key, revision)) {
      done.push(`gave ${key} back (public IP ${shown})`);
    } else {
      left.push(`${key} was written by somebody else just now and is left alone; try again`);
    }
  }
  if (done.length + left.length === 0) {
    done.push(`no lease has the public IP ${shown} (${store.description}): nothing to give back`);
  }
  return { done, left };
}

function read({ key, value }: Entry): LeaseValue | undefined {
  if (parseKey(key) === undefined) return undefined;
  try {
    return parseLeaseValue(value);
  } catch {
    return undefined;
  }
}
