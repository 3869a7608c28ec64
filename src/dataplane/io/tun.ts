/** The kernel's TUN as a Device. */
import * as vnet from '../wire/vnet.js';
import type { Device } from './device.js';
import { BATCH, LAYOUT, OUTBOUND_END, OUTBOUND_HEADROOM, WRITE_ROW } from './memory.js';
import {
  loadNative,
  type Native,
  TUN_EXCLUSIVE,
  TUN_F_CSUM,
  TUN_F_TSO4,
  TUN_F_USO4,
  TUN_F_USO6,
  TUN_VNET_HEADER,
} from './native.js';

/** An open TUN queue, and what the kernel agreed to hand over unsegmented. */
export interface OpenTun {
  readonly fd: number;
  readonly tso: boolean;
  readonly uso: boolean;
}

/**
 * Creates the TUN `name` and opens one queue of it, with the offloads that the kernel has
 * (UDP segmentation: 6.2 and newer). Throws a NativeError: EBUSY when there is a device of that
 * name, EPERM without CAP_NET_ADMIN, ENOENT without /dev/net/tun, ENAMETOOLONG over 15 bytes.
 */
export function openTun(name: string): OpenTun {
  const native = loadNative();
  const fd = native.tunOpen(name, TUN_VNET_HEADER | TUN_EXCLUSIVE);
  const tsoBits = TUN_F_CSUM | TUN_F_TSO4;
  const tso = native.tunOffload(fd, tsoBits) === 0;
  const uso = tso && native.tunOffload(fd, tsoBits | TUN_F_USO4 | TUN_F_USO6) === 0;
  return { fd, tso, uso };
}

export class TunDevice implements Device {
  readonly #native: Native;
  readonly #fd: number;

  constructor(native: Native, fd: number) {
    this.#native = native;
    this.#fd = fd;
  }

  read(): number {
    return this.#native.tunRead(
      this.#fd,
      LAYOUT.packets,
      BATCH,
      LAYOUT.outbound,
      OUTBOUND_END,
      OUTBOUND_HEADROOM,
      vnet.HEADER,
    );
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
