/** What packets go through, as the control plane opens, starts and closes it. */
import os from 'node:os';
import type { LaneOptions } from '../../dataplane/forward/lane.js';
import { LaneWorkers } from '../../dataplane/forward/lane-thread.js';
import { reserveMemories } from '../../dataplane/io/memory.js';
import { loadNative } from '../../dataplane/io/native.js';
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
  /** Takes the memories of so many threads of lanes. Throws what V8 says. */
  reserve(threads: number): void;
  /** Starts so many threads for lanes, which read their code now. */
  prepareThreads(threads: number): void;
  /** Ends them: there will be no lanes. */
  releaseThreads(): void;
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

/** Of this network namespace's rules; null where the kernel or what weft may do does not let it be told. */
export function nftGeneration(): number | null {
  try {
    return loadNative().nftGeneration();
  } catch {
    return null;
  }
}

/** The kernel's, by the addon, which is loaded when it is first needed. */
export function nativeIo(laneProgram?: URL): PacketIo {
  const workers = new LaneWorkers(laneProgram);
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
    reserve: reserveMemories,
    prepareThreads: (threads) => workers.prepare(threads),
    releaseThreads: () => workers.release(),
    spareDescriptors,
    startLanes: (open, publisher, options, counters) =>
      new Lanes(open, publisher, options, counters, workers),
  };
}
