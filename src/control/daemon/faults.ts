/** What the daemon's parts say in a line each, as findings. */
import type { Finding } from '../../operate/findings/finding.js';

type Kind = Pick<Finding, 'code' | 'severity' | 'scope'>;

export const FIREWALL: Kind = { code: 'firewall-rules', severity: 'warning', scope: 'host' };
export const NO_WAY: Kind = { code: 'peer-no-way', severity: 'error', scope: 'peer' };
export const CLASH: Kind = { code: 'clash', severity: 'warning', scope: 'host' };
export const STANDS: Kind = { code: 'lane-stands', severity: 'error', scope: 'host' };
export const LOST: Kind = { code: 'lease-lost', severity: 'error', scope: 'host' };
export const NOT_SAVED: Kind = { code: 'network-not-saved', severity: 'warning', scope: 'host' };
export const LEASE: Kind = { code: 'lease', severity: 'warning', scope: 'store' };
export const REFUSED: Kind = { code: 'lease-refused', severity: 'warning', scope: 'peer' };
export const LOG: Kind = { code: 'log-lost', severity: 'warning', scope: 'host' };

/** `lines` hold their cures; an empty text is none. */
export function asFindings(kind: Kind, lines: readonly string[] | string): Finding[] {
  const all = typeof lines === 'string' ? [lines].filter((line) => line !== '') : lines;
  return all.map((text) => ({ ...kind, about: '', text, cure: '' }));
}
