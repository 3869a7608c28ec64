/** The command that speaks to the store of this network, where that is etcd. */

export interface EtcdAt {
  /** `etcdctl --endpoints=http://192.168.56.131:2379`. */
  readonly command: string;
  /** `/coreos.com/network`. */
  readonly prefix: string;
}

/** `store` as status has it; undefined where it is no etcd. */
export function etcdOf(store: string): EtcdAt | undefined {
  const [, endpoints, prefix] = /^etcd at (\S+), prefix (.+)$/.exec(store) ?? [];
  if (endpoints === undefined || prefix === undefined) return undefined;
  return { command: `etcdctl --endpoints=${endpoints}`, prefix };
}

/** As one word for a shell. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
