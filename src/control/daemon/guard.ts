/**
 * The guard (host/firewall/guard-rules.ts) of a running weft. It is no reason not to start: where it
 * cannot be set, that is said once, and it is tried again each period.
 */
import { bridgesOf } from '../host/bridges.js';
import { GUARD } from '../host/firewall/guard-rules.js';
import { cleanIptables, Iptables } from '../host/firewall/iptables.js';
import { cleanNftablesGuard, Nftables } from '../host/firewall/nftables.js';
import type { Firewall, GuardRules } from '../host/firewall/rules.js';
import type { Interface } from '../host/interfaces.js';
import type { Journal } from '../host/journal.js';
import type { Runner } from '../host/runner.js';
import type { Vxlan } from '../overlay/config.js';
import { contains, formatSubnet, type Subnet } from '../overlay/subnet.js';
import type { RuleSet } from './keeper.js';
import { addressOf } from './open.js';

/** What the guard is made for; the bridges are looked up. */
export type Guarded = Omit<GuardRules, 'bridges'>;

export interface TunnelOfHost {
  readonly device: string;
  readonly backend: Pick<Vxlan, 'port' | 'directRouting'>;
  readonly underlay: Pick<Interface, 'address'>;
}

export function guardedBy(
  { device, backend, underlay }: TunnelOfHost,
  network: Subnet,
  own: Subnet,
): Guarded {
  // Direct routes lead to containers of others, too, past the tunnel.
  const direct = backend.directRouting && !contains(network, addressOf(underlay.address));
  const inside = formatSubnet(direct ? network : own);
  return { port: backend.port, device, subnet: formatSubnet(own), inside };
}

export class Guard implements RuleSet {
  readonly name = 'guard rules';
  readonly #runner: Runner;
  readonly #journal: Pick<Journal, 'record' | 'forget'>;
  readonly #nftables: boolean;
  readonly #guarded: Guarded;
  #firewall: Firewall | undefined;
  /** Those of the last look. */
  #bridges = '';

  constructor(
    runner: Runner,
    journal: Pick<Journal, 'record' | 'forget'>,
    nftables: boolean,
    guarded: Guarded,
  ) {
    this.#runner = runner;
    this.#journal = journal;
    this.#nftables = nftables;
    this.#guarded = guarded;
  }

  get obstacles(): readonly string[] {
    return this.#firewall?.obstacles ?? [];
  }

  /** Docker makes its bridge when weft runs already, so which there are is looked up each time. */
  async ensure(): Promise<string[]> {
    const flavour = this.#nftables ? Nftables : Iptables;
    this.#firewall ??= await flavour.open(this.#runner, this.#journal);
    const { subnet, device } = this.#guarded;
    const bridges = await bridgesOf(this.#runner, subnet, device);
    const wrong = await this.#firewall.guard({ ...this.#guarded, bridges });
    // Rules for a bridge that came or went: nobody meddled with them.
    const same = bridges.join() === this.#bridges;
    this.#bridges = bridges.join();
    return same ? wrong : [];
  }
}

/** Takes out the guard of an earlier run in either flavour; `keep` is the one that is used now. */
export async function cleanGuard(
  runner: Runner,
  journal: Pick<Journal, 'forget'>,
  keep: 'iptables' | 'nftables' | null,
): Promise<boolean> {
  const found = await Promise.all([
    keep === 'iptables' ? false : cleanIptables(runner, journal, 'iptables', [GUARD]),
    keep === 'nftables' ? false : cleanNftablesGuard(runner, journal),
  ]);
  return found.includes(true);
}
