/**
 * Tells cheaply that the rules are as they were: nft's by the number that the kernel raises with each
 * change, iptables-legacy's by a listing. Where nobody tells that number, by one listing of all of
 * nft's, with the handle that each gets anew when it changes: of a large ruleset that would cost more
 * than to read those parts of it that matter.
 */
import { HostError } from '../../../control/host/errors.js';
import type { Runner } from '../../../control/host/runner.js';
import type { Subject } from '../check.js';
import { legacyTables } from './read.js';

/** Of more chains no fingerprint is taken. */
export const MOST_CHAINS = 300;
/** Nor, so many times, after one that was longer: few chains may hold very many rules. */
const MOST_CHARACTERS = 200_000;
const PASSED_OVER = 100;

type Asked = Pick<Subject, 'runner' | 'proc' | 'rulesNumber'>;

export class Fingerprint {
  /** Until it is known, none is taken. */
  isLarge = true;
  #passOver = 0;

  /** Null where there is none. */
  async take({ runner, proc, rulesNumber }: Asked): Promise<string | null> {
    const number = rulesNumber?.() ?? null;
    if (number !== null) {
      const legacy = await Promise.all(
        legacyTables(proc).map((table) => this.#legacy(runner, table)),
      );
      return legacy.includes(null) ? null : `${number}\n${stable(legacy.join(''))}`;
    }
    if (this.isLarge) return null;
    if (this.#passOver > 0) {
      this.#passOver -= 1;
      return null;
    }
    const tables = legacyTables(proc);
    // All at once: what a look takes is taken by the clock.
    const texts = await Promise.all([
      printed(runner, ['nft', '-a', '-s', 'list', 'ruleset']),
      ...tables.map((table) => this.#legacy(runner, table)),
    ]);
    if (texts.includes(null)) return null;
    const text = texts.join('');
    if (text.length > MOST_CHARACTERS) this.#passOver = PASSED_OVER;
    return stable(text);
  }

  async #legacy(runner: Runner, table: string): Promise<string | null> {
    const save = (program: string) => printed(runner, [program, '-t', table]);
    return (await save('iptables-legacy-save')) ?? (await save('iptables-save'));
  }
}

/** Without counters, and the time of the listing. */
function stable(text: string): string {
  return text.replaceAll(/^#.*$|\[\d+:\d+\]/gm, '');
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
