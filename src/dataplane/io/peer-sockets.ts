/**
 * One connected socket a peer, for sending: the kernel then looks the route up once and not for
 * every send, what ICMP says about one peer reaches the sends to that peer alone, and one peer's
 * full socket is nobody else's.
 *
 * All of them are bound to the lane's one local port, so that small packets of different flows
 * still share a send and the network sees one source port a lane. Their number is bounded; with
 * more peers than that at work the ones beyond share the unconnected socket. One that fills that
 * gets a socket of its own in place of whoever was at work least recently.
 *
 * A socket holds what it sends in some 20 ms, as far as is known, so that a slow way out makes no
 * queue of seconds before packets are dropped: each second in which it was full, its buffer is set
 * to what it took in that second.
 */

import { ADDRESS_SIZE, MESSAGES } from './memory.js';
import {
  IP_MTU_DISCOVER,
  IP_PMTUDISC_DONT,
  IP_PMTUDISC_OMIT,
  type Native,
  SO_REUSEPORT,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SOL_IP,
  SOL_SOCKET,
} from './native.js';
import * as socketAddress from './socket-address.js';

/** Bytes of a socket's buffer: at first, at least and at most. The kernel doubles what it is told. */
const FIRST_BUFFER = 1024 * 1024;
const LEAST_BUFFER = 16 * 1024;
const MOST_BUFFER = 8 * 1024 * 1024;
/** Seconds of what it sends that a buffer holds. */
const HOLDS = 0.02;
/** Sockets at most; each is a descriptor and some 3 kB of kernel memory. */
export const PEER_SOCKETS = 256;
/** A socket that was not used for so many lookups makes room for another peer's. */
const IDLE = 100_000;
/** Connects that fail in a second, at most: each is a few system calls, and an exception. */
const FAILURES = 32;

/**
 * Opens a socket that only sends, bound to `address` (int32) and `port` (0: the kernel's
 * choice), and in the VRF `device` if given: DF clear, as a kernel VTEP's packets, and cut to
 * fragments by this host where its device takes no more, whatever ICMP says; what arrives is
 * discarded in the kernel. Throws a NativeError.
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
    setBuffer(native, fd, FIRST_BUFFER);
    native.setOption(fd, SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT);
    return fd;
  } catch (error) {
    native.close(fd);
    throw error;
  }
}

function setBuffer(native: Native, fd: number, bytes: number): void {
  if (native.setOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, bytes) !== 0) {
    native.setOption(fd, SOL_SOCKET, SO_SNDBUF, bytes);
  }
}

interface PeerSocket {
  readonly fd: number;
  used: number;
  cutByRoute: boolean;
  buffer: number;
  /** The second in which it was full last, and what it had taken by then. */
  fullAt: number;
  taken: number;
}

export class PeerSockets {
  readonly #native: Native;
  readonly #most: number;
  readonly #device: string | undefined;
  readonly #local: number;
  readonly #localPort: number;
  readonly #sockets = new Map<number, PeerSocket>();
  /** Peers that could not be connected to in this second: in another, each is tried again. */
  readonly #refused = new Set<number>();
  #refusedAt = 0;
  /** A peer that shares the unconnected socket and fills it, with when it was noticed. */
  #crowding = 0;
  #crowdingAt = 0;
  #lookups = 0;
  /** All sockets are in use until this lookup: no need to look before. */
  #noRoomBefore = 0;

  /**
   * @param sender the lane's unconnected socket: its address and port are shared
   * @param most sockets at most
   * @param device the VRF that it is in, if any
   */
  constructor(native: Native, sender: number, most = PEER_SOCKETS, device?: string) {
    this.#native = native;
    this.#most = most;
    this.#device = device;
    const row = new Uint8Array(ADDRESS_SIZE);
    native.udpName(sender, row);
    this.#local = socketAddress.ipv4Address(row, 0);
    this.#localPort = socketAddress.port(row, 0);
  }

