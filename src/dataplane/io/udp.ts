/** The kernel's UDP sockets as an Underlay: one that listens, one that sends. */
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
  IP_MTU_DISCOVER,
  IP_PMTUDISC_INTERFACE,
  IP_RECVTOS,
  loadNative,
  type Native,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SOL_IP,
  SOL_SOCKET,
  SOL_UDP,
  UDP_GRO,
  UDP_SEGMENT,
} from './native.js';
import * as socketAddress from './socket-address.js';

/** 8 MiB: the default 208 KiB drops whole super-packets under load. */
const RECEIVE_BUFFER = 8 * 1024 * 1024;
const SEND_BUFFER = 8 * 1024 * 1024;

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

function setBuffer(native: Native, fd: number, force: number, plain: number, size: number): void {
  if (native.setOption(fd, SOL_SOCKET, force, size) !== 0) {
    native.setOption(fd, SOL_SOCKET, plain, size);
  }
}

/**
 * Opens the sockets on `address` (int32). Throws a NativeError: EADDRINUSE when the port is
 * taken, by a process or by a kernel VXLAN device; EADDRNOTAVAIL when the address is not here.
 *
 * What is sent has DF clear and is never fragmented by this host, as a kernel VTEP's packets
 * (IP_PMTUDISC_INTERFACE); answers to the sending port are discarded in the kernel.
 */
export function openUdp(address: number, port: number): OpenUdp {
  const native = loadNative();
  const opened: number[] = [];
  const open = (port: number): number => {
    const fd = native.udpOpen(4);
    opened.push(fd);
    const row = new Uint8Array(ADDRESS_SIZE);
    socketAddress.writeIpv4(row, 0, address, port);
    native.udpBind(fd, row);
    return fd;
  };
  try {
    const listener = open(port);
    setBuffer(native, listener, SO_RCVBUFFORCE, SO_RCVBUF, RECEIVE_BUFFER);
    native.setOption(listener, SOL_IP, IP_RECVTOS, 1);
    const gro = native.setOption(listener, SOL_UDP, UDP_GRO, 1) === 0;
    const receiveBuffer = native.getOption(listener, SOL_SOCKET, SO_RCVBUF);

    const sender = open(0);
    native.udpDiscard(sender);
    setBuffer(native, sender, SO_SNDBUFFORCE, SO_SNDBUF, SEND_BUFFER);
    native.setOption(sender, SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_INTERFACE);
    const segment = native.setOption(sender, SOL_UDP, UDP_SEGMENT, 0) === 0;
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

  constructor(native: Native, sockets: Pick<OpenUdp, 'listener' | 'sender'>) {
    this.#native = native;
    this.#listener = sockets.listener;
    this.sender = sockets.sender;
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
