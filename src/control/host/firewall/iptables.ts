/**
 * flannel's rules by iptables, and weft's guard, whichever of its two variants the PATH has: a
 * listing of our chains to look, one `iptables-restore` to mend, which does all of its input or
 * nothing.
 *
 * A host may have tens of thousands of rules. The nft variant lists just the hook and our chain
 * (5 ms each; its `iptables-save` reads the rules of all tables, whichever is asked for: 240 ms for
 * 30,000). The legacy one always reads the whole table, and needs the lock for every listing but
 * `iptables-save` (35 ms).
 */
import type { Fault } from '../../runtime.js';
import { HostError } from '../errors.js';
import type { IptablesTable, Journal } from '../journal.js';
import type { Runner } from '../runner.js';
import { type Earlier, findEarlier } from './earlier-rules.js';
import { GUARD, guardLines } from './guard-rules.js';
import {
  clean,
  isHidden,
  isOf,
  linesOf,
  mend,
  obstacles,
  PLACES,
  type Place,
  parseSaved,
  type Saved,
} from './iptables-rules.js';
import type { Firewall, GuardRules, Rules } from './rules.js';
import { type Program, restore, run, type Version, versionOf } from './run-iptables.js';

export type RulesJournal = Pick<Journal, 'record' | 'forget' | 'rulesIn'>;

export class Iptables implements Firewall {
  obstacles: readonly Fault[] = [];
  remark = '';
  readonly #runner: Runner;
  readonly #journal: RulesJournal;
  readonly #version: Version;
  /** What an earlier run made: without comments, it is known by that. */
  readonly #earlier: ReadonlyMap<IptablesTable, readonly string[]>;
  /** How this iptables prints what it was given, where that was seen. */
  readonly #printed = new Map<Place, { wanted: string; lines: string[] }>();
  /** Whether it was seen to have no comments. */
  #bare = false;

  private constructor(runner: Runner, journal: RulesJournal, version: Version) {
    this.#runner = runner;
    this.#journal = journal;
    this.#version = version;
    const tables: IptablesTable[] = ['filter', 'nat', 'mangle'];
    this.#earlier = new Map(tables.map((table) => [table, journal.rulesIn(table)]));
  }

  /** Throws a HostError when there is no iptables. */
  static async open(runner: Runner, journal: RulesJournal): Promise<Iptables> {
    return new Iptables(runner, journal, await versionOf(runner, 'iptables'));
  }

  get description(): string {
    return this.#version.description;
  }

  get isNft(): boolean {
    return this.#version.nft;
  }

