/** The kernel's UDP sockets as an Underlay: one that listens, and those that send. */
import type { Underlay } from './device.js';
import {
  ADDRESS_SIZE,
  BATCH,
  INBOUND_END,
  INBOUND_HEADROOM,
  LAYOUT,
  MESSAGE_ROW,
  MESSAGES,
} from './memory.js';
import {
  IP_RECVTOS,
  loadNative,
  type Native,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_REUSEPORT,
  SOL_IP,
  SOL_SOCKET,
  SOL_UDP,
  UDP_GRO,
  UDP_SEGMENT,
} from './native.js';
import { openSender, PeerSockets } from './peer-sockets.js';
import * as socketAddress from './socket-address.js';
import { TIERS } from './tiers.js';

/** 8 MiB: the default 208 KiB drops whole super-packets under load. */
const RECEIVE_BUFFER = 8 * 1024 * 1024;

/** Two open sockets, and what the kernel offers on them. */
export interface OpenUdp {
  /** Bound to the configured address and port; receives only. */
  readonly listener: number;
  /** Bound to the same address and a port of the kernel's choice; sends only. */
  readonly sender: number;
  readonly segment: boolean;
  readonly gro: boolean;
  /** The VRF that they are in, if any. */
  readonly device: string | undefined;
  /** Bytes, as the kernel accounts them. */
  readonly receiveBuffer: number;
}

/** Which lane of how many the sockets are for. */
interface Share {
  readonly lane: number;
  readonly lanes: number;
}

/** Binds tried for a sender's port that tells its lane, for each lane there is. */
const TRIES = 32;

/**
 * Opens the sockets on `address` (int32), in the VRF `device` if given. Throws a NativeError:
 * EADDRINUSE when the port is taken, by a process or by a kernel VXLAN device; EADDRNOTAVAIL when
 * the address is not here; with the syscall SO_BINDTODEVICE when the VRF cannot be used.
 */
export function openUdp(
  address: number,
  port: number,
  wanted: { readonly udpSegment: boolean; readonly gro: boolean } = TIERS.segment,
  share: Share = { lane: 0, lanes: 1 },
  device?: string,
): OpenUdp {
  const native = loadNative();
  const opened: number[] = [];
  try {
    const listener = native.udpOpen(4);
    opened.push(listener);
    if (share.lanes > 1) native.setOption(listener, SOL_SOCKET, SO_REUSEPORT, 1);
    if (device !== undefined) native.udpBindDevice(listener, device);
    const row = new Uint8Array(ADDRESS_SIZE);
    socketAddress.writeIpv4(row, 0, address, port);
    native.udpBind(listener, row);
    if (native.setOption(listener, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER) !== 0) {
      native.setOption(listener, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER);
    }
    native.setOption(listener, SOL_IP, IP_RECVTOS, 1);
    const gro = wanted.gro && native.setOption(listener, SOL_UDP, UDP_GRO, 1) === 0;
    const receiveBuffer = native.getOption(listener, SOL_SOCKET, SO_RCVBUF);

    const sender = openLaneSender(native, address, port, share, device);
    opened.push(sender);
    const segment = wanted.udpSegment && native.setOption(sender, SOL_UDP, UDP_SEGMENT, 0) === 0;
    return { listener, sender, segment, gro, device, receiveBuffer };
  } catch (error) {
    for (const fd of opened) native.close(fd);
    throw error;
  }
}

/**
 * Opens the sockets of several lanes, whose listeners share `address` and `port`: a datagram goes
 * to the listener of lane (source port mod lanes). Throws as `openUdp` does, and with the syscall
 * `SO_ATTACH_REUSEPORT_CBPF` where the kernel does not let the listener be chosen.
 */
