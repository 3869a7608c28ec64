/**
 * The firewall rules of a running weft: made at the start, looked at each period and mended when
 * somebody took them away, left where they are at the end, as flanneld does.
 */
import { cleanIptables, Iptables } from '../host/firewall/iptables.js';
import { cleanNftables, Nftables } from '../host/firewall/nftables.js';
import type { Firewall, Rules } from '../host/firewall/rules.js';
import type { Journal } from '../host/journal.js';
import type { Runner } from '../host/runner.js';
import type { Clock, Log } from '../runtime.js';
import { cleanGuard, Guard, type Guarded } from './guard.js';
import { Keeper, messageOfHost } from './keeper.js';
import type { Lifecycle } from './lifecycle.js';
import { StartError } from './open.js';

export interface FirewallOptions {
  /** `-ip-masq`. */
  readonly masquerade: boolean;
  /** Not `-ip-masq-fully-random-disable`. */
  readonly fullyRandom: boolean;
  /** `-iptables-forward-rules`. */
  readonly forward: boolean;
  /** Whether that was asked for by name, so that weft must not go without. */
  readonly forwardAsked: boolean;
  /** `-guard`. */
  readonly guard: boolean;
  /** `-iptables-resync`. */
  readonly resyncMs: number;
}

export interface Surroundings {
  readonly runner: Runner;
  readonly journal: Pick<Journal, 'record' | 'forget'>;
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
 * Cleans what an earlier run or a flanneld left, makes the rules, and keeps them; what cannot be
 * kept is in the Keeper's faults. Throws a StartError when rules that were asked for cannot be made.
 */
export async function startFirewall(
  around: Surroundings,
  wanted: Wanted,
  options: FirewallOptions,
): Promise<Keeper> {
  const { log, lifecycle, clock } = around;
  await cleanUp(around, wanted, options);
  const keeper = new Keeper(clock, log, options.resyncMs);
  await setRules(around, wanted, options, keeper);
  await setGuard(around, wanted, options, keeper);
  lifecycle.onLeave('the firewall', () => keeper.stop());
  keeper.start();
  return keeper;
}

/** Takes out what is not wanted any more. */
async function cleanUp(
  { runner, journal, log }: Surroundings,
  { nftables, guarded }: Wanted,
  { masquerade, forward, guard }: FirewallOptions,
): Promise<void> {
  const any = masquerade || forward;
  const flavour = nftables ? 'nftables' : 'iptables';
  const cleaned = await Promise.all([
    any && !nftables ? false : cleanIptables(runner, journal, 'iptables'),
    cleanIptables(runner, journal, 'ip6tables'),
    cleanNftables(runner, journal, !any || !nftables),
    cleanGuard(runner, journal, guard && guarded !== null ? flavour : null),
  ]).catch((error: unknown): boolean[] => {
    log.warn(`rules of an earlier run could not be removed: ${messageOfHost(error)}`);
    return [];
  });
  if (cleaned.includes(true)) log.info('removed firewall rules of an earlier run');
}

/** flannel's own. */
async function setRules(
  { runner, journal, log }: Surroundings,
  { network, subnet, nftables }: Wanted,
  { masquerade, fullyRandom, forward, forwardAsked }: FirewallOptions,
  keeper: Keeper,
): Promise<void> {
  if (!masquerade && !forward) return;
  const rules: Rules = { network, subnet, masquerade, fullyRandom, forward };
  let firewall: Firewall;
  try {
    firewall = await (nftables ? Nftables : Iptables).open(runner, journal);
    const wrong = await firewall.ensure(rules);
    log.debug(`firewall rules before: ${wrong.join(', ') || 'as wanted'}`);
  } catch (error) {
    const why = messageOfHost(error);
    if (masquerade || forwardAsked) {
      throw new StartError(`the firewall rules cannot be made: ${why}`);
    }
    // Not tried again: where the kernel has no netfilter, that would be a process each period.
    log.warn(
      `no forward rules: ${why}; where the host's firewall lets packets through, none are needed ` +
        '(-iptables-forward-rules=false says so)',
    );
    return;
  }
  const what = [masquerade ? 'masquerade' : '', forward ? 'forward' : ''].filter(Boolean);
  log.info(`${what.join(' and ')} rules for ${network} set with ${firewall.description}`);
  keeper.add({
    name: 'firewall rules',
    ensure: () => firewall.ensure(rules),
    get obstacles() {
      return firewall.obstacles;
    },
  });
}

async function setGuard(
  { runner, journal, log }: Surroundings,
  { nftables, guarded }: Wanted,
  options: FirewallOptions,
  keeper: Keeper,
): Promise<void> {
  if (!options.guard || guarded === null) return;
  const guard = new Guard(runner, journal, nftables, guarded);
  let refusal = '';
  try {
    await guard.ensure();
    log.info(`guard rules set: containers here send no VXLAN to UDP port ${guarded.port}`);
  } catch (error) {
    refusal =
      `no guard: ${messageOfHost(error)}; a container here could send VXLAN in this host's name ` +
      '(-guard=false says that none is wanted)';
    log.warn(refusal);
  }
  keeper.add(guard, refusal);
}
