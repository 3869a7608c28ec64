/**
 * The firewall rules that an earlier run, a flanneld or an older flannel left, as far as they are
 * not wanted any more: taken out at the start, once. What may be another's stays, and is named.
 */

import { type Cleaned, cleanIptables, type RulesJournal } from '../host/firewall/iptables.js';
import { PLACES, type Place } from '../host/firewall/iptables-rules.js';
import { cleanNftables, cleanNftablesGuard } from '../host/firewall/nftables.js';
import type { Runner } from '../host/runner.js';
import type { Fault, Log } from '../runtime.js';
import type { RuleSet, Said } from './keeper.js';

export interface Unwanted {
  /** Of the overlay: what an older flannel left for it goes. */
  readonly network: string;
  /** Of iptables. */
  readonly places: readonly Place[];
  /** The nft tables of flannel's rules and of the guard. */
  readonly nftRules: boolean;
  readonly nftGuard: boolean;
}

export class EarlierRules implements RuleSet {
  readonly name = 'rules of an earlier run';
  readonly remark = '';
  readonly done = '';
  obstacles: readonly Fault[] = [];
  readonly #runner: Runner;
  readonly #journal: RulesJournal;
  readonly #unwanted: Unwanted;
  readonly #log: Log;
  #isClean = false;

  constructor(runner: Runner, journal: RulesJournal, unwanted: Unwanted, log: Log) {
    this.#runner = runner;
    this.#journal = journal;
    this.#unwanted = unwanted;
    this.#log = log;
  }

  get isOver(): boolean {
    return this.#isClean && this.obstacles.length === 0;
  }

  async witness(): Promise<null> {
    return null;
  }

  async ensure(): Promise<string[]> {
    const [runner, journal] = [this.#runner, this.#journal];
    const { network, places, nftRules, nftGuard } = this.#unwanted;
    const none: Cleaned = { found: false, doubtful: [] };
    const first = !this.#isClean;
    const [four, six, rules, guard] = await Promise.all([
      cleanIptables(runner, journal, 'iptables', first ? places : [], network),
      first ? cleanIptables(runner, journal, 'ip6tables', PLACES) : none,
      first ? cleanNftables(runner, journal, nftRules) : false,
      first && nftGuard ? cleanNftablesGuard(runner, journal) : false,
    ]);
    this.#isClean = true;
    this.obstacles = four.doubtful.map(describe);
    if (four.found || six.found || rules || guard) {
      this.#log.info('removed firewall rules of an earlier run');
    }
    return [];
  }

  refusal(why: string): Said {
    return { text: `rules of an earlier run could not be removed: ${why}`, cure: '' };
  }
}

function describe(rule: string): Fault {
  return {
    about: `rule ${rule}`,
    text:
      `${rule} in the table nat, as flannel before 0.19 made it, changes the source of packets to ` +
      'or from containers',
    cure: `iptables -t nat ${rule.replace('-A ', '-D ')}   (unless somebody else needs it)`,
  };
}
