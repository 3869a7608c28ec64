/** Opens what packets go through, each failure told with what to do about it. */
import { AddonError, type NativeError } from '../../dataplane/io/native.js';
import type { Tier } from '../../dataplane/io/tiers.js';
import type { OpenTun } from '../../dataplane/io/tun.js';
import type { OpenUdp } from '../../dataplane/io/udp.js';
import { parseAddress } from '../../dataplane/wire/ipv4.js';
import type { LaneCount } from '../../operate/status/status.js';
import { describePortUser } from '../host/ports.js';
import { checkLanes, preflight } from '../host/preflight.js';
import type { Log } from '../runtime.js';
import { messageOf } from '../store/store.js';
import type { Host } from './host.js';
import { threadsOf } from './lanes.js';

const DEVICE_NAME_MAX = 15;

/** A start that cannot go on; its message is for the operator. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

/**
 * Why there is no TUN to be had, or no lane can run, which is known to matter once the backend is;
 * null when both are well. Rejects with a StartError when anything else is missing.
 */
export async function checkHost(
  {
    runner,
    proc,
    cgroups,
    tunFile,
    io,
  }: Pick<Host, 'runner' | 'proc' | 'cgroups' | 'tunFile' | 'io'>,
  log: Log,
  count: LaneCount,
): Promise<string | null> {
  const threads = threadsOf(count);
  const places = { proc, cgroups, tun: tunFile };
  const { tun, others } = await preflight(runner, places, threads);
  const last = others.pop();
  if (last !== undefined) {
    for (const problem of tun === null ? others : [tun, ...others]) log.error(problem);
    throw new StartError(last);
  }
  const lanes = checkLanes({ threads, reserve: () => io.reserve(threads) }, places);
  if (tun !== null) log.warn('there is no TUN to be had here: only host-gw goes without');
  else if (lanes !== null) log.warn('no lane can run here: only host-gw goes without');
  return tun ?? lanes;
}

/** `flannel.1`; a VNI of eight digits leaves no room for the dot. */
export function deviceName(vni: number): string {
  const usual = `flannel.${vni}`;
  return usual.length <= DEVICE_NAME_MAX ? usual : `flannel${vni}`;
}

/**
 * The sockets on `address` (dotted), of each lane, in the VRF `vrf` if given. Rejects with a
 * StartError that names who has the port.
 */
export async function openSockets(
  { runner, io, proc }: Pick<Host, 'runner' | 'io' | 'proc'>,
  address: string,
  port: number,
  tier: Tier,
  lanes = 1,
  vrf?: string,
): Promise<OpenUdp[]> {
  try {
    return io.openUdp(addressOf(address), port, lanes, tier, vrf);
  } catch (error) {
    if (error instanceof AddonError) throw new StartError(error.message, { cause: error });
    const { code, syscall } = error as NativeError;
    if (syscall === 'SO_BINDTODEVICE') {
      throw new StartError(
        `the underlay address ${address} is in the VRF ${vrf}, which weft cannot use: ` +
          `${messageOf(error)}; it needs CAP_NET_RAW for that`,
        { cause: error },
      );
    }
    if (code !== 'EADDRINUSE') {
      throw new StartError(`cannot listen on UDP ${address}:${port}: ${messageOf(error)}`, {
        cause: error,
      });
    }
    const user = await describePortUser(runner, address, port, proc);
    throw new StartError(user ?? `UDP port ${port} on ${address} is taken`);
  }
}

/** The TUN, with a queue a lane. Throws a StartError. */
export function openDevice({ io }: Pick<Host, 'io'>, name: string, tier: Tier, lanes = 1): OpenTun {
  try {
    return io.openTun(name, tier, lanes);
  } catch (error) {
    if (error instanceof AddonError) throw new StartError(error.message, { cause: error });
    const { code, syscall } = error as NativeError;
    if (syscall !== 'TUNSETIFF' || (code !== 'EBUSY' && code !== 'EINVAL')) {
      throw new StartError(`cannot create the TUN ${name}: ${messageOf(error)}`, { cause: error });
    }
    throw new StartError(
      `there is a device ${name} already, left by flanneld or in use by another process; ` +
        `see: ip -d link show ${name}; if nobody needs it: ip link delete ${name}`,
    );
  }
}

/** Dotted text as int32. */
export function addressOf(text: string): number {
  const address = parseAddress(text);
  if (address === undefined) throw new StartError(`${text} is not an IPv4 address`);
  return address;
}
