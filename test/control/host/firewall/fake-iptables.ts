/**
 * iptables in memory, as slow and plain as can be: lists of lines. It does of `iptables-restore
 * --noflush` what weft uses, and refuses the whole input when a line of it cannot be done.
 */
import { HostError } from '../../../../src/control/host/errors.js';
import type { Entry, EntryName } from '../../../../src/control/host/journal.js';
import type { Ran, Runner, RunOptions } from '../../../../src/control/host/runner.js';

const HOOKS: Record<string, readonly string[]> = {
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
  nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
};

/** Chains by name, each a list of rules without `-A CHAIN `. */
export type Table = Map<string, string[]>;

export class FakeIptables implements Runner {
  readonly ran: string[] = [];
  tables = new Map<string, Table>();
  version = 'iptables v1.8.9 (nf_tables)';
  /** Programs that are not there. */
  absent = /^nft$/;
  /** What a restore is refused with; undefined: it is done. */
  refusal: string | undefined;
  /** And so it ends; 4: another program holds the lock. */
  exit = 1;
  /** Whether it has no comments. */
  bare = false;
  /** Whether it ends so whatever it is asked. */
  broken = false;
  /** A table that the kernel does not have. */
  lacking = '';
  /** How a rule is printed. */
  print = (line: string) => line;
  /** The devices that carry our subnet, as `ip` tells them. */
  devices: { ifname?: string; flags?: string[] }[] = [];
  /** Printed behind the listing. */
  remark = '';

  async run(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
    this.ran.push(argv.join(' '));
    const [program = '', ...args] = argv;
    if (this.absent.test(program)) {
      throw new HostError('ENOENT', `cannot run ${program}: there is no such program in the PATH`);
    }
    const answer = (stdout: string): Ran => ({ code: 0, signal: null, stdout, stderr: '' });
    if (program === 'ip') return answer(JSON.stringify(this.devices));
    if (this.broken) return { code: this.exit, signal: null, stdout: '', stderr: '' };
    if (args[0] === '--version') return answer(`${this.version}\n`);
    const stdin = options.input ?? '';
    if (this.lacking !== '' && (args[1] === this.lacking || stdin.startsWith(`*${this.lacking}`))) {
      const stderr = `can't initialize iptables table \`${this.lacking}': Table does not exist`;
      return { code: 3, signal: null, stdout: '', stderr };
    }
    if (program === 'ip6tables-save') return answer('');
    if (program === 'iptables-save') return answer(this.save(args[1]));
    if (program === 'iptables' && args[2] === '-S') return this.#list(args[1]!, args[3]!);
    if (program !== 'iptables-restore') throw new Error(`unexpected: ${argv.join(' ')}`);
    const lacks =
      this.bare && stdin.includes('--comment') ? "Couldn't load match `comment'" : undefined;
    const stderr = this.refusal ?? lacks ?? this.restore(stdin);
    const code = stderr === this.refusal ? this.exit : 2;
    return stderr === undefined ? answer('') : { code, signal: null, stdout: '', stderr };
  }

  start(): never {
    throw new Error('nothing is to be started');
  }

  #list(table: string, chain: string): Ran {
    const lines = this.remark === '' ? this.#table(table).get(chain) : undefined;
    if (lines === undefined) {
      const stderr = `iptables v1.8.9 (nf_tables): chain \`${chain}' in table \`${table}' is incompatible`;
      return { code: 1, signal: null, stdout: '', stderr };
    }
    const head = HOOKS[table]!.includes(chain) ? `-P ${chain} ACCEPT` : `-N ${chain}`;
    const rules = lines.map((line) => this.print(`-A ${chain} ${line}`));
    return { code: 0, signal: null, stdout: `${[head, ...rules].join('\n')}\n`, stderr: '' };
  }

  save(only?: string): string {
    if (only !== undefined) this.#table(only);
    const names = [...this.tables.keys()].filter((name) => only === undefined || only === name);
    const text = names.map((name) => {
      const chains = [...this.tables.get(name)!];
      const heads = chains.map(([chain]) => {
        return `:${chain} ${HOOKS[name]!.includes(chain) ? 'ACCEPT' : '-'} [0:0]`;
      });
      const rules = chains.flatMap(([chain, lines]) =>
        lines.map((line) => this.print(`-A ${chain} ${line}`)),
      );
      return [`*${name}`, ...heads, ...rules, 'COMMIT'].join('\n');
    });
    return `# Generated\n${[...text, this.remark].join('\n')}\n`;
  }

  /** Undefined when all of it was done, otherwise the complaint, and nothing was. */
  restore(input: string): string | undefined {
    const before = this.tables;
    this.tables = new Map(
      [...before].map(([name, table]) => [
        name,
        new Map([...table].map(([chain, lines]) => [chain, [...lines]])),
      ]),
    );
    let table: Table = new Map();
    for (const line of input.trimEnd().split('\n')) {
      if (line.startsWith('*')) table = this.#table(line.slice(1));
      const done = line.startsWith('*') || line === 'COMMIT' || this.#do(table, line);
      if (!done) {
        this.tables = before;
        return `line failed: ${line}`;
      }
    }
    return undefined;
  }

  #do(table: Table, line: string): boolean {
    const [, verb, chain = '', rest = ''] = /^(:|-[ADFX] )(\S+) ?(.*)$/.exec(line) ?? [];
    const lines = table.get(chain);
    switch (verb) {
      case ':':
        table.set(chain, []);
        return true;
      case '-A ':
        return lines !== undefined && lines.push(rest) > 0;
      case '-D ':
        return lines?.includes(rest) === true && lines.splice(lines.indexOf(rest), 1).length > 0;
      case '-F ':
        lines?.splice(0);
        return lines !== undefined;
      case '-X ': {
        const jumped = [...table.values()].flat().some((rule) => rule.endsWith(`-j ${chain}`));
        return lines?.length === 0 && !jumped && table.delete(chain);
      }
      default:
        return false;
    }
  }

  #table(name: string): Table {
    const table = this.tables.get(name) ?? new Map(HOOKS[name]!.map((chain) => [chain, []]));
    this.tables.set(name, table);
    return table;
  }

  chain(table: string, chain: string): string[] | undefined {
    return this.tables.get(table)?.get(chain);
  }
}

/** A journal in memory. */
export class FakeJournal {
  readonly entries: Entry[] = [];

  record(entry: Entry): void {
    this.forget(entry);
    this.entries.push(entry);
  }

  rulesIn(table: string): readonly string[] {
    return this.entries.flatMap((e) => (e.kind === 'iptables' && e.table === table ? e.made : []));
  }

  forget(name: EntryName): void {
    const key = (one: EntryName) => `${one.kind} ${'table' in one ? one.table : ''}`;
    const at = this.entries.findIndex((entry) => key(entry) === key(name));
    if (at >= 0) this.entries.splice(at, 1);
  }
}
