/**
 * Leases in the store that are not as they should be, and a network config that flanneld refuses.
 * What would hurt a real flanneld counts though weft gets along with it: whoever adds one, or starts
 * one anew, loses packets. What it does was seen on flanneld 0.28.
 */
import type { UnsoundLease } from '../status/status.js';
import type { AnyStatus } from './check.js';
import { etcdOf, quoted } from './etcdctl.js';
import type { Finding, Severity } from './finding.js';

/** More leases than this are told as a number. */
const TOLD = 10;

interface Effect {
  readonly severity: Severity;
  /** What comes of it. */
  readonly text: string;
  /** What is to be done when the entry is removed. */
  readonly after: string;
}

const LOST_ALL =
  'each flanneld that was running lost all its peers when it was written, for minutes or for good';

const EFFECTS: Readonly<Record<NonNullable<UnsoundLease['flanneld']>, Effect>> = {
  'drops all': {
    severity: 'error',
    text: LOST_ALL,
    after: 'then restart each flanneld',
  },
  'drops all, by key': {
    severity: 'error',
    text: LOST_ALL,
    after: 'each flanneld loses its peers once more when it goes: then restart each',
  },
  stops: {
    severity: 'error',
    text:
      'each flanneld hears of no other host any more, though its health says nothing of it, and one ' +
      'that has this IPv4 subnet crashes whenever it starts',
    after: 'then end each flanneld by kill -9 and start it',
  },
  stalls: {
    severity: 'warning',
    text:
      'each flanneld tries for a minute to set it, at each of its starts too, and hears of no ' +
      'other host until then',
    after: '',
  },
  'is cut off': {
    severity: 'error',
    text: 'each flanneld leads its own packets to other hosts and to etcd into its tunnel, and is cut off',
    after: 'then remove that route where flanneld runs, and restart it',
  },
  misdirects: {
    severity: 'error',
    text: 'each flanneld sends to the one of them what is for the other',
    after: '',
  },
  skips: { severity: 'warning', text: 'no flanneld reaches containers there', after: '' },
  takes: {
    severity: 'warning',
    text: 'it is used as it is, until its host starts anew and takes another',
    after: '',
  },
};

/** What neither of the two uses, or flanneld alone, hurts no other host. */
const REFUSED: Partial<typeof EFFECTS> = {
  skips: { severity: 'warning', text: 'nor does a flanneld use it', after: '' },
  takes: { severity: 'warning', text: 'a flanneld uses it', after: '' },
};

export function judgeUnsound({ unsoundLeases, store }: AnyStatus): Finding[] {
  const told = unsoundLeases.slice(0, TOLD).map((lease) => judgeLease(lease, store));
  const more = unsoundLeases.length - told.length;
  if (more === 0) return told;
  return [
    ...told,
    {
      ...{ code: 'lease-refused', severity: 'warning', scope: 'peer', about: 'more leases' },
      text: `${more} more leases are not as they should be`,
      cure: 'weft status -json   (has them in unsoundLeases)',
    },
  ];
}

function judgeLease({ key, why, used, flanneld }: UnsoundLease, store: string): Finding {
  const harmless = flanneld === null || used ? undefined : REFUSED[flanneld];
  const effect = harmless ?? (flanneld === null ? undefined : EFFECTS[flanneld]);
  const isHarm = effect !== undefined && harmless === undefined;
  const etcd = etcdOf(store);
  const after = effect?.after ? `   (${effect.after})` : '';
  return {
    code: isHarm ? 'lease-harmful' : 'lease-refused',
    severity: effect?.severity ?? 'warning',
    scope: isHarm ? 'store' : 'peer',
    about: `lease ${key}`,
    text: `lease ${key} ${why}${effect === undefined ? '' : `; ${effect.text}`}`,
    cure:
      etcd === undefined
        ? `correct its entry in ${store}, or remove it`
        : `${etcd.command} del ${quoted(`${etcd.prefix}/subnets/${key}`)}${after}`,
  };
}

export function judgeConfig({ flanneldRefuses, store }: AnyStatus): Finding[] {
  const etcd = etcdOf(store);
  if (flanneldRefuses === null || etcd === undefined) return [];
  const { why, better } = flanneldRefuses;
  return [
    {
      ...{ code: 'config-harmful', severity: 'warning', scope: 'store', about: 'config' },
      text: `the network config ${why}: a flanneld that starts waits for ever, and its host is in no network`,
      cure: `${etcd.command} put ${quoted(`${etcd.prefix}/config`)} ${quoted(better)}`,
    },
  ];
}
