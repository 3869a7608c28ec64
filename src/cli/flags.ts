/**
 * Flags as Go's flag package reads them, since that is what flanneld's unit files are
 * written for: `-name value`, `--name=value`, booleans alone or `-name=false`, `--` ends them;
 * `-h` is `-help`; and each from the environment when it is not on the command line.
 */
import { nearest } from './manual/nearest.js';

export interface Flag {
  readonly name: string;
  readonly kind: 'string' | 'bool' | 'int' | 'list';
  /** What help shows for the value. */
  readonly value?: string;
  /** All values that it takes, where they are few. */
  readonly choices?: readonly string[];
  /** What a shell completes the value with. */
  readonly takes?: 'file' | 'folder' | 'interface';
  readonly help: string;
  readonly default?: string;
}

export interface Flags {
  text(name: string): string;
  list(name: string): readonly string[];
  bool(name: string): boolean;
  int(name: string): number;
  /** Whether it was given at all, on the command line or in the environment. */
  given(name: string): boolean;
  readonly rest: readonly string[];
}

/** What is wrong with a command line; its message is for the operator. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const TRUE = new Set(['1', 't', 'T', 'true', 'TRUE', 'True']);
const FALSE = new Set(['0', 'f', 'F', 'false', 'FALSE', 'False']);

/** The environment variable of a flag: FLANNELD_ETCD_PREFIX for etcd-prefix. */
export function variableOf(prefix: string, name: string): string {
  return `${prefix}${name.toUpperCase().replaceAll(/[-.]/g, '_')}`;
}

/** Reads `args`; throws a UsageError that names the flag and the value. */
export function parseFlags(
  known: readonly Flag[],
  args: readonly string[],
  environment: { readonly [name: string]: string | undefined } = {},
  prefix = 'FLANNELD_',
): Flags {
  const flags = new Map(known.map((flag) => [flag.name, flag]));
  const values = new Map<string, string[]>();
  const rest: string[] = [];

  const take = (flag: Flag, value: string, where: string): void => {
    check(flag, value, where);
    const old = flag.kind === 'list' ? (values.get(flag.name) ?? []) : [];
    values.set(flag.name, [...old, value]);
  };

  for (let i = 0; i < args.length; i += 1) {
    const arg = args[i]!;
    if (arg === '--') {
      rest.push(...args.slice(i + 1));
      break;
    }
    const [, name, inline] = /^--?([^-=][^=]*)(?:=([\s\S]*))?$/.exec(arg) ?? [];
    if (name === undefined) {
      rest.push(arg);
      continue;
    }
    const flag = flags.get(name === 'h' && !flags.has('h') ? 'help' : name);
    if (flag === undefined) {
      const near = nearest(name, [...flags.keys()]);
      const meant = near === undefined ? '' : `; did you mean -${near}?`;
      throw new UsageError(`unknown flag ${arg.replace(/=.*/s, '')}${meant}`);
    }
    if (inline !== undefined) {
      take(flag, inline, arg);
    } else if (flag.kind === 'bool') {
      take(flag, 'true', arg);
    } else {
      i += 1;
      const value = args[i];
      if (value === undefined) throw new UsageError(`flag -${name} needs a value`);
      take(flag, value, `-${name} ${value}`);
    }
  }

  for (const flag of known) {
    const variable = variableOf(prefix, flag.name);
    const value = environment[variable];
    if (values.has(flag.name) || value === undefined || value === '') continue;
    if (flag.name === 'help' || flag.name === 'version') continue;
    take(flag, value, `${variable}=${value}`);
  }

  const last = (name: string): string => values.get(name)?.at(-1) ?? flags.get(name)?.default ?? '';
  return {
    text: last,
    list: (name) => values.get(name) ?? [],
    bool: (name) => TRUE.has(last(name)),
    int: (name) => Number(last(name)),
    given: (name) => values.has(name),
    rest,
  };
}

function check(flag: Flag, value: string, where: string): void {
  if (flag.kind === 'bool' && !TRUE.has(value) && !FALSE.has(value)) {
    throw new UsageError(`${where}: ${JSON.stringify(value)} is neither true nor false`);
  }
  if (flag.kind === 'int' && !/^[+-]?\d+$/.test(value)) {
    throw new UsageError(`${where}: ${JSON.stringify(value)} is not a whole number`);
  }
}
