/**
 * Which leases of others may be used, decided from all of them as they are now: so whatever order
 * they came in, the answer is the same, and it heals when the lease that was in the way goes.
 *
 * flannel takes them all. But a packet to an address that is no other host's comes back, is sent to
 * everybody, or goes round in the tunnel.
 */
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import { contains, formatSubnet, overlaps, type Subnet, sizeOf, subnetOf } from './subnet.js';

/** What a lease says. */
export interface Candidate {
  readonly key: string;
  readonly subnet: Subnet;
  /** int32. */
  readonly publicIp: number;
}

/** An address of this host, with its network's prefix length. */
export interface HostAddress {
  /** int32. */
  readonly address: number;
  readonly length: number;
  readonly device: string;
}

export interface Ourselves {
  readonly subnet: Subnet;
  /** int32. */
  readonly publicIp: number;
  readonly addresses: readonly HostAddress[];
}

export interface Refused {
  readonly key: string;
  readonly reason: string;
}

/** Parts the leases into those that may be used and those that may not. */
export function admit<Lease extends Candidate>(
  leases: readonly Lease[],
  us: Ourselves,
): { admitted: Lease[]; refused: Refused[] } {
  const refused: Refused[] = [];
  const refuse = ({ key }: Lease, reason: string) => void refused.push({ key, reason });
  const sound = leases.filter((lease) => {
    const reason = wrongSubnet(lease, us);
    if (reason !== undefined) refuse(lease, reason);
    return reason === undefined;
  });
  const overlay = new SubnetIndex([us.subnet, ...sound.map(({ subnet }) => subnet)]);
  const admitted = sound.filter((lease) => {
    const reason = wrongAddress(lease, us, overlay);
    if (reason !== undefined) refuse(lease, reason);
    return reason === undefined;
  });
  return { admitted, refused };
}

/** Why a route to that subnet would do harm. */
function wrongSubnet({ subnet, publicIp }: Candidate, us: Ourselves): string | undefined {
  if (publicIp === us.publicIp) {
    return `it has our own public IP ${formatAddress(publicIp)}: two hosts with one public IP?`;
  }
  // Its route would lead the underlay's own packets into the tunnel.
  for (const address of [us.publicIp, publicIp]) {
    if (contains(subnet, address)) {
      return `it holds ${formatAddress(address)}, which is an address of the underlay`;
    }
  }
  if (overlaps(subnet, us.subnet)) return `it overlaps our subnet ${formatSubnet(us.subnet)}`;
  return undefined;
}

/** Why no other host can be reached at that address. */
function wrongAddress(
  { publicIp }: Candidate,
  { addresses }: Ourselves,
  overlay: SubnetIndex,
): string | undefined {
  const is = (what: string) => `its PublicIP ${formatAddress(publicIp)} is ${what}`;
  if (!isUnicast(publicIp)) return is('no address of a host');
  const subnet = overlay.find(publicIp);
  if (subnet !== undefined) return is(`inside the overlay, in ${formatSubnet(subnet)}`);
  for (const { address, length, device } of addresses) {
    if (publicIp === address) return is(`an address of this host, on ${device}`);
    if (length >= 31) continue;
    const network = subnetOf(address, length);
    const last = (network.address + sizeOf(length) - 1) | 0;
    const of = () => `address of ${formatSubnet(network)}, which this host is in by ${device}`;
    if (publicIp === last) return is(`the broadcast ${of()}`);
    if (publicIp === network.address) return is(`the network ${of()}`);
  }
  return undefined;
}

/** Not 0/8, 127/8, 224/4 nor 240/4 (RFC 6890). */
function isUnicast(address: number): boolean {
  const first = address >>> 24;
  return first !== 0 && first !== 127 && first < 224;
}

/** Finds the smallest subnet that an address is in: by its network, for each length there is. */
class SubnetIndex {
  /** The longest prefixes first. */
  readonly #byLength: readonly [number, Map<number, Subnet>][];

  constructor(subnets: readonly Subnet[]) {
    const byLength = new Map<number, Map<number, Subnet>>();
    for (const subnet of subnets) {
      const known = byLength.get(subnet.length) ?? new Map<number, Subnet>();
      byLength.set(subnet.length, known.set(subnet.address, subnet));
    }
    this.#byLength = [...byLength].sort(([a], [b]) => b - a);
  }

  find(address: number): Subnet | undefined {
    for (const [length, known] of this.#byLength) {
      const found = known.get(subnetOf(address, length).address);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}
