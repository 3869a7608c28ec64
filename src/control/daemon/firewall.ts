/**
 * The firewall rules of a running weft: made at the start, looked at each period and mended when
 * somebody took them away, left where they are at the end, as flanneld does.
 */
import { HostError } from '../host/errors.js';
import { cleanIptables, Iptables } from '../host/firewall/iptables.js';
import { cleanNftables, Nftables } from '../host/firewall/nftables.js';
import type { Firewall, Rules } from '../host/firewall/rules.js';
import type { Journal } from '../host/journal.js';
import type { Runner } from '../host/runner.js';
import type { Clock, Log } from '../runtime.js';
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
  /** `-iptables-resync`, in seconds. */
  readonly resync: number;
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
}

/**
 * Cleans what an earlier run or a flanneld left, makes the rules, and keeps them. Throws a
 * StartError when rules that were asked for cannot be made.
 */
export async function startFirewall(
  around: Surroundings,
  { network, subnet, nftables }: Wanted,
  options: FirewallOptions,
): Promise<void> {
  const { runner, journal, log, lifecycle, clock } = around;
  const { masquerade, fullyRandom, forward, resync } = options;
  const rules: Rules = { network, subnet, masquerade, fullyRandom, forward };
  const any = masquerade || forward;

  const cleaned = await Promise.all([
    any && !nftables ? false : cleanIptables(runner, journal, 'iptables'),
    cleanIptables(runner, journal, 'ip6tables'),
    cleanNftables(runner, journal, !any || !nftables),
  ]).catch((error: unknown): boolean[] => {
    log.warn(`rules of an earlier run could not be removed: ${messageOfHost(error)}`);
    return [];
  });
  if (cleaned.includes(true)) log.info('removed firewall rules of an earlier run');
  if (!any) return;

  let firewall: Firewall;
  try {
    firewall = await (nftables ? Nftables : Iptables).open(runner, journal);
    const wrong = await firewall.ensure(rules);
    log.debug(`firewall rules before: ${wrong.join(', ') || 'as wanted'}`);
  } catch (error) {
    const why = messageOfHost(error);
    if (masquerade || options.forwardAsked) {
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
  const keeper = new Keeper(firewall, rules, clock, log, resync * 1000);
  lifecycle.onLeave('the firewall', () => keeper.stop());
}

/** Looks at the rules each period. What is wrong is said when it begins, not while it lasts. */
class Keeper {
  readonly #firewall: Firewall;
  readonly #rules: Rules;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #period: number;
  #cancel = () => {};
  #looking: Promise<void> = Promise.resolve();
  #stopped = false;
  /** What was said last; empty while all is well. */
  #said = '';
  #obstacles = '';

  constructor(firewall: Firewall, rules: Rules, clock: Clock, log: Log, period: number) {
    this.#firewall = firewall;
    this.#rules = rules;
    this.#clock = clock;
    this.#log = log;
    this.#period = period;
    this.#sayObstacles();
    this.#later();
  }

  /** Waits for a look that is under way: nothing is changed afterwards. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    await this.#looking;
  }

  #later(): void {
    if (this.#stopped) return;
    this.#cancel = this.#clock.after(this.#period, () => {
      this.#looking = this.#look().finally(() => this.#later());
    });
  }

  async #look(): Promise<void> {
    try {
      const wrong = await this.#firewall.ensure(this.#rules);
      this.#say(wrong.length === 0 ? '' : `firewall rules set again: ${wrong.join(', ')}`);
      this.#sayObstacles();
    } catch (error) {
      this.#say(`firewall rules cannot be looked after: ${messageOfHost(error)}`);
    }
  }

  #say(line: string): void {
    if (line !== '' && line !== this.#said) this.#log.warn(line);
    this.#said = line;
  }

  #sayObstacles(): void {
    const line = this.#firewall.obstacles.join(', ');
    if (line !== '' && line !== this.#obstacles)
      this.#log.warn(`a firewall rule of others: ${line}`);
    this.#obstacles = line;
  }
}

/** Whatever else is thrown is a mistake in weft. */
function messageOfHost(error: unknown): string {
  if (error instanceof HostError) return error.message;
  throw error;
}
