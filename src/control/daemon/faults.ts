/** What the daemon's parts say is wrong, as findings. */
import type { Finding } from '../../operate/findings/finding.js';
import type { Clash } from '../host/clashes.js';
import type { Fault } from '../runtime.js';

type Kind = Pick<Finding, 'code' | 'severity' | 'scope'>;

export const FIREWALL: Kind = { code: 'firewall-rules', severity: 'warning', scope: 'host' };
export const NO_WAY: Kind = { code: 'peer-no-way', severity: 'error', scope: 'peer' };
export const STANDS: Kind = { code: 'lane-stands', severity: 'error', scope: 'host' };
export const LOST: Kind = { code: 'lease-lost', severity: 'error', scope: 'host' };
export const NOT_SAVED: Kind = { code: 'network-not-saved', severity: 'warning', scope: 'host' };
export const LEASE: Kind = { code: 'lease', severity: 'warning', scope: 'store' };
export const LOG: Kind = { code: 'log-lost', severity: 'warning', scope: 'host' };

/** Those whose parts say it themselves: at once, or, of a lease, for each value that it has. */
export const TOLD_ELSEWHERE: readonly string[] = [
  ...['lane-stands', 'lease-lost', 'log-lost', 'lease-refused'],
];

export function asFindings(kind: Kind, faults: readonly (Fault | undefined)[]): Finding[] {
  return faults.flatMap((fault) => {
    if (fault === undefined) return [];
    const { about, text, cure } = fault;
    return [{ ...kind, about, text, cure }];
  });
}

/** An error where packets are lost; what cuts some containers off does not break all of this host. */
export function clashFindings(clashes: readonly Clash[]): Finding[] {
  return clashes.flatMap((clash) => {
    const severity = clash.loses === 'none' ? 'warning' : 'error';
    const scope = clash.loses === 'some' ? 'peer' : 'host';
    return asFindings({ code: 'clash', severity, scope }, [clash]);
  });
}
