/**
 * Which of a host's addresses the other hosts know it by: at a start there may be several, and
 * another one than the last time would look the best.
 */
import type { Store } from '../store/store.js';
import { subnetNameOf } from '../store/store.js';
import { parseLeaseValue } from './lease-value.js';
import { parseKey, type Subnet, sameSubnet } from './subnet.js';

export interface Candidate {
  /** int32 */
  readonly address: number;
  /** Whether it is the host's own: another may be one that goes from host to host. */
  readonly stays: boolean;
}

export interface FormerAddressOptions {
  readonly store: Pick<Store, 'list'>;
  /** The best first. */
  readonly candidates: readonly Candidate[];
  /** From subnet.env. */
  readonly previousSubnet: Subnet | undefined;
  /** What this very host saved since its last boot. */
  readonly saved?: { readonly publicIp: number } | undefined;
}

/**
 * The candidate in this host's own lease: as it saved it, as the subnet of an earlier run has it, or
 * the first that stays and that there is a lease for. Undefined where no lease has any of them, or
 * the store does not answer.
 */
export async function findFormerAddress(
  options: FormerAddressOptions,
): Promise<number | undefined> {
  const { store, candidates, previousSubnet, saved } = options;
  const isHere = (ip: number) => candidates.some(({ address }) => address === ip);
  if (saved !== undefined && isHere(saved.publicIp)) return saved.publicIp;
  const { entries } = await store.list().catch(() => ({ entries: [] }));
  const leases = entries.flatMap((entry) => {
    const subnet = parseKey(subnetNameOf(entry))?.subnet;
    const publicIp = publicIpIn(entry.value);
    return subnet === undefined || publicIp === undefined ? [] : [{ subnet, publicIp }];
  });
  const own = leases.find(({ subnet }) => {
    return previousSubnet !== undefined && sameSubnet(subnet, previousSubnet);
  });
  if (own !== undefined && isHere(own.publicIp)) return own.publicIp;
  const known = candidates.find(({ address, stays }) => {
    return stays && leases.some(({ publicIp }) => publicIp === address);
  });
  return known?.address;
}

function publicIpIn(value: string): number | undefined {
  try {
    return parseLeaseValue(value).publicIp;
  } catch {
    return undefined;
  }
}
