/** Opens what packets go through, each failure told with what to do about it. */
import os from 'node:os';
import { AddonError, loadNative, type NativeError } from '../../dataplane/io/native.js';
import {
  probeSuperPackets,
  type TakenSuperPackets,
  udpSuperPacketsAreSafe,
} from '../../dataplane/io/probe-writes.js';
import type { Tier } from '../../dataplane/io/tiers.js';
import { type OpenTun, openTun } from '../../dataplane/io/tun.js';
import { type OpenUdp, openUdpLanes } from '../../dataplane/io/udp.js';
import { parseAddress } from '../../dataplane/wire/ipv4.js';
import { describePortUser } from '../host/ports.js';
import { preflight } from '../host/preflight.js';
import type { Runner } from '../host/runner.js';
import type { Log } from '../runtime.js';
import { messageOf } from '../store/store.js';

const DEVICE_NAME_MAX = 15;

/** A start that cannot go on; its message is for the operator. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

/**
 * Why there is no TUN to be had, which is known to matter once the backend is; null when there is
 * one. Rejects with a StartError when anything else is missing.
 */
export async function checkHost(runner: Runner, log: Log): Promise<string | null> {
  const { tun, others } = await preflight(runner);
  const last = others.pop();
  if (last === undefined) {
    if (tun !== null) log.warn('there is no TUN to be had here: only host-gw goes without');
    return tun;
  }
  for (const problem of tun === null ? others : [tun, ...others]) log.error(problem);
  throw new StartError(last);
}

/** `flannel.1`; a VNI of eight digits leaves no room for the dot. */
export function deviceName(vni: number): string {
  const usual = `flannel.${vni}`;
  return usual.length <= DEVICE_NAME_MAX ? usual : `flannel${vni}`;
}

/**
 * The sockets on `address` (dotted), of each lane, in the VRF `vrf` if given. Rejects with a StartError that names who has
 * the port.
 */
export async function openSockets(
  runner: Runner,
  address: string,
  port: number,
  tier: Tier,
  lanes = 1,
  vrf?: string,
): Promise<OpenUdp[]> {
  try {
    return openUdpLanes(addressOf(address), port, lanes, tier, vrf);
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
    const user = await describePortUser(runner, address, port);
    throw new StartError(user ?? `UDP port ${port} on ${address} is taken`);
  }
}

/** Which super-packets may be written to this TUN, which is still down. */
export function superPacketsTaken(tun: OpenTun): TakenSuperPackets {
  if (!tun.vnet) return { tcp: false, udp: false };
  const { tcp, udp } = probeSuperPackets(loadNative(), tun.fd);
  return { tcp, udp: tcp && udp && tun.uso && udpSuperPacketsAreSafe(os.release()) };
}

/** The TUN, with a queue a lane. Throws a StartError. */
export function openDevice(name: string, tier: Tier, lanes = 1): OpenTun {
  try {
    return openTun(name, tier, lanes);
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
