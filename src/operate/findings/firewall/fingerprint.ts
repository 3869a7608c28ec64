/**
 * Tells cheaply that the rules are as they were: by the generation that nftables counts; where nobody
 * tells that, by one listing of all of nft's, with the handle that each rule gets anew when it
 * changes; and by a listing of iptables-legacy's. Of a large ruleset a listing would cost more than
 * to read those parts of it that matter.
 */
import { HostError } from '../../../control/host/errors.js';
import type { Runner } from '../../../control/host/runner.js';
import { legacyTables } from './read.js';

/** Of more chains no fingerprint is taken. */
export const MOST_CHAINS = 300;
/** Nor, so many times, after one that was longer: few chains may hold very many rules. */
const MOST_CHARACTERS = 200_000;
const PASSED_OVER = 100;

export class Fingerprint {
  /** Until it is known, none is taken. */
  isLarge = true;
  /** Whether some of it changes by itself, which no generation tells. */
  isAlive = false;
  #passOver = 0;

  /** Null where there is none. */
  async take(runner: Runner, proc: string, generation: number | null): Promise<string | null> {
    const tables = legacyTables(proc);
    const isTold = generation !== null && !this.isAlive;
    const counted = `nftables ${generation}\n`;
    if (isTold && tables.length === 0) return counted;
    if (this.isLarge) return null;
    if (this.#passOver > 0) {
      this.#passOver -= 1;
      return null;
    }
    // All at once: what a look takes is taken by the clock.
    const texts = await Promise.all([
      isTold ? counted : printed(runner, ['nft', '-a', '-s', 'list', 'ruleset']),
      ...tables.map((table) => this.#legacy(runner, table)),
    ]);
    if (texts.includes(null)) return null;
    const text = texts.join('');
    if (text.length > MOST_CHARACTERS) this.#passOver = PASSED_OVER;
    // Counters, and the time of the listing.
    return text.replaceAll(/^#.*$|\[\d+:\d+\]/gm, '');
  }

  async #legacy(runner: Runner, table: string): Promise<string | null> {
    const save = (program: string) => printed(runner, [program, '-t', table]);
    return (await save('iptables-legacy-save')) ?? (await save('iptables-save'));
  }
}

async function printed(runner: Runner, argv: readonly string[]): Promise<string | null> {
  try {
    const { code, stdout } = await runner.run(argv);
    return code === 0 ? stdout : null;
  } catch (error) {
    if (error instanceof HostError) return null;
    throw error;
  }
}