export function openUdpLanes(
  address: number,
  port: number,
  lanes: number,
  wanted: { readonly udpSegment: boolean; readonly gro: boolean } = TIERS.segment,
  device?: string,
): OpenUdp[] {
  if (lanes === 1) return [openUdp(address, port, wanted, { lane: 0, lanes }, device)];
  const native = loadNative();
  checkFree(native, address, port, device);
  const opened: OpenUdp[] = [];
  try {
    for (let lane = 0; lane < lanes; lane += 1) {
      const sockets = openUdp(address, port, wanted, { lane, lanes }, device);
      opened.push(sockets);
      // The group's number of a socket is the place in which it was bound.
      if (lane === 0) native.udpSteer(sockets.listener, lanes);
    }
    return opened;
  } catch (error) {
    closeUdp(opened);
    throw error;
  }
}

export function closeUdp(opened: readonly OpenUdp[]): void {
  const native = loadNative();
  for (const { listener, sender } of opened) {
    native.close(listener);
    native.close(sender);
  }
}

/** Throws EADDRINUSE for a port that a socket has, though it would share it. */
function checkFree(native: Native, address: number, port: number, device?: string): void {
  const fd = native.udpOpen(4);
  try {
    if (device !== undefined) native.udpBindDevice(fd, device);
    const row = new Uint8Array(ADDRESS_SIZE);
    socketAddress.writeIpv4(row, 0, address, port);
    native.udpBind(fd, row);
  } finally {
    native.close(fd);
  }
}

/**
 * The sender of a lane: its port modulo the lanes is the lane, so that a peer with as many lanes
 * takes in by the same one. Where no such port is found it is any: that costs nothing but this.
 * (Of two sockets that would share a port the kernel may give the second the first one's; never
 * the listeners', where it would be one of them.)
 */
function openLaneSender(
  native: Native,
  address: number,
  listens: number,
  { lane, lanes }: Share,
  device?: string,
): number {
  const row = new Uint8Array(ADDRESS_SIZE);
  for (let left = lanes > 1 ? TRIES * lanes : 0; ; left -= 1) {
    const fd = openSender(native, address, 0, device);
    if (lanes === 1) return fd;
    native.udpName(fd, row);
    const port = socketAddress.port(row, 0);
    if (port !== listens && (left <= 0 || port % lanes === lane)) return fd;
    native.close(fd);
  }
}

export class UdpUnderlay implements Underlay {
  readonly sender: number;
  readonly #native: Native;
  readonly #listener: number;
  readonly #peers: PeerSockets;
  readonly #told: Int32Array;

  /**
   * @param most peers that may have a socket of their own
   * @param told where the rows of each batch received are told to who looks from outside
   */
  constructor(
    native: Native,
    sockets: Pick<OpenUdp, 'listener' | 'sender'> & { readonly device?: string | undefined },
    most?: number,
    told: Int32Array = new Int32Array(1),
  ) {
    this.#native = native;
    this.#listener = sockets.listener;
    this.sender = sockets.sender;
    this.#peers = new PeerSockets(native, sockets.sender, most, sockets.device);
    this.#told = told;
  }

  /** Closes the peers' sockets; the two that were given belong to their opener. */
  close(): void {
    this.#peers.close();
  }

  socketTo(address: number, port: number, cutByRoute: boolean, now: number): number {
    return this.#peers.socketTo(address, port, cutByRoute, now);
  }

  full(address: number, bytes: number, now: number): void {
    this.#peers.full(address, bytes, now);
  }

  receive(): number {
    const rows = this.#native.udpReceive(
      this.#listener,
      LAYOUT.datagrams,
      BATCH,
      LAYOUT.inbound,
      INBOUND_END,
      INBOUND_HEADROOM,
      LAYOUT.senders,
    );
    this.#told[0] = rows;
    return rows;
  }

  send(from: number, rows: number, iovecRows: number): number {
    return this.#native.udpSend(
      LAYOUT.messages + from * MESSAGE_ROW.words * 4,
      rows,
      LAYOUT.sendIovecs,
      iovecRows,
      LAYOUT.destinations,
      MESSAGES,
    );
  }

  lastError(): number {
    return this.#native.lastError();
  }
}
