/**
 * flanneld's flags that mean nothing in etcd mode, or ask for what weft does not have: accepted
 * at flanneld's default, as a unit file may spell it out, and refused by name otherwise.
 */
import { type Flag, type Flags, UsageError, variableOf } from './flags.js';

type OnlyDefault = Flag & { readonly why: string };

const KUBERNETES = 'belongs to the Kubernetes store, and weft keeps its leases in etcd';

export const ONLY_DEFAULT: readonly OnlyDefault[] = [
  { name: 'kube-subnet-mgr', kind: 'bool', help: '', default: 'false', why: KUBERNETES },
  { name: 'kube-api-url', kind: 'string', help: '', default: '', why: KUBERNETES },
  {
    name: 'kube-annotation-prefix',
    kind: 'string',
    help: '',
    default: 'flannel.alpha.coreos.com',
    why: KUBERNETES,
  },
  { name: 'kubeconfig-file', kind: 'string', help: '', default: '', why: KUBERNETES },
  {
    name: 'net-config-path',
    kind: 'string',
    help: '',
    default: '/etc/kube-flannel/net-conf.json',
    why: 'is read with the Kubernetes store alone; with etcd the config is the key PREFIX/config',
  },
  {
    name: 'set-node-network-unavailable',
    kind: 'bool',
    help: '',
    default: 'true',
    why: KUBERNETES,
  },
  {
    name: 'public-ipv6',
    kind: 'string',
    help: '',
    default: '',
    why: 'asks for an IPv6 underlay, which weft does not have',
  },
];

/** Throws a UsageError that names the first that is not at its default, and the reason. */
export function refuseOtherThanDefault(flags: Flags): void {
  for (const { name, kind, default: usual = '', why } of ONLY_DEFAULT) {
    const same = kind === 'bool' ? String(flags.bool(name)) : flags.text(name);
    if (same === usual) continue;
    throw new UsageError(
      `-${name}${flags.text(name) === '' ? '=' : `=${flags.text(name)}`} (or ` +
        `${variableOf('FLANNELD_', name)}): this flag of flanneld's ${why}`,
    );
  }
}
