/**
 * The firewall rules of a running weft: made at the start, looked at each period and mended when
 * somebody took them away, left where they are at the end, as flanneld does.
 */

import { GUARD } from '../host/firewall/guard-rules.js';
import { Iptables, type RulesJournal } from '../host/firewall/iptables.js';
import { FILTER, NAT } from '../host/firewall/iptables-rules.js';
import { Nftables } from '../host/firewall/nftables.js';
import type { Firewall, Rules } from '../host/firewall/rules.js';
import type { Runner } from '../host/runner.js';
import type { Clock, Fault, Log } from '../runtime.js';
import { EarlierRules, type Unwanted } from './earlier-rules.js';
import { Guard, type Guarded } from './guard.js';
import type { Said } from './keeper.js';
import { Keeper, type RuleSet } from './keeper.js';
import type { Lifecycle } from './lifecycle.js';

export interface FirewallOptions {
  /** `-ip-masq`. */
  readonly masquerade: boolean;
  /** Not `-ip-masq-fully-random-disable`. */
  readonly fullyRandom: boolean;
  /** `-iptables-forward-rules`. */
  readonly forward: boolean;
  /** `-guard`. */
  readonly guard: boolean;
  /** `-iptables-resync`. */
  readonly resyncMs: number;
}

export interface Surroundings {
  readonly runner: Runner;
  readonly nftGeneration: () => number | null;
  readonly journal: RulesJournal;
  readonly clock: Clock;
  readonly log: Log;
  readonly lifecycle: Pick<Lifecycle, 'onLeave'>;
}

/** What the network's config says of it. */
export interface Wanted {
  readonly network: string;
  readonly subnet: string;
  readonly nftables: boolean;
  /** What the guard is to be made for; null where there is no VXLAN. */
  readonly guarded: Guarded | null;
}

/**
 * Cleans what an earlier run or a flanneld left, makes the rules, and keeps them. What cannot be
 * done is in the Keeper's faults, and tried again each period: the overlay needs none of it.
 */
export async function startFirewall(
  around: Surroundings,
  wanted: Wanted,
  options: FirewallOptions,
): Promise<Keeper> {
  const { runner, nftGeneration, journal, clock, log, lifecycle } = around;
  const { network, subnet, nftables, guarded } = wanted;
  const { masquerade, forward, fullyRandom } = options;
  const keeper = new Keeper(clock, log, options.resyncMs, nftGeneration);
  keeper.add(new EarlierRules(runner, journal, unwantedBy(wanted, options), log));
  if (masquerade || forward) {
    const rules: Rules = { network, subnet, masquerade, fullyRandom, forward };
    keeper.add(new OverlayRules(runner, journal, nftables, rules));
  }
  if (options.guard && guarded !== null) {
    keeper.add(new Guard(runner, journal, nftables, guarded));
  }
  lifecycle.onLeave('the firewall', () => keeper.stop());
  await keeper.start();
  return keeper;
}

function unwantedBy(
  { network, nftables, guarded }: Wanted,
  { masquerade, forward, guard }: FirewallOptions,
): Unwanted {
  const guards = guard && guarded !== null;
  return {
    network,
    places: [
      ...(forward && !nftables ? [] : [FILTER]),
      ...(masquerade && !nftables ? [] : [NAT]),
      ...(guards && !nftables ? [] : [GUARD]),
    ],
    nftRules: !nftables || !(masquerade || forward),
    nftGuard: !nftables || !guards,
  };
}

/** flannel's own. */
class OverlayRules implements RuleSet {
  readonly name = 'firewall rules';
  readonly #runner: Runner;
  readonly #journal: RulesJournal;
  readonly #nftables: boolean;
  readonly #rules: Rules;
  #firewall: Firewall | undefined;

  constructor(runner: Runner, journal: RulesJournal, nftables: boolean, rules: Rules) {
    this.#runner = runner;
    this.#journal = journal;
    this.#nftables = nftables;
    this.#rules = rules;
  }

  async ensure(): Promise<string[]> {
    const flavour = this.#nftables ? Nftables : Iptables;
    this.#firewall ??= await flavour.open(this.#runner, this.#journal);
    return this.#firewall.ensure(this.#rules);
  }

  async witness(generation: number | null): Promise<string | null> {
    return this.#firewall?.isNft === true && generation !== null ? `${generation}` : null;
  }

  get obstacles(): readonly Fault[] {
    return this.#firewall?.obstacles ?? [];
  }

  get remark(): string {
    return this.#firewall?.remark ?? '';
  }

  get done(): string {
    return `${this.#what} for ${this.#rules.network} set with ${this.#firewall?.description}`;
  }

  refusal(why: string): Said {
    const no = `no ${this.#what}: ${why}`;
    return this.#rules.masquerade
      ? { text: `${no}; containers reach nothing outside the overlay until there are`, cure: '' }
      : {
          text: `${no}; where the host's firewall lets packets through, none are needed`,
          cure: 'see to what is lacking, or say with -iptables-forward-rules=false that none are wanted',
        };
  }

  get #what(): string {
    const { masquerade, forward } = this.#rules;
    const what = [masquerade ? 'masquerade' : '', forward ? 'forward' : ''].filter(Boolean);
    return `${what.join(' and ')} rules`;
  }
}
