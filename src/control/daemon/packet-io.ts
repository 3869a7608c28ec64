/** What packets go through, as the control plane opens, starts and closes it. */
import os from 'node:os';
import type { LaneOptions } from '../../dataplane/forward/lane.js';
import { laneProgram } from '../../dataplane/forward/lane-thread.js';
import { AddonError, loadNative } from '../../dataplane/io/native.js';
import {
  probeSuperPackets,
  type TakenSuperPackets,
  udpSuperPacketsAreSafe,
} from '../../dataplane/io/probe-writes.js';
import type { Tier } from '../../dataplane/io/tiers.js';
import { type OpenTun, openTun } from '../../dataplane/io/tun.js';
import { closeUdp, type OpenUdp, openUdpLanes } from '../../dataplane/io/udp.js';
import type { Publisher } from '../../dataplane/routes/publisher.js';
import { spareDescriptors } from '../host/descriptors.js';
import { Lanes, type OpenLanes, type RunningLanes } from './lanes.js';

export interface PacketIo {
  /** The TUN `name` with so many queues. Throws a NativeError or an AddonError. */
  openTun(name: string, tier: Tier, queues: number): OpenTun;
  closeTun(tun: OpenTun): void;
  /** The sockets of each lane on `address` (int32), in a VRF if given. Throws as `openTun`. */
  openUdp(address: number, port: number, lanes: number, tier: Tier, vrf?: string): OpenUdp[];
  closeUdp(sockets: readonly OpenUdp[]): void;
  /** Which super-packets may be written to this TUN, which is still down. */
  superPacketsTaken(tun: OpenTun): TakenSuperPackets;
  /** How many descriptors may still be opened. */
  spareDescriptors(): number;
  /** Starts the lanes' threads; `counters`: those of earlier ones, which go on. */
  startLanes(
    open: OpenLanes,
    publisher: Publisher,
    options: LaneOptions,
    counters: SharedArrayBuffer | undefined,
  ): RunningLanes;
}

/**
 * The kernel's, by the addon. Addon and lanes' code are those that are there now; without an addon
 * it is told when it is needed.
 */
export function nativeIo(program?: URL): PacketIo {
  try {
    laneProgram();
  } catch (error) {
    if (!(error instanceof AddonError)) throw error;
  }
  return {
    openTun,
    closeTun(tun) {
      for (const queue of tun.queues) loadNative().close(queue);
    },
    openUdp: openUdpLanes,
    closeUdp,
    superPacketsTaken(tun) {
      if (!tun.vnet) return { tcp: false, udp: false };
      const { tcp, udp } = probeSuperPackets(loadNative(), tun.fd);
      return { tcp, udp: tcp && udp && tun.uso && udpSuperPacketsAreSafe(os.release()) };
    },
    spareDescriptors,
    startLanes: (open, publisher, options, counters) =>
      new Lanes(open, publisher, options, counters, program),
  };
}
