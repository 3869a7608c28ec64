/** What the host's own queues lose just now, beside what the lanes drop. */

import { quoted } from '../../control/shell.js';
import { count } from '../status/format.js';
import type { HostCounters } from '../status/host.js';
import type { Status } from '../status/status.js';
import type { AnyStatus } from './check.js';
import type { Finding } from './finding.js';

/** A queue that loses less a second, or a smaller part of what passes, does what queues do. */
const LEAST_A_SECOND = 5;
const LEAST_PART = 0.01;
/** Of bad checksums more than this is no noise on the line: somebody writes wrong ones. */
const MOST = 0.5;

interface Kind {
  readonly counter: keyof HostCounters;
  readonly code: string;
  /** What passes in its way. */
  readonly passes: 'outbound_in_packets' | 'inbound_in_packets';
  readonly words: (n: string, status: Status) => Pick<Finding, 'about' | 'text' | 'cure'>;
}

const MORE_LANES =
  'free processors for weft (top -H shows who has them), or give it more of them with -lanes';

const KINDS: readonly Kind[] = [
  {
    counter: 'udpInCsumErrors',
    code: 'csum-errors',
    passes: 'inbound_in_packets',
    words: (n, { underlay: { interface: name } }) => ({
      about: name,
      text:
        `${n} datagrams a second come in with a wrong checksum and are dropped: damaged on their ` +
        `way, or wrongly summed by the sender's card or by ${name}`,
      cure: `ethtool -K ${quoted(name)} rx off; should that not help, on the sender: ethtool -K ${quoted(name)} tx off`,
    }),
  },
  {
    counter: 'udpRcvbufErrors',
    code: 'udp-rcvbuf',
    passes: 'inbound_in_packets',
    words: (n) => ({
      about: 'UDP',
      text: `${n} datagrams a second are lost, since the receive buffer is full: it is not read in time`,
      cure: MORE_LANES,
    }),
  },
  {
    counter: 'udpMemErrors',
    code: 'udp-mem',
    passes: 'inbound_in_packets',
    words: (n) => ({
      about: 'UDP',
      text: `${n} datagrams a second are lost, since all memory that UDP may have is in use`,
      cure: 'raise net.ipv4.udp_mem, or see whose socket is not read: ss -uamp',
    }),
  },
  {
    counter: 'ipReasmFails',
    code: 'fragments-lost',
    passes: 'inbound_in_packets',
    words: (n) => ({
      about: 'fragments',
      text: `${n} packets a second are lost, since not all of their fragments come`,
      cure: 'let fragments pass on the way here, or give the sender the MTU of the path',
    }),
  },
  {
    counter: 'udpSndbufErrors',
    code: 'send-queue-full',
    passes: 'outbound_in_packets',
    words: (n, { underlay: { interface: name } }) => ({
      about: name,
      text: `${n} sends a second meet a full queue of ${name}: more is sent than it takes`,
      cure: `tc -s qdisc show dev ${quoted(name)}   (a shaper there, or a slow line)`,
    }),
  },
  {
    counter: 'tunTxDrops',
    code: 'tun-queue',
    passes: 'outbound_in_packets',
    words: (n, { device: { name } }) => ({
      about: name,
      text: `${n} packets a second are lost before weft: the queue of ${name} is full, since it is not read in time`,
      cure: MORE_LANES,
    }),
  },
];

export function judgeQueues(now: AnyStatus, before: AnyStatus | undefined): Finding[] {
  if (now.backend !== 'vxlan' || before?.backend !== 'vxlan') return [];
  const seconds = now.uptimeSeconds - before.uptimeSeconds;
  if (!(seconds > 0)) return [];
  return KINDS.flatMap(({ counter, code, passes, words }): Finding[] => {
    const lost = now.host[counter] - before.host[counter];
    const passed = now.counters[passes] - before.counters[passes];
    const part = lost / (lost + passed);
    if (lost < LEAST_A_SECOND * seconds || !(part >= LEAST_PART)) return [];
    // Anybody may send wrong sums here: that must not make this host look broken.
    const isError = counter === 'udpInCsumErrors' && part >= MOST;
    const severity = isError ? 'error' : 'warning';
    const scope = isError ? 'peer' : 'host';
    return [{ code, severity, scope, ...words(count(Math.round(lost / seconds)), now) }];
  });
}
