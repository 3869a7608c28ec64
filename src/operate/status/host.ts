/** What `weft status` says of the host's own queues, beside what the lanes dropped. */
import { count } from './format.js';

/**
 * Since weft began, of its whole network namespace: what other programs there lost is among it.
 * The names are the kernel's, of /proc/net/snmp; those of the TUN are in /proc/net/dev.
 */
export interface HostCounters {
  readonly udpSndbufErrors: number;
  readonly udpMemErrors: number;
  readonly udpRcvbufErrors: number;
  readonly udpInCsumErrors: number;
  readonly ipReasmFails: number;
  readonly ipOutDiscards: number;
  readonly ipFragFails: number;
  /** Of the device, and of those that had its name before it. */
  readonly tunTxDrops: number;
}

/** What each means, and what to do; `underlay` and `tun` are the devices' names. */
const MEANING: readonly (readonly [
  keyof HostCounters,
  (n: string, underlay: string, tun: string) => readonly string[],
])[] = [
  [
    'udpSndbufErrors',
    (n, underlay) => [
      `${n} sends, each of one datagram or many, met a full queue of ${underlay} or a full send buffer`,
      `counted as sent, or as send_peer_full; tc -s qdisc show dev ${underlay} tells of the queue`,
    ],
  ],
  [
    'udpMemErrors',
    (n) => [
      `${n} datagrams lost: all the memory that UDP may have here was in use`,
      'raise net.ipv4.udp_mem, or see which socket is not read: ss -uamp',
    ],
  ],
  [
    'udpRcvbufErrors',
    (n) => [
      `${n} datagrams lost: receive buffer full`,
      'the socket was not read in time: free processors for weft, or more -lanes',
    ],
  ],
  [
    'udpInCsumErrors',
    (n, underlay) => [
      `${n} datagrams with a bad checksum`,
      `damaged on their way; should ${underlay}'s own sums be wrong: ethtool -K ${underlay} rx off`,
    ],
  ],
  [
    'ipReasmFails',
    (n) => [
      `${n} packets lost: not all of their fragments came`,
      'lost or filtered on their way: let fragments pass, or give the sender a smaller MTU',
    ],
  ],
  [
    'ipOutDiscards',
    (n, underlay) => [
      `${n} packets dropped on their way out: a full queue or buffer, or the firewall`,
      `tc -s qdisc show dev ${underlay} and nft list ruleset tell which`,
    ],
  ],
  [
    'ipFragFails',
    (n) => [
      `${n} packets longer than their next link that may not be cut`,
      'their senders were told the MTU, which is as it should be unless ICMP is filtered',
    ],
  ],
  [
    'tunTxDrops',
    (n, _, tun) => [
      `${n} packets lost before weft: the queue of ${tun} was full`,
      'the lanes did not read it in time: free processors for weft, or more -lanes',
    ],
  ],
];

/** Two lines for each that is not 0: what happened, and below it what to do. */
export function describeHost(
  host: HostCounters,
  underlay: string,
  tun: string,
): [string, string][] {
  return MEANING.flatMap(([field, words]) => {
    if (host[field] === 0) return [];
    const [what = '', todo = ''] = words(count(host[field]), underlay, tun);
    return [
      ['host', what],
      ['', `  ${todo}`],
    ] as [string, string][];
  });
}