  async ensure(rules: Rules): Promise<string[]> {
    const able = { ...rules, fullyRandom: rules.fullyRandom && this.#version.modern };
    const wrong: string[] = [];
    const found: Fault[] = [];
    let refusal: HostError | undefined;
    for (const place of PLACES) {
      if (linesOf(place, able).length === 0) continue;
      try {
        const looked = await this.#keep(place, (bare) => linesOf(place, able, bare));
        wrong.push(...looked.wrong);
        found.push(...looked.obstacles);
      } catch (error) {
        if (!(error instanceof HostError)) throw error;
        // The kernel may lack one table, and the rules in the other are wanted all the same.
        refusal ??= error;
      }
    }
    this.obstacles = found;
    if (refusal !== undefined) throw refusal;
    return wrong;
  }

  async guard(rules: GuardRules): Promise<string[]> {
    const looked = await this.#keep(GUARD, (bare) => guardLines(rules, bare));
    this.obstacles = looked.obstacles;
    return looked.wrong;
  }

  async #keep(
    place: Place,
    wantedAs: (bare: boolean) => string[],
  ): Promise<{ wrong: string[]; obstacles: Fault[] }> {
    const saved = await this.#save(place);
    const found = obstacles(place, saved).map((rule) => {
      const remove = `iptables -t ${place.table} ${rule.replace('-A ', '-D ')}`;
      return {
        about: `rule ${rule}`,
        text: `${rule} stands before the jump to ${place.chain} and takes every packet`,
        cure: `${remove}   (or put it behind that jump)`,
      };
    });
    try {
      return { wrong: await this.#mend(place, saved, wantedAs(this.#bare)), obstacles: found };
    } catch (error) {
      if (this.#bare || !(error instanceof HostError) || error.code !== 'EIPTABLES') throw error;
      this.#bare = true;
      try {
        const wrong = await this.#mend(place, saved, wantedAs(true));
        this.remark = `the rules are set without comments, which iptables refuses (${error.message})`;
        return { wrong, obstacles: found };
      } catch (again) {
        // It was not for the comments.
        this.#bare = false;
        throw again instanceof HostError ? error : again;
      }
    }
  }

  async #mend(place: Place, saved: Saved, wanted: string[]): Promise<string[]> {
    const { table } = place;
    const known = this.#printed.get(place);
    const printed = known?.wanted === wanted.join('\n') ? known.lines : wanted;
    // Recorded before it is made, as a file is.
    this.#journal.record({ kind: 'iptables', table, made: printed });
    const mending = mend(place, saved, wanted, printed, this.#isOurs(place, printed));
    if (mending === null) return [];
    await restore(this.#runner, 'iptables', mending.input, this.#version.modern);

    const after = await this.#save(place);
    if (mend(place, after, wanted, printed, this.#isOurs(place, printed)) === null) {
      return [...mending.wrong];
    }
    // Perhaps this iptables prints a rule in other words than it was told; if that is all, these
    // are the words to look for.
    const lines = this.#justMade(place, after, wanted.length);
    const same = mend(place, after, wanted, lines, this.#isOurs(place, lines)) === null;
    if (lines.length !== wanted.length || !same) {
      throw new HostError('EBUSY', `the rules in the table ${table} do not stay as they are set`);
    }
    this.#printed.set(place, { wanted: wanted.join('\n'), lines });
    this.#journal.record({ kind: 'iptables', table, made: lines });
    return [...mending.wrong];
  }

  /** Which rules are ours, of which `printed` is what is wanted. */
  #isOurs(place: Place, printed: readonly string[]): (line: string) => boolean {
    const earlier = this.#earlier.get(place.table) ?? [];
    const bare = this.#bare ? [...printed, ...(this.#printed.get(place)?.lines ?? [])] : [];
    return (line) => isOf(place, line) || earlier.includes(line) || bare.includes(line);
  }

  /** The rules that were set just now, in whatever words: without comments, by where they stand. */
  #justMade(place: Place, { lines }: Saved, count: number): string[] {
    if (!this.#bare) return lines.filter((line) => isOf(place, line));
    const { hooks, chain } = place;
    const jumps = hooks.flatMap((hook) => {
      const inHook = lines.filter((line) => line.startsWith(`-A ${hook} `));
      return inHook.findLast((line) => line.endsWith(` -j ${chain}`)) ?? [];
    });
    const inChain = lines.filter((line) => line.startsWith(`-A ${chain} `));
    return [...jumps, ...inChain.slice(0, count - hooks.length)];
  }

  /** The hooks and our chain; all of the table where one of them cannot be listed. */
  async #save(place: Place): Promise<Saved> {
    const { table, hooks, chain } = place;
    if (this.#version.nft) {
      const listings: string[] = [];
      for (const name of [...hooks, chain]) {
        const listed = await this.#runner.run(['iptables', '-t', table, '-S', name]);
        if (listed.code !== 0) break;
        listings.push(listed.stdout);
      }
      if (listings.length === hooks.length + 1) {
        const lines = listings.flatMap((text) => text.split('\n').map((line) => line.trim()));
        return { chain: true, lines: lines.filter((line) => line.startsWith('-A ')) };
      }
    }
    return read(place, await run(this.#runner, ['iptables-save', '-t', table]));
  }
}

export interface Cleaned {
  readonly found: boolean;
  /** Rules that look like an older flannel's and may be another's: they stay. */
  readonly doubtful: Earlier['doubtful'];
}

/**
 * Takes out whatever rules there are in `places`, for the other flavour or another family, and with
 * `network` those that an older flannel left for it. Where the program is not there or is refused,
 * there are none. Throws a HostError when they cannot be removed, or the lock is held.
 */
export async function cleanIptables(
  runner: Runner,
  journal: Pick<Journal, 'forget' | 'rulesIn'>,
  program: Program,
  places: readonly Place[],
  network = '',
): Promise<Cleaned> {
  const text = await saveAll(runner, program);
  if (text === null) return { found: false, doubtful: [] };
  const { mending: earlier, doubtful } = findEarlier(text, network);
  const mendings = earlier === null ? [] : [earlier];
  for (const place of places) {
    const known = program === 'iptables' ? journal.rulesIn(place.table) : [];
    const isOurs = (line: string) => isOf(place, line) || known.includes(line);
    const mending = isHidden(place, text) ? null : clean(place, parseSaved(place, text), isOurs);
    if (mending !== null) mendings.push(mending);
  }
  for (const { input } of mendings) {
    await restore(runner, program, input, (await versionOf(runner, program)).modern);
  }
  if (program === 'iptables') {
    for (const { table } of places) journal.forget({ kind: 'iptables', table });
  }
  return { found: mendings.length > 0, doubtful };
}

/** All tables there are: without naming one, so that none is made. Null where the program is refused. */
async function saveAll(runner: Runner, program: Program): Promise<string | null> {
  try {
    return await run(runner, [`${program}-save`]);
  } catch (error) {
    if (error instanceof HostError && error.code !== 'EAGAIN') return null;
    throw error;
  }
}

/** Takes out of a table just these rules; returns whether one of them was there. */
export async function takeBackIptables(
  runner: Runner,
  table: IptablesTable,
  made: readonly string[],
): Promise<boolean> {
  const place = [...PLACES, GUARD].find((one) => one.table === table)!;
  const saved = read(place, await run(runner, ['iptables-save']));
  const mending = clean(place, saved, (line) => made.includes(line));
  if (mending === null) return false;
  const { modern } = await versionOf(runner, 'iptables');
  await restore(runner, 'iptables', mending.input, modern);
  return true;
}

function read(place: Place, text: string): Saved {
  if (!isHidden(place, text)) return parseSaved(place, text);
  throw new HostError(
    'EIPTABLES',
    `the table ${place.table} holds rules that iptables cannot show, so weft keeps away from it; ` +
      'set "EnableNFTables": true in the network config, or look at it with nft list ruleset',
  );
}
