/**
 * Leases in the store that are not as they should be. What would hurt a real flanneld counts though
 * weft gets along with it: whoever adds one, or starts one anew, loses packets. What it does was seen
 * on flanneld 0.28. Whether one is in the network cannot be known: a weft's lease is to the byte what a
 * flanneld writes. So it is an error in any case, and says whom it harms.
 */

import { quoted } from '../../control/shell.js';
import type { UnsoundLease } from '../status/status.js';
import type { AnyStatus } from './check.js';
import { etcdOf, type StoreAt } from './etcdctl.js';
import { type Finding, type Severity, sortFindings } from './finding.js';

type UnsoundAt = StoreAt & Pick<AnyStatus, 'unsoundLeases'>;

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

/** Those that hurt no other host: what weft does not use, and flanneld not either, or flanneld alone. */
const HARMLESS: readonly UnsoundLease['flanneld'][] = [null, 'skips', 'takes'];

function isRefused({ used, flanneld }: UnsoundLease): boolean {
  return !used && HARMLESS.includes(flanneld);
}

/** Leases that weft does not use, and that hurt nobody else. */
export function judgeRefused({ unsoundLeases, ...at }: UnsoundAt): Finding[] {
  const kind = { code: 'lease-refused', severity: 'warning', scope: 'peer' } as const;
  const found = unsoundLeases.filter(isRefused).map(({ key, why }): Finding => {
    const text = `lease ${key} ${why}`;
    return { ...kind, about: `lease ${key}`, text, cure: removing(key, at) };
  });
  return shortened(found, 'are not used');
}

/** Those that would hurt a flanneld, whether weft uses them or not. */
export function judgeUnsound({ unsoundLeases, ...at }: UnsoundAt): Finding[] {
  const found = unsoundLeases.flatMap((lease): Finding[] => {
    const { key, why, flanneld } = lease;
    if (flanneld === null || isRefused(lease)) return [];
    const { severity, text, after } = EFFECTS[flanneld];
    return [
      {
        ...{ code: 'lease-harmful', severity, scope: 'store', about: `lease ${key}` },
        text: `lease ${key} ${why}; ${text}; no weft is harmed`,
        cure: `${removing(key, at)}${after === '' ? '' : `   (${after})`}`,
      },
    ];
  });
  return shortened(found, 'would hurt a flanneld');
}

function shortened(found: readonly Finding[], what: string): Finding[] {
  const all = sortFindings(found);
  const [told, more] = [all.slice(0, TOLD), all.slice(TOLD)];
  const [first] = more;
  if (first === undefined) return told;
  const text = `${more.length} more leases ${what}`;
  const cure = 'weft status -json   (has them in unsoundLeases)';
  return [...told, { ...first, about: 'more leases', text, cure }];
}

function removing(key: string, at: StoreAt): string {
  const etcd = etcdOf(at);
  if (etcd === undefined) return `correct its entry in ${at.store}, or remove it`;
  return `${etcd.command} del ${quoted(`${etcd.prefix}/subnets/${key}`)}`;
}
