/**
 * Walks a packet through a chain, as the kernel would, and tells whether it may be dropped there, or
 * surely is. Where a question is open, both ways are gone.
 */
import {
  type Action,
  all,
  type Chain,
  type Choice,
  type Packet,
  type Rule,
  type Table,
} from './model.js';

/** Where a packet ends. */
export interface Drop {
  readonly table: Table;
  /** At whose hook. */
  readonly base: Chain;
  readonly chain: Chain;
  /** Null is the chain's policy. */
  readonly rule: Rule | null;
  /** Whether a question on the way there, that a stranger's packet would fail, held for this one. */
  readonly isOurs: boolean;
  /** The names of the chains that it came through on the way there, also of those that it left. */
  readonly through: readonly string[];
}

export interface Outcome {
  /** Where the packet surely ends; null when it may pass. */
  readonly sure: Drop | null;
  /** All places where it may end. */
  readonly drops: readonly Drop[];
  /** The packet as it leaves, if it does. */
  readonly packet: Packet;
}

/** So many rules are walked for a packet; beyond them it may be anything. */
const MOST_RULES = 300_000;
/** The kernel's own limit (NFT_JUMP_STACK_SIZE). */
const DEEPEST = 16;
/** So many chains behind it are remembered. */
const MOST_THROUGH = 32;

/** `stranger`: the same packet, if it were none of the overlay's. */
export function walk(table: Table, base: Chain, packet: Packet, stranger: Packet): Outcome {
  const walker = new Walker(table, base, packet, stranger);
  return walker.walk();
}

/** What became of a packet in a chain: it may be accepted, or leave the chain. */
interface Ways {
  accept: boolean;
  leave: boolean;
}

class Walker {
  readonly #table: Table;
  readonly #base: Chain;
  readonly #stranger: Packet;
  readonly #drops: (Drop & { readonly isSure: boolean })[] = [];
  readonly #through: string[] = [];
  #packet: Packet;
  #steps = 0;

  constructor(table: Table, base: Chain, packet: Packet, stranger: Packet) {
    this.#table = table;
    this.#base = base;
    this.#packet = packet;
    this.#stranger = stranger;
  }

  walk(): Outcome {
    const base = this.#base;
    const ways = this.#chain(base, true, false, 0);
    if (ways.leave && base.policy === 'drop') this.#drop(base, null, !ways.accept, false);
    const passes = ways.accept || (ways.leave && base.policy === 'accept');
    const drops = this.#drops;
    // What is told is the rule that takes all that the others left.
    const sure = passes ? null : (drops.findLast(({ isSure }) => isSure) ?? drops.at(-1) ?? null);
    return { sure, drops, packet: this.#packet };
  }

  #chain(chain: Chain, isSure: boolean, isOurs: boolean, depth: number): Ways {
    const ways: Ways = { accept: false, leave: false };
    for (const rule of chain.rules) {
      this.#steps += 1;
      if (this.#steps > MOST_RULES) return { accept: true, leave: true };
      const hit = all(rule.matches.map((match) => match(this.#packet)));
      if (hit === false) continue;
      for (const change of rule.changes) this.#change(change, isSure && hit === true);
      if (this.#choose(chain, rule, { isSure: isSure && hit === true, isOurs, depth }, ways)) {
        // The way ends here for all that came here and surely matched.
        if (hit === true) return ways;
      }
    }
    ways.leave = true;
    return ways;
  }

  /** Whether none that the rule holds for goes on behind it. */
  #choose(
    chain: Chain,
    rule: Rule,
    at: { readonly isSure: boolean; readonly isOurs: boolean; readonly depth: number },
    ways: Ways,
  ): boolean {
    let { isSure } = at;
    let isEnd = true;
    for (const { match, action } of rule.choices) {
      const chosen = match === null ? true : match(this.#packet);
      if (chosen === false) continue;
      isSure &&= chosen === true;
      const isOurs = at.isOurs || (action.kind !== 'accept' && this.#isOurs(rule, match));
      const ends = this.#act(chain, rule, action, { isSure, isOurs, depth: at.depth }, ways);
      isEnd &&= ends;
      if (chosen === true) return isEnd;
    }
    return false;
  }

  /** Whether the packet does not come to the next rule. */
  #act(
    chain: Chain,
    rule: Rule,
    action: Action,
    at: { readonly isSure: boolean; readonly isOurs: boolean; readonly depth: number },
    ways: Ways,
  ): boolean {
    switch (action.kind) {
      case 'accept':
        ways.accept = true;
        return true;
      case 'drop':
        this.#drop(chain, rule, at.isSure, at.isOurs);
        return true;
      case 'return':
        ways.leave = true;
        return true;
      case 'next':
        return false;
      case 'unknown':
        ways.accept = true;
        return false;
      default: {
        const to = this.#table.chains.get(action.chain);
        if (to === undefined || at.depth >= DEEPEST) {
          ways.accept = true;
          return false;
        }
        this.#through.push(to.name);
        const inner = this.#chain(to, at.isSure, at.isOurs, at.depth + 1);
        ways.accept ||= inner.accept;
        if (action.kind === 'jump') return !inner.leave;
        ways.leave ||= inner.leave;
        return true;
      }
    }
  }

  #drop(chain: Chain, rule: Rule | null, isSure: boolean, isOurs: boolean): void {
    const through = this.#through.slice(-MOST_THROUGH);
    this.#drops.push({
      table: this.#table,
      base: this.#base,
      chain,
      rule,
      isSure,
      isOurs,
      through,
    });
  }

  /** Whether it asks something that holds for the overlay's packets alone. */
  #isOurs({ matches }: Rule, match: Choice['match']): boolean {
    const asked = match === null ? matches : [...matches, match];
    return asked.some((one) => one(this.#packet) === true && one(this.#stranger) === false);
  }

  #change(change: 'mark' | 'untracked', isSure: boolean): void {
    if (change === 'mark') this.#packet = { ...this.#packet, mark: undefined };
    else this.#packet = { ...this.#packet, state: isSure ? 'untracked' : undefined };
  }
}
