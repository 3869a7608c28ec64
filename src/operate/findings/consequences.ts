/** What follows from a greater fault is not told beside it: the cure is the greater one's. */
import type { Finding } from './finding.js';

/** No packet gets from this host to another, by the underlay. */
const CUT_OFF: readonly string[] = [
  ...['peer-no-way', 'peer-silent', 'peer-unreachable', 'peer-refused', 'peer-lossy'],
  ...['peer-small-mtu', 'path-mtu', 'route-refused', 'rp-filter'],
  ...['store-away', 'store-slow', 'lease'],
];
/** None gets through the tunnel. */
const NO_TUNNEL: readonly string[] = [
  ...['peer-silent', 'peer-lossy', 'peer-small-mtu', 'route-refused', 'routes-lost'],
];

/** Its own firewall, or its routes, keep this host's packets from the tunnel's other ends. */
const SHUT: readonly string[] = [
  ...['peer-silent', 'peer-unreachable', 'peer-refused', 'peer-lossy', 'peer-small-mtu'],
];

/** By the greater fault's code, those that follow from it. */
const FOLLOW: ReadonlyMap<string, readonly string[]> = new Map([
  ['underlay-down', CUT_OFF],
  ['underlay-lost', CUT_OFF],
  ['device-lost', NO_TUNNEL],
  ['policy-route', SHUT],
]);

/** Those that stand on their own. Notes and warnings explain nothing away. */
export function withoutConsequences(findings: readonly Finding[]): Finding[] {
  const follow = new Set(
    findings.flatMap((finding) =>
      finding.severity === 'error' && finding.scope === 'host' ? followersOf(finding) : [],
    ),
  );
  return findings.filter(({ code }) => !follow.has(code));
}

/** A rule that drops containers' packets alone explains nothing of the peers. */
function followersOf({ code, text }: Finding): readonly string[] {
  if (code === 'firewall-drop') return text.includes("the tunnel's packets") ? SHUT : [];
  return FOLLOW.get(code) ?? [];
}