  /**
   * A socket connected to `address` (int32) and `port`, or -1: use the unconnected one. With
   * `cutByRoute` the kernel cuts what does not fit by the route's MTU; and by what ICMP says, too,
   * unless that MTU is locked (ip-route(8)): so only where the route has one of its own. A peer
   * that cannot be connected to, for want of a route, is tried again in the next second; `now` in
   * seconds.
   */
  socketTo(address: number, port: number, cutByRoute = false, now = 0): number {
    this.#lookups += 1;
    const socket = this.#sockets.get(address) ?? this.#connect(address, port, now);
    if (socket === undefined) return -1;
    socket.used = this.#lookups;
    if (socket.cutByRoute !== cutByRoute) {
      const mode = cutByRoute ? IP_PMTUDISC_DONT : IP_PMTUDISC_OMIT;
      this.#native.setOption(socket.fd, SOL_IP, IP_MTU_DISCOVER, mode);
      socket.cutByRoute = cutByRoute;
    }
    return socket.fd;
  }

  /**
   * The socket to `address` took no more, having taken `bytes` in all; `now` in seconds. Measured
   * from one full second to the next, since in others it may have had little to send.
   */
  full(address: number, bytes: number, now: number): void {
    const socket = this.#sockets.get(address);
    if (socket === undefined) {
      // One a second, so that peers do not take turns at throwing each other out.
      if (now === this.#crowdingAt) return;
      this.#crowding = address;
      this.#crowdingAt = now;
      return;
    }
    if (now === socket.fullAt) return;
    if (now === socket.fullAt + 1) {
      const wanted = Math.ceil((bytes - socket.taken) * HOLDS);
      const buffer = Math.min(Math.max(wanted, LEAST_BUFFER), MOST_BUFFER);
      if (buffer !== socket.buffer) setBuffer(this.#native, socket.fd, buffer);
      socket.buffer = buffer;
    }
    socket.fullAt = now;
    socket.taken = bytes;
  }

  get size(): number {
    return this.#sockets.size;
  }

  /** Peers that could not be connected to in the second of the last lookup that tried. */
  get refused(): number {
    return this.#refused.size;
  }

  close(): void {
    for (const { fd } of this.#sockets.values()) this.#native.close(fd);
    this.#sockets.clear();
  }

  #connect(address: number, port: number, now: number): PeerSocket | undefined {
    if (now !== this.#refusedAt) {
      this.#refused.clear();
      this.#refusedAt = now;
    }
    if (this.#refused.size >= FAILURES || this.#refused.has(address)) return undefined;
    // What the queue names of sockets was looked up by less than MESSAGES.
    const crowds = address === this.#crowding;
    const room = this.#sockets.size < this.#most || this.#makeRoom(crowds ? MESSAGES : IDLE);
    if (!room) return undefined;
    if (crowds) this.#crowding = 0;
    let fd = -1;
    try {
      fd = openSender(this.#native, this.#local, this.#localPort, this.#device);
      const row = new Uint8Array(ADDRESS_SIZE);
      socketAddress.writeIpv4(row, 0, address, port);
      this.#native.udpConnect(fd, row);
    } catch {
      // No route there just now, or no descriptor left: the send itself will tell.
      if (fd >= 0) this.#native.close(fd);
      this.#refused.add(address);
      return undefined;
    }
    const used = this.#lookups;
    const socket = { fd, used, cutByRoute: false, buffer: FIRST_BUFFER, fullAt: 0, taken: 0 };
    this.#sockets.set(address, socket);
    return socket;
  }

  /** Closes the socket that was used least recently, if `idle` lookups or more ago. */
  #makeRoom(idle: number): boolean {
    if (idle === IDLE && this.#lookups < this.#noRoomBefore) return false;
    let oldest = 0;
    let used = Number.POSITIVE_INFINITY;
    for (const [address, socket] of this.#sockets) {
      if (socket.used < used) {
        used = socket.used;
        oldest = address;
      }
    }
    this.#noRoomBefore = used + IDLE;
    if (this.#lookups - used < idle) return false;
    this.#native.close(this.#sockets.get(oldest)!.fd);
    this.#sockets.delete(oldest);
    return true;
  }
}
