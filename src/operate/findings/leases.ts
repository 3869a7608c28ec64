/** Leases of others that contradict each other. */
import { quoted } from '../../control/shell.js';
import type { AnyStatus } from './check.js';
import { etcdOf } from './etcdctl.js';
import type { Finding } from './finding.js';

/** Of the leases with one public IP. */
const TOLD = 3;

export function judgeLeases(status: AnyStatus): Finding[] {
  const { peers, store } = status;
  const byIp = new Map<string, string[]>();
  for (const { publicIp, subnet } of peers) {
    byIp.set(publicIp, [...(byIp.get(publicIp) ?? []), subnet]);
  }
  const etcd = etcdOf(status);
  return [...byIp].flatMap(([publicIp, subnets]): Finding[] => {
    if (subnets.length < 2) return [];
    const told = subnets.slice(0, TOLD);
    const keys = told.map((subnet) => subnet.replace('/', '-')).join(' or ');
    return [
      {
        code: 'duplicate-public-ip',
        severity: 'warning',
        scope: 'peer',
        about: `peer ${publicIp}`,
        text:
          `${subnets.length} leases have the public IP ${publicIp} (${told.join(', ')}): ` +
          'one host holds at most one of them, the others are of hosts that are gone, or of ' +
          'different hosts behind one address, and what is sent there is lost',
        cure:
          etcd === undefined
            ? `remove the entries of hosts that are gone from ${store}`
            : // Which of them is alive cannot be known here, and the wrong one would cut a host off.
              `on ${publicIp}: cat /run/flannel/subnet.env   (its own; remove the others: ${etcd.command} del ` +
              `${quoted(`${etcd.prefix}/subnets/KEY`)}, KEY being ${keys})`,
      },
    ];
  });
}
