/**
 * flannel's rules by nft, in a table of their own: one `nft list table` to look, one `nft -f -`,
 * a single transaction, to replace the whole table.
 */
import { HostError } from '../errors.js';
import type { Journal } from '../journal.js';
import type { Runner } from '../runner.js';
import {
  deletion,
  difference,
  flannelTables,
  isWithin,
  replacement,
  TABLE,
  tableText,
} from './nftables-rules.js';
import type { Firewall, Rules } from './rules.js';

export class Nftables implements Firewall {
  readonly description: string;
  readonly obstacles: readonly string[] = [];
  readonly #runner: Runner;
  readonly #journal: Pick<Journal, 'record' | 'forget'>;
  /** What nft printed of the table after it was made. */
  #made: { text: string; printed: string } | undefined;

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
    if (text === null) return [];
    const made = this.#made?.text === text ? this.#made : undefined;
    const now = await list(this.#runner);
    if (made !== undefined && now === made.printed) return [];

    this.#journal.record({ kind: 'nftables', made: made?.printed ?? null });
    await run(this.#runner, ['nft', '-f', '-'], replacement(text));
    const printed = await list(this.#runner);
    if (printed === null) {
      throw new HostError('EAGAIN', `the table ${TABLE} does not stay as it is set`);
    }
    this.#made = { text, printed };
    this.#journal.record({ kind: 'nftables', made: printed });
    return now === printed ? [] : [difference(now, printed)];
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
  if (own) journal.forget({ kind: 'nftables' });
  return unwanted.length > 0;
}

/**
 * Deletes weft's table unless somebody else has put something into it. `made` is what nft printed
 * of it, null if weft ended before that was known.
 */
export async function takeBackNftables(
  runner: Runner,
  made: string | null,
): Promise<'deleted' | 'gone' | 'left'> {
  const now = await list(runner);
  if (now === null) return 'gone';
  if (made !== null && !isWithin(now, made)) return 'left';
  await run(runner, ['nft', '-f', '-'], deletion(TABLE));
  return 'deleted';
}

/** The table as nft prints it, or null if there is none. */
async function list(runner: Runner): Promise<string | null> {
  const argv = ['nft', 'list', 'table', ...TABLE.split(' ')];
  const { code, stdout, stderr } = await runner.run(argv);
  if (code === 0) return stdout;
  if (/No such file or directory/.test(stderr)) return null;
  throw failure(argv, code, stderr);
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
