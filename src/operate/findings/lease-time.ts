/**
 * Whether leases in etcd last as long as they should. etcd counts their time by its leader's clock,
 * weft by this host's: where the two run apart, or one of them stood still (a suspended machine), a
 * lease ends before its host thinks. weft goes by etcd's word, which it asks for twice a minute; a
 * flanneld does not, and a host with a count of its own cannot be told from here. The times of day of
 * the two hosts play no part.
 */
import { duration } from '../status/format.js';
import type { AnyStatus } from './check.js';
import { etcdOf } from './etcdctl.js';
import type { Finding } from './finding.js';

const OF = { severity: 'warning', scope: 'store', about: 'store' } as const;

export function judgeLeaseTime(status: AnyStatus): Finding[] {
  const { storeState, lease } = status;
  const { leaseDrift, shortLease } = storeState;
  const found: Finding[] = [];
  if (leaseDrift !== null) {
    const { seconds, overSeconds } = leaseDrift;
    const by = `${Math.abs(Math.round(seconds))} s ${seconds > 0 ? 'more' : 'less'}`;
    const who =
      seconds > 0
        ? "etcd's clock is fast, or this host's slow, or it stood still (a suspended machine): where " +
          'a flanneld has such a clock, its lease ends before it is renewed'
        : "etcd's clock is slow, or this host's fast: leases of hosts that are gone stay longer";
    found.push({
      ...OF,
      code: 'lease-clock',
      text: `our lease in etcd ran down by ${by} than by this host's clock, in ${duration(overSeconds)}: ${who}`,
      cure: "chronyc tracking   (here and on the hosts of etcd; a guest's clock: kvm-clock, and no suspending)",
    });
  }
  if (shortLease !== null) {
    const { asked, granted } = shortLease;
    const command = etcdOf(status)?.command ?? 'etcdctl';
    found.push({
      ...OF,
      code: 'lease-short',
      text:
        `etcd grants a lease for ${duration(granted)} where ${duration(asked)} were asked for: ` +
        'while it is away for longer than that, the other hosts forget this one',
      cure: `${command} lease timetolive ${lease.id ?? 'ID'}   (shows it; see to what answers for etcd)`,
    });
  }
  return found;
}
