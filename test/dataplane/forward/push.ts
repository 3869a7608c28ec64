/** Super-packets for a lane without a thread, and what leaves of them. */
import { segment } from './oracle.js';
import {
  ihl,
  leavePartial,
  NEEDS_CSUM,
  OVERHEAD,
  sumAt,
  tcpPacket,
  udpPacket,
  vnetHeader,
} from './packets.js';
import { Random } from './random.js';
import type { Rig } from './rig.js';

/** Ends in our subnet and in those of the two peers. */
export const TO_B = { source: '10.5.52.7', destination: '10.5.72.9' } as const;
export const TO_C = { source: '10.5.52.7', destination: '10.5.90.9' } as const;

const random = new Random(23);

/** Queues a TCP super-packet with `size` bytes of payload; gives the packets that it stands for. */
export function pushSuper(
  rig: Rig,
  to: typeof TO_B | typeof TO_C,
  size: number,
  gso = 1000,
): Uint8Array[] {
  const packet = tcpPacket({ ...to, payload: random.bytes(size) });
  rig.device.push(leavePartial(packet.slice()), offloadOf(packet, 1, gso));
  return segment(packet, gso);
}

/** Queues a UDP super-packet to B; gives the packets that it stands for. */
export function pushUdp(rig: Rig, gso: number, size: number): Uint8Array[] {
  const packet = udpPacket({ ...TO_B, payload: random.bytes(size) });
  rig.device.push(leavePartial(packet.slice()), offloadOf(packet, 5, gso));
  return segment(packet, gso);
}

/** The vnet header of a super-packet; `type`: 1 is TCP, 5 UDP. */
export function offloadOf(packet: Uint8Array, type: number, gso: number): Uint8Array {
  return vnetHeader(NEEDS_CSUM, type, 0, gso, ihl(packet), sumAt(packet) - ihl(packet));
}

/** The inner packets that left since it was asked last. */
export function innerOf(rig: Rig): Uint8Array[] {
  return rig.takeSent().map(({ payload }) => payload.slice(OVERHEAD));
}
