/** The network config in the store: one that flanneld refuses, or that is not the one in force. */
import { quoted } from '../../control/shell.js';
import type { ConfigChange } from '../status/status.js';
import type { AnyStatus } from './check.js';
import { etcdOf, type StoreAt } from './etcdctl.js';
import type { Finding } from './finding.js';

const OF = { scope: 'store', about: 'config' } as const;

/** One that weft takes and flanneld does not. */
export function judgeConfig({
  flanneldRefuses,
  ...at
}: StoreAt & Pick<AnyStatus, 'flanneldRefuses'>): Finding[] {
  const etcd = etcdOf(at);
  if (flanneldRefuses === null || etcd === undefined) return [];
  const { why, better } = flanneldRefuses;
  return [
    {
      ...{ ...OF, code: 'config-harmful', severity: 'warning' },
      text: `the network config ${why}: a flanneld that starts waits for ever, and its host is in no network`,
      cure: `${etcd.command} put ${quoted(`${etcd.prefix}/config`)} ${quoted(better)}`,
    },
  ];
}

/**
 * It was changed while weft runs, which counts from the next start on. A note where hosts reach each
 * other with either. A store that is away tells nothing of it.
 */
export function judgeConfigChange(status: AnyStatus): Finding[] {
  const { configChange, storeState, store } = status;
  if (configChange === null || storeState.awaySeconds !== null) return [];
  const { is, parts, inForce } = configChange;
  const severity = is === 'another' && !parts ? 'note' : 'warning';
  const etcd = etcdOf(status);
  const back =
    etcd === undefined
      ? `put back as "config" in ${store}: ${inForce}`
      : `${etcd.command} put ${quoted(`${etcd.prefix}/config`)} ${quoted(inForce)}`;
  const cure =
    is === 'another'
      ? `systemctl restart weft   (on each host, a flanneld too; or put the old one back: ${back})`
      : back;
  const text = `the network config ${describe(configChange)}`;
  return [{ ...OF, code: 'config-changed', severity, text, cure }];
}

function describe({ is, what, parts }: ConfigChange): string {
  const why = what.join(', ');
  const here = 'this host goes on with the one it started with';
  if (is === 'gone') return `was removed: ${here}, and one that starts waits until there is one`;
  if (is === 'unusable') {
    return `was changed, and cannot be used (${why}): ${here}, and one that starts does not come up`;
  }
  const others = parts
    ? 'and those that start from now on may not reach it'
    : 'those that start from now on take the new one, and they reach each other';
  return `was changed (${why}): ${here}, ${others}`;
}
