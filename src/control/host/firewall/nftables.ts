/**
 * flannel's rules by nft, and weft's guard, each in a table of its own: one `nft list table` to look,
 * one `nft -f -`, a single transaction, to replace the whole table.
 */
import type { Fault } from '../../runtime.js';
import { HostError } from '../errors.js';
import type { Journal, NftTable } from '../journal.js';
import type { Runner } from '../runner.js';
import { GUARD_TABLE, guardTable } from './guard-rules.js';
import {
  deletion,
  difference,
  flannelTables,
  isListed,
  isWithin,
  replacement,
  TABLE,
  tableText,
} from './nftables-rules.js';
import type { Firewall, GuardRules, Rules } from './rules.js';

export class Nftables implements Firewall {
  readonly description: string;
  readonly isNft = true;
  readonly obstacles: readonly Fault[] = [];
  readonly remark = '';
  readonly #runner: Runner;
  readonly #journal: Pick<Journal, 'record' | 'forget'>;
  /** What nft printed of each table after it was made. */
  readonly #made = new Map<NftTable, { text: string; printed: string }>();

  private constructor(
    runner: Runner,
    journal: Pick<Journal, 'record' | 'forget'>,
    description: string,
  ) {
    this.#runner = runner;
    this.#journal = journal;
    this.description = description;
  }

  /** Throws a HostError when there is no nft. */
  static async open(
    runner: Runner,
    journal: Pick<Journal, 'record' | 'forget'>,
  ): Promise<Nftables> {
    // nftables v1.0.6 (Lester Gooch #5)
    const version = /v([\d.]+)/.exec(await run(runner, ['nft', '--version']))?.[1] ?? '';
    return new Nftables(runner, journal, `nftables ${version}`);
  }

  async ensure(rules: Rules): Promise<string[]> {
    const text = tableText(rules);
    return text === null ? [] : this.#ensure(TABLE, text);
  }

  guard(rules: GuardRules): Promise<string[]> {
    return this.#ensure(GUARD_TABLE, guardTable(rules));
  }

  async #ensure(table: NftTable, text: string): Promise<string[]> {
    const known = this.#made.get(table);
    const made = known?.text === text ? known : undefined;
    const now = await list(this.#runner, table);
    if (made !== undefined && now === made.printed) return [];

    this.#journal.record({ kind: 'nftables', table, made: made?.printed ?? null });
    await run(this.#runner, ['nft', '-f', '-'], replacement(table, text));
    const printed = await list(this.#runner, table);
    if (printed === null) {
      throw new HostError('EAGAIN', `the table ${table} does not stay as it is set`);
    }
    this.#made.set(table, { text, printed });
    this.#journal.record({ kind: 'nftables', table, made: printed });
    return now === printed ? [] : [difference(table, now, printed)];
  }
}

/**
 * Deletes the tables that flannel makes; with `own` false, only that of IPv6, which weft never
 * makes. Where nft is not there or is refused, there are none. Returns whether it found some.
 */
export async function cleanNftables(
  runner: Runner,
  journal: Pick<Journal, 'forget'>,
  own: boolean,
): Promise<boolean> {
  let tables: string[];
  try {
    tables = flannelTables(await run(runner, ['nft', 'list', 'tables']));
  } catch (error) {
    if (error instanceof HostError) return false;
    throw error;
  }
  const unwanted = tables.filter((table) => own || table !== TABLE);
  if (unwanted.length > 0) {
    await run(runner, ['nft', '-f', '-'], unwanted.map(deletion).join(''));
  }
  if (own) journal.forget({ kind: 'nftables', table: TABLE });
  return unwanted.length > 0;
}

/** Deletes the guard's table; the same where there is no nft. Returns whether it was there. */
export async function cleanNftablesGuard(
  runner: Runner,
  journal: Pick<Journal, 'forget'>,
): Promise<boolean> {
  const { code, stdout } = await runner.run(['nft', 'list', 'tables']).catch(absent);
  const found = code === 0 && isListed(GUARD_TABLE, stdout);
  if (found) await run(runner, ['nft', '-f', '-'], deletion(GUARD_TABLE));
  journal.forget({ kind: 'nftables', table: GUARD_TABLE });
  return found;
}

/**
 * Deletes weft's table unless somebody else has put something into it. `made` is what nft printed
 * of it, null if weft ended before that was known.
 */
export async function takeBackNftables(
  runner: Runner,
  table: NftTable,
  made: string | null,
): Promise<'deleted' | 'gone' | 'left'> {
  const now = await list(runner, table);
  if (now === null) return 'gone';
  if (made !== null && !isWithin(now, made)) return 'left';
  await run(runner, ['nft', '-f', '-'], deletion(table));
  return 'deleted';
}

/** The table as nft prints it, or null if there is none. */
async function list(runner: Runner, table: NftTable): Promise<string | null> {
  const argv = ['nft', 'list', 'table', ...table.split(' ')];
  const { code, stdout, stderr } = await runner.run(argv);
  if (code === 0) return stdout;
  if (/No such file or directory/.test(stderr)) return null;
  throw failure(argv, code, stderr);
}

/** Where the program is not there, nothing of it is. */
function absent(error: unknown): { code: number | null; stdout: string } {
  if (error instanceof HostError) return { code: null, stdout: '' };
  throw error;
}

async function run(runner: Runner, argv: readonly string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await runner.run(argv, input === undefined ? {} : { input });
  if (code === 0) return stdout;
  throw failure(argv, code, stderr);
}

function failure(argv: readonly string[], code: number | null, stderr: string): HostError {
  const why = stderr.trim().split('\n')[0] || (code === null ? 'was killed' : `exit ${code}`);
  return new HostError('ENFT', `${argv[0]}: ${why}`);
}
