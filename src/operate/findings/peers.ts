/** Peers that cannot be reached, or not well: what probing and the lanes know of them. */
import type { PeerState } from '../status/peer-health.js';
import type { AnyStatus } from './check.js';
import type { Finding, Severity } from './finding.js';

const SEVERITY: Readonly<Record<PeerState, Severity | undefined>> = {
  unknown: undefined,
  well: undefined,
  silent: 'error',
  refused: 'error',
  unreachable: 'error',
  lossy: 'warning',
  'small-mtu': 'error',
};

/** A finding a public IP; those without a way have one already. */
export function judgePeers({ peers, findings }: AnyStatus): Finding[] {
  const noWay = findings.filter(({ code }) => code === 'peer-no-way').map(({ text }) => text);
  const byAddress = new Map(peers.map((peer) => [peer.publicIp, peer.health]));
  return [...byAddress].flatMap(([publicIp, { state, words, todo }]) => {
    const severity = SEVERITY[state];
    if (severity === undefined || noWay.some((text) => names(text, publicIp))) return [];
    const about = `peer ${publicIp}`;
    return [
      { code: `peer-${state}`, severity, scope: 'peer' as const, about, text: words, cure: todo },
    ];
  });
}

/** Whether it is there as a whole: 10.0.0.1 is not in `10.0.0.12`. */
function names(text: string, address: string): boolean {
  return text.split(/[^0-9.]+/).includes(address);
}
