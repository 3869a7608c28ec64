/**
 * Tiers: which offloads are in force, from the fastest down. Each is what some kernel has;
 * each can be asked for by name, so that all of them are tried on one kernel.
 *
 *   segment       UDP_SEGMENT out, UDP_GRO in; the TUN hands over TCP and UDP super-packets
 *   segment-tso   the same without UDP super-packets            (kernels before 6.2)
 *   sendmmsg      every datagram leaves and comes alone         (4.18 and older, or refused)
 *   none          the TUN has no vnet header either: single packets with finished checksums
 */
export const TIER_NAMES = ['segment', 'segment-tso', 'sendmmsg', 'none'] as const;

export type TierName = (typeof TIER_NAMES)[number];

/** What is wanted of the kernel. */
export interface Tier {
  /** A TUN with vnet header, and TCP super-packets on it. */
  readonly vnet: boolean;
  /** UDP super-packets on the TUN. */
  readonly uso: boolean;
  readonly udpSegment: boolean;
  readonly gro: boolean;
}

export const TIERS: { readonly [name in TierName]: Tier } = {
  segment: { vnet: true, uso: true, udpSegment: true, gro: true },
  'segment-tso': { vnet: true, uso: false, udpSegment: true, gro: true },
  sendmmsg: { vnet: true, uso: true, udpSegment: false, gro: false },
  none: { vnet: false, uso: false, udpSegment: false, gro: false },
};

/** The tier that is in force, by what the kernel gave. */
export function tierName(vnet: boolean, uso: boolean, udpSegment: boolean): TierName {
  if (!vnet) return 'none';
  if (!udpSegment) return 'sendmmsg';
  return uso ? 'segment' : 'segment-tso';
}
