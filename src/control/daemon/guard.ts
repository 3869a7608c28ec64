/** The guard (host/firewall/guard-rules.ts) of a running weft. */

import { bridgesOf } from '../host/bridges.js';
import { Iptables, type RulesJournal } from '../host/firewall/iptables.js';
import { Nftables } from '../host/firewall/nftables.js';
import type { Firewall, GuardRules } from '../host/firewall/rules.js';
import type { Interface } from '../host/interfaces.js';
import type { Runner } from '../host/runner.js';
import type { Vxlan } from '../overlay/config.js';
import { contains, formatSubnet, type Subnet } from '../overlay/subnet.js';
import type { Fault } from '../runtime.js';
import type { RuleSet, Said } from './keeper.js';
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
  readonly #journal: RulesJournal;
  readonly #nftables: boolean;
  readonly #guarded: Guarded;
  #firewall: Firewall | undefined;
  /** Those of the last look. */
  #bridges = '';

  constructor(runner: Runner, journal: RulesJournal, nftables: boolean, guarded: Guarded) {
    this.#runner = runner;
    this.#journal = journal;
    this.#nftables = nftables;
    this.#guarded = guarded;
  }

  get obstacles(): readonly Fault[] {
    return this.#firewall?.obstacles ?? [];
  }

  get remark(): string {
    return this.#firewall?.remark ?? '';
  }

  get done(): string {
    return `guard rules set: containers here send no VXLAN to UDP port ${this.#guarded.port}`;
  }

  refusal(why: string): Said {
    return {
      text: `no guard: ${why}; a container here could send VXLAN in this host's name`,
      cure: 'see to what is lacking, or say with -guard=false that none is wanted',
    };
  }

  async witness(generation: number | null): Promise<string | null> {
    if (this.#firewall?.isNft !== true || generation === null) return null;
    return `${generation} ${await this.#bridgesNow()}`;
  }

  /** Docker makes its bridge when weft runs already, so which there are is looked up each time. */
  async ensure(): Promise<string[]> {
    const flavour = this.#nftables ? Nftables : Iptables;
    this.#firewall ??= await flavour.open(this.#runner, this.#journal);
    const bridges = await this.#bridgesNow();
    const wrong = await this.#firewall.guard({ ...this.#guarded, bridges });
    // Rules for a bridge that came or went: nobody meddled with them.
    const same = bridges.join() === this.#bridges;
    this.#bridges = bridges.join();
    return same ? wrong : [];
  }

  #bridgesNow(): Promise<string[]> {
    return bridgesOf(this.#runner, this.#guarded.subnet, this.#guarded.device);
  }
}
