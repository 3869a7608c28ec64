/**
 * Why a packet did not make it: the closed list of reasons. Every packet that enters a lane
 * leaves it, or is counted under exactly one of these.
 */
export const DROP_NAMES = [
  'none',
  // outbound, in the order of its steps
  'outbound_ipv6',
  'outbound_malformed',
  'outbound_multicast',
  'outbound_no_route',
  'outbound_local',
  'outbound_bad_offload',
  'send_too_long',
  'send_peer_full',
  'send_peer_unreachable',
  'send_denied',
  'send_failed',
  // inbound, in the order of its steps
  'unknown_sender',
  'wrong_length',
  'truncated',
  'no_vni_flag',
  'foreign_vni',
  'inner_arp',
  'inner_vlan',
  'inner_ipv6',
  'inner_not_ip',
  'multicast',
  'foreign_mac',
  'own_mac',
  'malformed_ipv4',
  'bad_ipv4_checksum',
  'spoofed_source',
  'foreign_source',
  'martian_destination',
  'not_for_us',
  'ecn_congestion',
  'too_long',
  'bad_inner_checksum',
  'tun_refused',
] as const;

export type DropName = (typeof DROP_NAMES)[number];

/** A reason is its place in the list; 0 means "not dropped". */
export const Drop = Object.fromEntries(DROP_NAMES.map((name, index) => [name, index])) as {
  readonly [name in DropName]: number;
};
