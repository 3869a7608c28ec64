/** A packet that was dropped of late, as status and page tell it: one line from its first bytes. */
import type { DropSample } from '../../dataplane/forward/drop-samples.js';
import type { DropName } from '../../dataplane/forward/drops.js';
import * as ipv4 from '../../dataplane/wire/ipv4.js';
import { describeInside, describeIpv4 } from '../capture/describe.js';
import { ago } from './format.js';

export interface DropSeen {
  readonly reason: DropName;
  /** From the underlay, or to it. */
  readonly direction: 'in' | 'out';
  /** The other end's address on the underlay; null where it is not known or there is none. */
  readonly peer: string | null;
  /** `VXLAN VNI 7: UDP 10.5.72.9:53 > 10.5.52.2:4242 DF 84 bytes`. */
  readonly packet: string;
  readonly secondsAgo: number;
}

export function describeSample(sample: DropSample): DropSeen {
  const { reason, isFrame, address, bytes, length, secondsAgo } = sample;
  const isOut = reason.startsWith('outbound_') || reason.startsWith('send_');
  return {
    reason,
    direction: isOut ? 'out' : 'in',
    peer: address === 0 ? null : ipv4.formatAddress(address),
    packet: isFrame
      ? describeInside('VXLAN', bytes, 0, bytes.length, length)
      : describePacket(bytes, length),
    secondsAgo,
  };
}

const IPV6_HEADER = 40;

function describePacket(bytes: Uint8Array, length: number): string {
  const version = bytes.length === 0 ? 0 : ipv4.version(bytes, 0);
  if (version === 4) return describeIpv4(bytes, 0, bytes.length);
  if (version !== 6 || bytes.length < IPV6_HEADER) return `no IP packet, ${length} bytes`;
  const address = (at: number): string => {
    const words = Array.from({ length: 8 }, (_, i) => {
      return ((bytes[at + 2 * i]! << 8) | bytes[at + 2 * i + 1]!).toString(16);
    });
    return words.join(':').replace(/(?:^|:)0(?::0)+(?:$|:)/, '::');
  };
  const protocol = bytes[6] === ICMPV6 ? 'ICMPv6' : `protocol ${bytes[6]}`;
  return `IPv6 ${address(8)} > ${address(24)} ${protocol}, ${length} bytes`;
}

const ICMPV6 = 58;

/** `from 192.168.56.12, 3 s ago`. */
export function aboutDrop({ direction, peer, secondsAgo }: DropSeen): string {
  const other = peer === null ? '' : `${direction === 'in' ? 'from' : 'to'} ${peer}, `;
  return `${other}${ago(secondsAgo)}`;
}
