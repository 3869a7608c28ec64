/** What weft keeps on the host beside device, routes and peers; what is wrong with it is a finding. */
import type { Line } from './lines.js';

export interface SetUp {
  /** The file for Docker and CNI. */
  readonly subnetFile: string;
  /** Those that are asked for, and by what they are made. */
  readonly rules: {
    readonly by: 'iptables' | 'nftables';
    /** `-ip-masq`, `-iptables-forward-rules`, `-guard`. */
    readonly masquerade: boolean;
    readonly forward: boolean;
    readonly guard: boolean;
  };
  /** Whether the kernel forwards IPv4 at all; null where it does not tell. */
  readonly forwarding: boolean | null;
  /** Where health and metrics are told: `http://127.0.0.1:8081`; null: nowhere. */
  readonly health: string | null;
}

/** An older weft, of before an upgrade, tells none. */
export function describeSetUp(setUp: SetUp | undefined): Line[] {
  if (setUp === undefined) return [];
  const { subnetFile, rules, forwarding, health } = setUp;
  const made = (['masquerade', 'forward', 'guard'] as const).filter((name) => rules[name]);
  return [
    ['file', subnetFile],
    ['rules', made.length === 0 ? 'none asked for' : `${made.join(', ')}, by ${rules.by}`],
    forwarding === false
      ? ['forwards', 'NO IPv4: net.ipv4.ip_forward is 0', 'bad']
      : ['forwards', forwarding ? 'IPv4' : 'not known: net.ipv4.ip_forward cannot be read'],
    [
      'health',
      health === null ? 'not told: see -healthz-port' : `${health}/healthz, /readyz, /metrics`,
    ],
  ];
}
