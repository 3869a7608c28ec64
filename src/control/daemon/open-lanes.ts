/** Opens what the lanes work on: as many queues of the TUN as there are lanes, and their sockets. */
import type { NativeError } from '../../dataplane/io/native.js';
import type { Tier } from '../../dataplane/io/tiers.js';
import type { LaneCount } from '../../operate/status/status.js';
import type { Log } from '../runtime.js';
import { messageOf } from '../store/store.js';
import type { Host } from './host.js';
import type { OpenLanes } from './lanes.js';
import { openDevice, openSockets, type StartError } from './open.js';

export interface LanePlace {
  readonly device: string;
  /** Of the underlay, dotted. */
  readonly address: string;
  readonly port: number;
  /** The VRF that the address is in, if any. */
  readonly vrf?: string | undefined;
}

/** What the kernel may refuse to several lanes alone. */
const REFUSABLE = ['bpf', 'TUNSETSTEERINGEBPF', 'SO_ATTACH_REUSEPORT_CBPF'];

/**
 * Opens the sockets and the TUN for that many lanes; for one, with a warning, where the kernel does
 * not let several be steered. Rejects with a StartError, with nothing left open.
 */
export async function openLanes(
  { device, address, port, vrf }: LanePlace,
  tier: Tier,
  wanted: LaneCount,
  host: Pick<Host, 'runner' | 'io' | 'proc'>,
  log: Log,
): Promise<OpenLanes> {
  const open = async (count: LaneCount): Promise<OpenLanes> => {
    const sockets = await openSockets(host, address, port, tier, count.lanes, vrf);
    try {
      return { tun: openDevice(host, device, tier, count.lanes), sockets, count };
    } catch (error) {
      host.io.closeUdp(sockets);
      throw error;
    }
  };
  try {
    return await open(wanted);
  } catch (error) {
    const { cause } = error as StartError;
    if (wanted.lanes === 1 || !REFUSABLE.includes((cause as NativeError)?.syscall)) throw error;
    log.warn(
      `the kernel refuses what several lanes need (${messageOf(cause)}): one lane in place of ` +
        `${wanted.lanes}, so forwarding is spread over fewer processors; for several, weft needs ` +
        'CAP_BPF or, before Linux 5.8, CAP_SYS_ADMIN, and bpf in SystemCallFilter=',
    );
    return open({ ...wanted, lanes: 1, reason: `the kernel refuses ${wanted.lanes}` });
  }
}

export function closeLanes({ io }: Pick<Host, 'io'>, { tun, sockets }: OpenLanes): void {
  io.closeUdp(sockets);
  io.closeTun(tun);
}
