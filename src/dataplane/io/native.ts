/**
 * The addon, typed. Its contract stands at the top of native/weft.h: hot calls take byte
 * offsets into the memory that this thread registered with `attach`; reading calls return
 * rows or -errno; writing calls return rows done, and `lastError` says what stopped them.
 */
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { COMPILERS, mismatch } from './c-library.js';

/** Flags of `tunOpen`. */
export const TUN_VNET_HEADER = 1;
export const TUN_MULTI_QUEUE = 2;
export const TUN_EXCLUSIVE = 4;

/** Offload bits of TUNSETOFFLOAD (linux/if_tun.h). The kernel takes both USO bits or none. */
export const TUN_F_CSUM = 0x01;
export const TUN_F_TSO4 = 0x02;
export const TUN_F_USO4 = 0x20;
export const TUN_F_USO6 = 0x40;

/** Socket option levels and names (asm-generic/socket.h, linux/in.h, linux/udp.h). */
export const SOL_SOCKET = 1;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_REUSEPORT = 15;
export const SO_SNDBUFFORCE = 32;
export const SO_RCVBUFFORCE = 33;
export const SOL_IP = 0;
export const IP_MTU_DISCOVER = 10;
export const IP_PMTUDISC_DONT = 0;
export const IP_PMTUDISC_OMIT = 5;
export const IP_RECVTOS = 13;
export const SOL_UDP = 17;
export const UDP_SEGMENT = 103;
export const UDP_GRO = 104;

/** The errnos that the data plane tells apart (the same numbers on x64 and arm64). */
export const EPERM = 1;
export const EINTR = 4;
export const EIO = 5;
export const EAGAIN = 11;
export const EACCES = 13;
export const EINVAL = 22;
export const EMSGSIZE = 90;
export const ENETDOWN = 100;
export const ENETUNREACH = 101;
export const ENOBUFS = 105;
export const ECONNREFUSED = 111;
export const EHOSTDOWN = 112;
export const EHOSTUNREACH = 113;

/** Bits of `wait`; the last three are answered without being asked for. */
export const POLLIN = 1;
export const POLLERR = 8;
export const POLLHUP = 16;
export const POLLNVAL = 32;

export interface Native {
  attach(memory: Uint8Array): void;
  lastError(): number;
  errnoName(errno: number): string;
  /** The numbers above and the rows of memory.ts, as the C code has them. */
  constants(): Readonly<Record<string, number>>;
  tunOpen(name: string, flags: number): number;
  tunOffload(fd: number, bits: number): number;
  tunRead(
    fd: number,
    table: number,
    rows: number,
    area: number,
    areaEnd: number,
    headroom: number,
    vnet: number,
    first: number,
    size: number,
    gap: number,
  ): number;
  tunWrite(fd: number, table: number, rows: number, iovecs: number, iovecRows: number): number;
  tunSteer(fd: number, lanes: number): void;
  udpOpen(family: 4 | 6): number;
  udpBind(fd: number, address: Uint8Array): void;
  udpBindDevice(fd: number, name: string): void;
  udpConnect(fd: number, address: Uint8Array): void;
  udpName(fd: number, out: Uint8Array): void;
  udpDiscard(fd: number): void;
  udpSteer(fd: number, lanes: number): void;
  setOption(fd: number, level: number, name: number, value: number): number;
  getOption(fd: number, level: number, name: number): number;
  udpReceive(
    fd: number,
    table: number,
    rows: number,
    area: number,
    areaEnd: number,
    headroom: number,
    addresses: number,
  ): number;
  udpSend(
    messages: number,
    rows: number,
    iovecs: number,
    iovecRows: number,
    addresses: number,
    addressRows: number,
  ): number;
  eventOpen(): number;
  eventSignal(fd: number): number;
  eventDrain(fd: number): number;
  wait(table: number, rows: number, milliseconds: number): number;
  close(fd: number): number;
  /** One datagram to a unix socket; `@` in front: the abstract name space. */
  notify(path: string, text: string): number;
  /** The number that nftables gives this network namespace's rules: another with each change. */
  nftGeneration(): number;
  /** Lines for a descriptor, by a thread that alone may stand still: native/lines.c. */
  linesOpen(fd: number): void;
  /** False when too much waits already. `carries`: added to the second of `linesLost` if it fails; see lines.c. */
  linesWrite(text: string, carries: number): boolean;
  /** Lines that could not be written, what they carried, the last errno or 0. */
  linesLost(): [lines: number, carried: number, errno: number];
  /** Waits so many milliseconds at most; whether nothing waits any more. */
  linesFlush(milliseconds: number): boolean;
  /** SIGRTMIN to SIGRTMAX do nothing from now on; Node has no names for them. */
  passOverRealtimeSignals(): void;
  /** Ends the process and its threads at once, without what process.exit() does before. */
  exitAtOnce(code: number): never;
}

/** An Error as the addon's set-up calls throw it. */
export interface NativeError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;
}

/** weft without its addon; the message says which file, why and what to do. */
export class AddonError extends Error {
  override readonly name = 'AddonError';
}

/** Loads the addon that is this file. Throws an AddonError. */
export function loadAddon(file: string): Native {
  const node = `${process.version}, ${process.arch}`;
  const other = mismatch(file);
  if (other !== undefined) {
    throw new AddonError(
      `weft's addon ${file} is built for ${other.addon}, and this Node (${node}) for ${other.node}; ` +
        `build it with ${COMPILERS[other.node]}: ${howToBuild()}`,
    );
  }
  try {
    return createRequire(import.meta.url)(file) as Native;
  } catch (error) {
    // Of the lines of a missing module all but the first tell who asked for it.
    const [reason = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
    const why = fs.existsSync(file) ? reason : 'there is no such file';
    throw new AddonError(
      `weft's addon ${file} cannot be loaded: ${why}; build it on this machine, for this Node ` +
        `(${node}): ${howToBuild()}`,
      { cause: error },
    );
  }
}

/** In a clone its set-up; the npm package brings what its installation runs. */
function howToBuild(): string {
  const script = fileURLToPath(new URL('../../../../scripts/install.mjs', import.meta.url));
  const clone = fs.existsSync(path.join(path.dirname(script), 'setup.mjs'));
  return clone || !fs.existsSync(script) ? 'npm run setup' : `node ${script}`;
}

/** What was built on this machine, else what came with the package for machines like it. */
export function findAddon(): string {
  const native = new URL('../../../../native/', import.meta.url);
  const built = fileURLToPath(new URL('build/weft.node', native));
  const prebuilt = fileURLToPath(new URL(`prebuilt/linux-${process.arch}.node`, native));
  return !fs.existsSync(built) && fs.existsSync(prebuilt) ? prebuilt : built;
}

let loaded: Native | undefined;

/** Loads the addon, once a thread. Throws an AddonError. */
export function loadNative(): Native {
  loaded ??= loadAddon(findAddon());
  return loaded;
}
