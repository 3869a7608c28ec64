/** The underlay's MTU, and the tunnel's. */
import { HostError } from '../host/errors.js';
import type { Interface } from '../host/interfaces.js';
import type { Ip } from '../host/ip.js';
import { underlayMtu } from '../host/underlay-mtu.js';
import type { Log } from '../runtime.js';

/** Outer IPv4 and UDP, VXLAN, inner Ethernet. */
const OVERHEAD = 50;
/** The least MTU that IPv4 may have (RFC 791), and the longest IPv4 packet: a device may take more. */
const LEAST_MTU = 68;
const MOST_MTU = 65_535;

/** Gives an interface the MTU of what leaves by it. `network` is the overlay's. */
export function measuring(ip: Ip, network: string): (underlay: Interface) => Promise<Interface> {
  return async (underlay) => ({ ...underlay, mtu: await underlayMtu(ip, underlay, network) });
}

/**
 * 50 bytes less than the smaller of Backend.MTU (which means the underlay's) and that of the
 * interface, since a larger packet could not leave, which is warned of in `log`. Throws a HostError when
 * IPv4 does not fit.
 */
export function tunnelMtu(
  wanted: number | undefined,
  underlay: { readonly name: string; readonly mtu: number },
  log?: Log,
): number {
  const mtu = Math.min(wanted ?? underlay.mtu, underlay.mtu, MOST_MTU) - OVERHEAD;
  if (mtu >= LEAST_MTU) {
    if (wanted !== undefined && wanted > underlay.mtu) {
      log?.warn(
        `Backend.MTU is ${wanted}, but ${underlay.name} has an MTU of ${underlay.mtu}; ` +
          `using ${underlay.mtu}, since larger packets could not leave`,
      );
    }
    return mtu;
  }
  const least = LEAST_MTU + OVERHEAD;
  throw new HostError(
    'EINVAL',
    underlay.mtu < least
      ? `${underlay.name} has an MTU of ${underlay.mtu}, and the tunnel needs ${least}; raise it ` +
          `(ip link set ${underlay.name} mtu 1500), or name another interface with -iface`
      : `Backend.MTU ${wanted} leaves ${mtu} bytes for the tunnel, and IPv4 needs ${LEAST_MTU}; ` +
          `raise it to at least ${least}`,
  );
}
