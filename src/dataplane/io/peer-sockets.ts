/**
 * One connected socket a peer, for sending: the kernel then looks the route up once and not for
 * every send, and what ICMP says about one peer reaches the sends to that peer alone.
 *
 * All of them are bound to the lane's one local port, so that small packets of different flows
 * still share a send and the network sees one source port a lane. Their number is bounded; with
 * more peers than that at work the ones beyond share the unconnected socket.
 */

import { ADDRESS_SIZE } from './memory.js';
import {
  IP_MTU_DISCOVER,
  IP_PMTUDISC_INTERFACE,
  type Native,
  SO_REUSEPORT,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SOL_IP,
  SOL_SOCKET,
} from './native.js';
import * as socketAddress from './socket-address.js';

/** 8 MiB. */
const SEND_BUFFER = 8 * 1024 * 1024;
/** Sockets at most; each is a descriptor and some 3 kB of kernel memory. */
export const PEER_SOCKETS = 256;
/** A socket that was not used for so many lookups makes room for another peer's. */
const IDLE = 100_000;

/**
 * Opens a socket that only sends, bound to `address` (int32) and `port` (0: the kernel's
 * choice), and in the VRF `device` if given: DF clear and never fragmented by this host, as a kernel VTEP's packets; what arrives
 * is discarded in the kernel. Throws a NativeError.
 */
export function openSender(native: Native, address: number, port: number, device?: string): number {
  const fd = native.udpOpen(4);
  try {
    native.setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    native.udpDiscard(fd);
    if (device !== undefined) native.udpBindDevice(fd, device);
    const row = new Uint8Array(ADDRESS_SIZE);
    socketAddress.writeIpv4(row, 0, address, port);
    native.udpBind(fd, row);
    if (native.setOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER) !== 0) {
      native.setOption(fd, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER);
    }
    native.setOption(fd, SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_INTERFACE);
    return fd;
  } catch (error) {
    native.close(fd);
    throw error;
  }
}

interface PeerSocket {
  readonly fd: number;
  used: number;
}

export class PeerSockets {
  readonly #native: Native;
  readonly #device: string | undefined;
  readonly #local: number;
  readonly #localPort: number;
  readonly #sockets = new Map<number, PeerSocket>();
  /** Peers that cannot be connected to just now, and when to try again. */
  readonly #refused = new Map<number, number>();
  #lookups = 0;

  /**
   * @param sender the lane's unconnected socket: its address and port are shared
   * @param device the VRF that it is in, if any
   */
  constructor(native: Native, sender: number, device?: string) {
    this.#native = native;
    this.#device = device;
    const row = new Uint8Array(ADDRESS_SIZE);
    native.udpName(sender, row);
    this.#local = socketAddress.ipv4Address(row, 0);
    this.#localPort = socketAddress.port(row, 0);
  }

  /** A socket connected to `address` (int32) and `port`, or -1: use the unconnected one. */
  socketTo(address: number, port: number): number {
    this.#lookups += 1;
    const known = this.#sockets.get(address);
    if (known !== undefined) {
      known.used = this.#lookups;
      return known.fd;
    }
    return this.#connect(address, port);
  }

  get size(): number {
    return this.#sockets.size;
  }

  close(): void {
    for (const { fd } of this.#sockets.values()) this.#native.close(fd);
    this.#sockets.clear();
  }

  #connect(address: number, port: number): number {
    const again = this.#refused.get(address);
    if (again !== undefined && this.#lookups < again) return -1;
    if (this.#sockets.size >= PEER_SOCKETS && !this.#makeRoom()) return -1;
    let fd = -1;
    try {
      fd = openSender(this.#native, this.#local, this.#localPort, this.#device);
      const row = new Uint8Array(ADDRESS_SIZE);
      socketAddress.writeIpv4(row, 0, address, port);
      this.#native.udpConnect(fd, row);
    } catch {
      // No route there just now, or no descriptor left: the send itself will tell.
      if (fd >= 0) this.#native.close(fd);
      if (this.#refused.size >= PEER_SOCKETS) this.#refused.clear();
      this.#refused.set(address, this.#lookups + IDLE);
      return -1;
    }
    this.#refused.delete(address);
    this.#sockets.set(address, { fd, used: this.#lookups });
    return fd;
  }

  /** Closes the socket that was used least recently, if that is long enough ago. */
  #makeRoom(): boolean {
    let oldest = 0;
    let used = Number.POSITIVE_INFINITY;
    for (const [address, socket] of this.#sockets) {
      if (socket.used < used) {
        used = socket.used;
        oldest = address;
      }
    }
    if (this.#lookups - used < IDLE) return false;
    this.#native.close(this.#sockets.get(oldest)!.fd);
    this.#sockets.delete(oldest);
    return true;
  }
}
