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
  /** Bytes, as the kernel accounts them. */
  readonly receiveBuffer: number;
}

/**
 * Opens the sockets on `address` (int32). Throws a NativeError: EADDRINUSE when the port is
 * taken, by a process or by a kernel VXLAN device; EADDRNOTAVAIL when the address is not here.
 */
export function openUdp(
  address: number,
  port: number,
  wanted: { readonly segments: boolean; readonly gro: boolean } = TIERS.segment,
): OpenUdp {
  const native = loadNative();
  const opened: number[] = [];
  try {
    const listener = native.udpOpen(4);
    opened.push(listener);
    const row = new Uint8Array(ADDRESS_SIZE);
    socketAddress.writeIpv4(row, 0, address, port);
    native.udpBind(listener, row);
    if (native.setOption(listener, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER) !== 0) {
      native.setOption(listener, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER);
    }
    native.setOption(listener, SOL_IP, IP_RECVTOS, 1);
    const gro = wanted.gro && native.setOption(listener, SOL_UDP, UDP_GRO, 1) === 0;
    const receiveBuffer = native.getOption(listener, SOL_SOCKET, SO_RCVBUF);

    const sender = openSender(native, address, 0);
    opened.push(sender);
    const segment = wanted.segments && native.setOption(sender, SOL_UDP, UDP_SEGMENT, 0) === 0;
    return { listener, sender, segment, gro, receiveBuffer };
  } catch (error) {
    for (const fd of opened) native.close(fd);
    throw error;
  }
}

export class UdpUnderlay implements Underlay {
  readonly sender: number;
  readonly #native: Native;
  readonly #listener: number;
  readonly #peers: PeerSockets;

  constructor(native: Native, sockets: Pick<OpenUdp, 'listener' | 'sender'>) {
    this.#native = native;
    this.#listener = sockets.listener;
    this.sender = sockets.sender;
    this.#peers = new PeerSockets(native, sockets.sender);
  }

  /** Closes the peers' sockets; the two that were given belong to their opener. */
  close(): void {
    this.#peers.close();
  }

  socketTo(address: number, port: number): number {
    return this.#peers.socketTo(address, port);
  }

  receive(): number {
    return this.#native.udpReceive(
      this.#listener,
      LAYOUT.datagrams,
      BATCH,
      LAYOUT.inbound,
      INBOUND_END,
      INBOUND_HEADROOM,
      LAYOUT.senders,
    );
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
