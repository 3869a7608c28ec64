/**
 * What there is to say of one command, said once: the help texts, the man page and the completions
 * of the shells are all made from it.
 */
import type { Flag } from '../flags.js';

export interface Command {
  readonly name: string;
  /** What it does, in at most 60 characters. */
  readonly line: string;
  /** What stands on its command line beside flags. */
  readonly operands?: string;
  /** What a shell completes the first operand with. */
  readonly operandWords?: readonly string[];
  /** Paragraphs. */
  readonly about: readonly string[];
  readonly groups: readonly FlagGroup[];
  readonly examples: readonly Example[];
  readonly exits: readonly (readonly [code: number, when: string])[];
  /** Files that it reads or writes. */
  readonly files?: readonly (readonly [path: string, what: string])[];
}

export interface FlagGroup {
  readonly title: string;
  readonly flags: readonly Flag[];
}

export interface Example {
  /** Lines of at most 76 characters; each but the last ends in a backslash or a pipe. */
  readonly run: string;
  readonly does: string;
}

/** Which weft is asked; with `-run-dir` (run-dir.ts) all that find-running.ts takes. */
export const DEVICE: Flag = {
  name: 'device',
  kind: 'string',
  value: 'name',
  takes: 'interface',
  help: 'which weft, where several run on this host (default: the only one)',
};

export const HELP: Flag = { name: 'help', kind: 'bool', help: 'this text' };

export function flagsOf({ groups }: Command): Flag[] {
  return groups.flatMap(({ flags }) => flags);
}

/** What help shows for a flag's value; empty for one that takes none. */
export function valueName({ kind, value, choices }: Flag): string {
  if (kind === 'bool') return '';
  return value ?? choices?.join('|') ?? kind;
}

/** `(default x)`, or nothing. */
export function defaultOf({ default: usual }: Flag): string {
  return usual === undefined || usual === '' ? '' : `(default ${usual})`;
}
