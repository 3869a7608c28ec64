/** Peers that cannot be reached, or not well: what probing and the lanes know of them. */
import type { PeerState } from '../status/peer-health.js';
import type { AnyStatus } from './check.js';
import type { Finding, Severity } from './finding.js';

/** What it weighs, by what is known of a peer; undefined where that is no fault. */
export const SEVERITY: Readonly<Record<PeerState, Severity | undefined>> = {
  unknown: undefined,
  well: undefined,
  silent: 'error',
  refused: 'error',
  unreachable: 'error',
  lossy: 'warning',
  'small-mtu': 'error',
};

/** A finding a public IP; those without a way have one already, many of them one together. */
export function judgePeers({ peers, findings }: AnyStatus): Finding[] {
  const isTold = findings.some(({ code }) => code === 'peer-no-way');
  const byAddress = new Map(peers.map((peer) => [peer.publicIp, peer.health]));
  return [...byAddress].flatMap(([publicIp, { state, code, words, todo }]) => {
    const severity = SEVERITY[state];
    if (severity === undefined || (isTold && code === 'no-route')) return [];
    const about = `peer ${publicIp}`;
    return [
      { code: `peer-${state}`, severity, scope: 'peer' as const, about, text: words, cure: todo },
    ];
  });
}
