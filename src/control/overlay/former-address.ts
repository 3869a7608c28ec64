/**
 * Which of a host's addresses the other hosts know it by: at a start there may be several, and
 * another one than the last time would look the best.
 */
import type { Store } from '../store/store.js';
import { subnetNameOf } from '../store/store.js';
import { parseLeaseValue } from './lease-value.js';
import { parseKey, type Subnet, sameSubnet } from './subnet.js';

export interface FormerAddressOptions {
  readonly store: Pick<Store, 'list'>;
  /** int32, the best first. */
  readonly candidates: readonly number[];
  /** From subnet.env. */
  readonly previousSubnet: Subnet | undefined;
  /** What this very host saved since its last boot. */
  readonly saved?: { readonly publicIp: number } | undefined;
}

/**
 * The candidate in this host's own lease: as it saved it, as the subnet of an earlier run has it, or
 * the first that there is a lease for. Undefined where no lease has any of them, or the store does
 * not answer.
 */
export async function findFormerAddress(
  options: FormerAddressOptions,
): Promise<number | undefined> {
  const { store, candidates, previousSubnet, saved } = options;
  if (saved !== undefined && candidates.includes(saved.publicIp)) return saved.publicIp;
  const { entries } = await store.list().catch(() => ({ entries: [] }));
  const leases = entries.flatMap((entry) => {
    const subnet = parseKey(subnetNameOf(entry))?.subnet;
    const publicIp = publicIpIn(entry.value);
    return subnet === undefined || publicIp === undefined ? [] : [{ subnet, publicIp }];
  });
  const own = leases.find(({ subnet }) => {
    return previousSubnet !== undefined && sameSubnet(subnet, previousSubnet);
  });
  if (own !== undefined && candidates.includes(own.publicIp)) return own.publicIp;
  return candidates.find((address) => leases.some(({ publicIp }) => publicIp === address));
}

function publicIpIn(value: string): number | undefined {
  try {
    return parseLeaseValue(value).publicIp;
  } catch {
    return undefined;
  }
}
