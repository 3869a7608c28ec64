/**
 * Tells cheaply that the rules are as they were: by one listing of all of nft's, with the handle that
 * each gets anew when it changes, and of iptables-legacy's. Of a large ruleset that would cost more
 * than to read those parts of it that matter.
 */
import { HostError } from '../../../control/host/errors.js';
import type { Runner } from '../../../control/host/runner.js';
import { legacyTables } from './read.js';

/** Of more chains no fingerprint is taken. */
export const MOST_CHAINS = 300;

export class Fingerprint {
  /** Until it is known, none is taken. */
  isLarge = true;

  /** Null where there is none. */
  async take(runner: Runner, proc: string): Promise<string | null> {
    if (this.isLarge) return null;
    const tables = legacyTables(proc);
    // All at once: what a look takes is taken by the clock.
    const texts = await Promise.all([
      printed(runner, ['nft', '-a', '-s', 'list', 'ruleset']),
      ...tables.map((table) => this.#legacy(runner, table)),
    ]);
    if (texts.includes(null)) return null;
    // Counters, and the time of the listing.
    return texts.join('').replaceAll(/^#.*$|\[\d+:\d+\]/gm, '');
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
