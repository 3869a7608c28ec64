/**
 * flannel's rules by iptables, and weft's guard, whichever of its two variants the PATH has: one `iptables-save` of
 * a table to look, one `iptables-restore` to mend, which does all of its input or nothing.
 */
import { HostError } from '../errors.js';
import type { IptablesTable, Journal } from '../journal.js';
import type { Runner } from '../runner.js';
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

/** From this version on: `iptables-restore --wait` and `MASQUERADE --random-fully`. */
const MODERN = [1, 6, 2];
/** For so many seconds another program may hold iptables' lock. */
const WAIT_SECONDS = 5;

/** `iptables`, or for what a dual-stack flannel left, `ip6tables`. */
export type Program = 'iptables' | 'ip6tables';

export class Iptables implements Firewall {
  readonly description: string;
  obstacles: readonly string[] = [];
  readonly #runner: Runner;
  readonly #journal: Pick<Journal, 'record' | 'forget'>;
  readonly #modern: boolean;
  /** How this iptables prints what it was given, where that was seen. */
  readonly #printed = new Map<Place, { wanted: string; lines: string[] }>();
  #cleaned = false;

  private constructor(
    runner: Runner,
    journal: Pick<Journal, 'record' | 'forget'>,
    description: string,
    modern: boolean,
  ) {
    this.#runner = runner;
    this.#journal = journal;
    this.description = description;
    this.#modern = modern;
  }

  /** Throws a HostError when there is no iptables. */
  static async open(
    runner: Runner,
    journal: Pick<Journal, 'record' | 'forget'>,
  ): Promise<Iptables> {
    const text = await run(runner, ['iptables', '--version']);
    // iptables v1.8.9 (nf_tables)
    const [, version = '', variant = ''] = /v([\d.]+)(?: \((\S+)\))?/.exec(text) ?? [];
    const described = `iptables ${version}${variant === '' ? '' : ` (${variant})`}`;
    return new Iptables(runner, journal, described, isModern(version));
  }

  async ensure(rules: Rules): Promise<string[]> {
    const wrong: string[] = [];
    const found: string[] = [];
    const able = { ...rules, fullyRandom: rules.fullyRandom && this.#modern };
    // Once, what is not wanted is looked for too: without naming a table, so that none is made.
    const all = this.#cleaned ? undefined : await run(this.#runner, ['iptables-save']);
    for (const place of PLACES) {
      const wanted = linesOf(place, able);
      // A table that cannot be shown matters only where something is wanted in it.
      if (wanted.length === 0 && (all === undefined || isHidden(place, all))) continue;
      const saved = all === undefined ? await this.#save(place) : read(place, all);
      if (wanted.length === 0) {
        const mending = clean(place, saved);
        if (mending !== null) await this.#restore(mending.input);
        this.#journal.forget({ kind: 'iptables', table: place.table });
        wrong.push(...(mending?.wrong ?? []));
        continue;
      }
      wrong.push(...(await this.#mend(place, saved, wanted)));
      found.push(...describeObstacles(place, saved));
    }
    this.#cleaned = true;
    this.obstacles = found;
    return wrong;
  }

  async guard(rules: GuardRules): Promise<string[]> {
    const saved = await this.#save(GUARD);
    const wrong = await this.#mend(GUARD, saved, guardLines(rules));
    this.obstacles = describeObstacles(GUARD, saved);
    return wrong;
  }

  async #mend(place: Place, saved: Saved, wanted: string[]): Promise<string[]> {
    const { table } = place;
    const known = this.#printed.get(place);
    const printed = known?.wanted === wanted.join('\n') ? known.lines : wanted;
    // Recorded before it is made, as a file is.
    this.#journal.record({ kind: 'iptables', table, made: printed });
    const mending = mend(place, saved, wanted, printed);
    if (mending === null) return [];
    await this.#restore(mending.input);

    const after = await this.#save(place);
    if (mend(place, after, wanted, printed) === null) return [...mending.wrong];
    // Perhaps this iptables prints a rule in other words than it was told; if that is all, these
    // are the words to look for.
    const lines = after.lines.filter((line) => isOf(place, line));
    if (lines.length !== wanted.length || mend(place, after, wanted, lines) !== null) {
      throw new HostError('EAGAIN', `the rules in the table ${table} do not stay as they are set`);
    }
    this.#printed.set(place, { wanted: wanted.join('\n'), lines });
    this.#journal.record({ kind: 'iptables', table, made: lines });
    return [...mending.wrong];
  }

  async #save(place: Place): Promise<Saved> {
    return read(place, await run(this.#runner, ['iptables-save', '-t', place.table]));
  }

  async #restore(input: string): Promise<void> {
    await restore(this.#runner, 'iptables', input, this.#modern);
  }
}

/**
 * Takes out whatever rules there are in `places`, for the other flavour or another family. Where
 * the program is not there or is refused, there are none. Returns whether it found some.
 */
export async function cleanIptables(
  runner: Runner,
  journal: Pick<Journal, 'forget'>,
  program: Program,
  places = PLACES,
): Promise<boolean> {
  let text: string;
  try {
    text = await run(runner, [`${program}-save`]);
  } catch (error) {
    if (error instanceof HostError) return false;
    throw error;
  }
  let found = false;
  for (const place of places) {
    const mending = isHidden(place, text) ? null : clean(place, parseSaved(place, text));
    if (mending !== null) {
      found = true;
      await restore(runner, program, mending.input, await isModernHere(runner, program));
    }
    if (program === 'iptables') journal.forget({ kind: 'iptables', table: place.table });
  }
  return found;
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
  await restore(runner, 'iptables', mending.input, await isModernHere(runner, 'iptables'));
  return true;
}

function describeObstacles(place: Place, saved: Saved): string[] {
  return obstacles(place, saved).map(
    (rule) => `${rule} stands before the jump to ${place.chain} and takes every packet`,
  );
}

function read(place: Place, text: string): Saved {
  if (isHidden(place, text)) {
    throw new HostError(
      'EIPTABLES',
      `the table ${place.table} holds rules that iptables cannot show, so weft keeps away from it; ` +
        'set "EnableNFTables": true in the network config, or look at it with nft list ruleset',
    );
  }
  return parseSaved(place, text);
}

function restore(
  runner: Runner,
  program: Program,
  input: string,
  modern: boolean,
): Promise<string> {
  const wait = modern ? [`--wait=${WAIT_SECONDS}`] : [];
  return run(runner, [`${program}-restore`, '--noflush', ...wait], input);
}

async function isModernHere(runner: Runner, program: Program): Promise<boolean> {
  const text = await run(runner, [program, '--version']);
  return isModern(/v([\d.]+)/.exec(text)?.[1] ?? '');
}

function isModern(version: string): boolean {
  const numbers = version.split('.').map(Number);
  for (const [i, least] of MODERN.entries()) {
    const number = numbers[i] ?? 0;
    if (number !== least) return number > least;
  }
  return true;
}

async function run(runner: Runner, argv: readonly string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await runner.run(argv, input === undefined ? {} : { input });
  if (code === 0) return stdout;
  const why =
    stderr.trim().replaceAll('\n', '; ') || (code === null ? 'was killed' : `exit ${code}`);
  throw new HostError('EIPTABLES', `${argv[0]}: ${why}`);
}
