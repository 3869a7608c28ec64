/** The kernel's TUN as a Device. */
import * as vnet from '../wire/vnet.js';
import type { Device } from './device.js';
import {
  BATCH,
  ENCAPSULATION,
  LAYOUT,
  type LaneMemory,
  OUTBOUND_END,
  OUTBOUND_HEADROOM,
  PACKET_ROW,
  WRITE_ROW,
} from './memory.js';
import {
  loadNative,
  type Native,
  TUN_EXCLUSIVE,
  TUN_F_CSUM,
  TUN_F_TSO4,
  TUN_F_USO4,
  TUN_F_USO6,
  TUN_MULTI_QUEUE,
  TUN_VNET_HEADER,
} from './native.js';
import { TIERS } from './tiers.js';

/** An open TUN, and what the kernel agreed to hand over unsegmented. */
export interface OpenTun {
  /** Its first queue. */
  readonly fd: number;
  /** Its queues, one a lane. */
  readonly queues: readonly number[];
  /** Whether packets come and go behind a vnet header; without it there is no offload. */
  readonly vnet: boolean;
  readonly tso: boolean;
  readonly uso: boolean;
}

/** What may be asked of the kernel; what it lacks is left out. */
export interface TunOffloads {
  readonly vnet: boolean;
  readonly uso: boolean;
}

/**
 * Creates the TUN `name` and opens its queues, with those of the wanted offloads that the kernel
 * has (UDP segmentation: 6.2 and newer). With several queues a packet's queue is a function of its
 * addresses and ports (native/steer.c): the TUN's own choice would move a flow when its first
 * answer comes. Throws a NativeError: EBUSY when there is a device of that name, EPERM without
 * CAP_NET_ADMIN, ENOENT without /dev/net/tun, ENAMETOOLONG over 15 bytes; with the syscall `bpf` or
 * `TUNSETSTEERINGEBPF` where the kernel does not let the queue be chosen.
 */
export function openTun(name: string, wanted: TunOffloads = TIERS.segment, queues = 1): OpenTun {
  const native = loadNative();
  const several = queues > 1 ? TUN_MULTI_QUEUE : 0;
  const flags = several | (wanted.vnet ? TUN_VNET_HEADER : 0);
  const opened = [native.tunOpen(name, flags | TUN_EXCLUSIVE)];
  const fd = opened[0]!;
  try {
    while (opened.length < queues) opened.push(native.tunOpen(name, flags));
    if (queues > 1) native.tunSteer(fd, queues);
  } catch (error) {
    for (const queue of opened) native.close(queue);
    throw error;
  }
  if (!wanted.vnet) return { fd, queues: opened, vnet: false, tso: false, uso: false };
  const tsoBits = TUN_F_CSUM | TUN_F_TSO4;
  const tso = native.tunOffload(fd, tsoBits) === 0;
  const usoBits = tsoBits | TUN_F_USO4 | TUN_F_USO6;
  const uso = wanted.uso && tso && native.tunOffload(fd, usoBits) === 0;
  return { fd, queues: opened, vnet: true, tso, uso };
}

export class TunDevice implements Device {
  readonly #native: Native;
  readonly #memory: LaneMemory;
  readonly #fd: number;
  readonly #vnet: boolean;
  readonly #told: Int32Array;

  /**
   * @param memory registered with `native`
   * @param told where each batch read is told to who looks from outside: its rows, and its `size`
   */
  constructor(
    native: Native,
    memory: LaneMemory,
    fd: number,
    hasVnet: boolean,
    told: Int32Array = new Int32Array(2),
  ) {
    this.#native = native;
    this.#memory = memory;
    this.#fd = fd;
    this.#vnet = hasVnet;
    this.#told = told;
  }

  read(headers = 0, size = 0): number {
    const rows = this.#native.tunRead(
      this.#fd,
      LAYOUT.packets,
      BATCH,
      LAYOUT.outbound,
      OUTBOUND_END,
      OUTBOUND_HEADROOM,
      this.#vnet ? vnet.HEADER : 0,
      headers + size,
      size,
      ENCAPSULATION + headers,
    );
    this.#told[0] = rows;
    this.#told[1] = size;
    if (!this.#vnet) {
      for (let row = 0; row < rows; row += 1) {
        const at = (LAYOUT.packets >> 2) + row * PACKET_ROW.words + PACKET_ROW.offset;
        vnet.clear(this.#memory.bytes, this.#memory.words[at]! - vnet.HEADER);
      }
    }
    return rows;
  }

  write(from: number, rows: number, iovecRows: number): number {
    return this.#native.tunWrite(
      this.#fd,
      LAYOUT.writes + from * WRITE_ROW.words * 4,
      rows,
      LAYOUT.writeIovecs,
      iovecRows,
    );
  }

  lastError(): number {
    return this.#native.lastError();
  }
}
