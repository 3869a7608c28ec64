/** The command that speaks to the store of this network, where that is etcd. */

import { quoted } from '../../control/shell.js';
import type { AnyStatus } from './check.js';

export interface EtcdAt {
  /** `etcdctl --cacert=/etc/ssl/ca.pem --endpoints=https://192.168.56.131:2379`. */
  readonly command: string;
  /** `/coreos.com/network`. */
  readonly prefix: string;
}

/** As status has them. */
export type StoreAt = Pick<AnyStatus, 'store' | 'etcdctlFlags'>;

/** Undefined where it is no etcd. */
export function etcdOf({ store, etcdctlFlags }: StoreAt): EtcdAt | undefined {
  const [, endpoints, prefix] = /^etcd at (\S+), prefix (.+)$/.exec(store) ?? [];
  if (endpoints === undefined || prefix === undefined) return undefined;
  // An older weft, of before an upgrade, tells none.
  const flags = etcdctlFlags ? `${etcdctlFlags} ` : '';
  return { command: `etcdctl ${flags}--endpoints=${quoted(endpoints)}`, prefix };
}
