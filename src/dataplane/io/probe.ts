/**
 * Whether UDP_SEGMENT works here, found out by doing: two segments sent to oneself over the
 * loopback device must arrive as two datagrams. (Some sandboxes take the option and then send
 * something else, or nothing.)
 */
import {
  ADDRESS_SIZE,
  BATCH,
  DATAGRAM_ROW,
  INBOUND_END,
  LAYOUT,
  type LaneMemory,
  MESSAGES,
} from './memory.js';
import type { Native } from './native.js';
import * as socketAddress from './socket-address.js';

const LOOPBACK = 0x7f000001;
const SEGMENT = 100;

/** Uses the tables of `memory`, which is registered with `native` and idle. Never throws. */
export function probeSegmentation(native: Native, memory: LaneMemory): boolean {
  const { words } = memory;
  const opened: number[] = [];
  try {
    const address = new Uint8Array(ADDRESS_SIZE);
    const open = (): number => {
      const fd = native.udpOpen(4);
      opened.push(fd);
      socketAddress.writeIpv4(address, 0, LOOPBACK, 0);
      native.udpBind(fd, address);
      return fd;
    };
    const receiver = open();
    const sender = open();
    native.udpName(receiver, address);
    memory.bytes.set(address, LAYOUT.destinations);
    words.set([LAYOUT.outbound, 2 * SEGMENT], LAYOUT.sendIovecs >> 2);
    words.set([sender, 0, SEGMENT, 0, 0, 1], LAYOUT.messages >> 2);
    const { messages, sendIovecs, destinations, datagrams, inbound, senders } = LAYOUT;
    if (native.udpSend(messages, 1, sendIovecs, 1, destinations, MESSAGES) !== 1) return false;
    // The loopback device delivers before the send returns.
    const received = native.udpReceive(
      receiver,
      datagrams,
      BATCH,
      inbound,
      INBOUND_END,
      0,
      senders,
    );
    const length = (row: number): number =>
      words[(datagrams >> 2) + row * DATAGRAM_ROW.words + DATAGRAM_ROW.length]!;
    return received === 2 && length(0) === SEGMENT && length(1) === SEGMENT;
  } catch {
    return false;
  } finally {
    for (const fd of opened) native.close(fd);
  }
}
