/**
 * The patterns of `-iface-regex`. flannel reads them as Go does (RE2), and much of that means
 * something else in JavaScript, or nothing: `[[:alpha:]]`, `[]a]`, `\z`, `(?i)`, `{` alone. So a
 * pattern is read piece by piece and written anew for JavaScript; a piece that has no counterpart
 * there, or that Go does not know either, is refused by its name.
 *
 * Only whether a pattern matches is asked, never where, so greed and groups' names do not matter.
 */
import { HostError } from './errors.js';

export interface Pattern {
  /** As it was given. */
  readonly text: string;
  readonly regex: RegExp;
}

/** Go's named sets, as the inside of a class of JavaScript. */
const SETS: { readonly [name: string]: string } = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  ascii: '\\x00-\\x7f',
  blank: '\\t\\x20',
  cntrl: '\\x00-\\x1f\\x7f',
  digit: '0-9',
  graph: '\\x21-\\x7e',
  lower: 'a-z',
  print: '\\x20-\\x7e',
  punct: '\\x21-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\x7e',
  space: '\\t\\n\\v\\f\\r\\x20',
  upper: 'A-Z',
  word: '0-9A-Za-z_',
  xdigit: '0-9A-Fa-f',
  // \d, \s, \w
  d: '0-9',
  s: '\\t\\n\\f\\r\\x20',
  w: '0-9A-Za-z_',
};

const CONTROLS: { readonly [letter: string]: number } = { a: 7, f: 12, n: 10, r: 13, t: 9, v: 11 };
/** Go's limit for `{n}`. */
const MOST_REPEATS = 1000;

/** Reads a pattern. Throws a HostError that names the piece which cannot be read, and why. */
export function readPattern(text: string): Pattern {
  const input = new Input(text);
  // Within one line `m` changes nothing; nor does `U`, which swaps greedy and lazy.
  const [, options = ''] = input.take(/^\(\?([imsU]+)\)/) ?? [];
  const anything = options.includes('s') ? '[^]' : '[^\\n]';
  let source = '';
  while (!input.ended) source += readPiece(input, anything);
  try {
    return { text, regex: new RegExp(source, options.includes('i') ? 'iv' : 'v') };
  } catch {
    throw new HostError('EINVAL', 'it is not a regular expression');
  }
}

/** What is still to be read. */
class Input {
  rest: string;

  constructor(text: string) {
    this.rest = text;
  }

  get ended(): boolean {
    return this.rest === '';
  }

  /** Takes what matches at the front; null if nothing does. */
  take(what: RegExp): RegExpExecArray | null {
    const found = what.exec(this.rest);
    if (found !== null) this.rest = this.rest.slice(found[0].length);
    return found;
  }
}

function readPiece(input: Input, anything: string): string {
  const quoted = input.take(/^\\Q(.*?)(?:\\E|$)/s);
  if (quoted) return [...quoted[1]!].map(literal).join('');
  const edge = input.take(/^\\[AzbB]/);
  if (edge) return edge[0].replace('\\A', '^').replace('\\z', '$');
  if (input.take(/^\[/)) return readClass(input);
  if (input.take(/^\(\?P?<[A-Za-z0-9_]+>/)) return '(?:';
  const group = input.take(/^\(\?([a-zA-Z-]*)[:)]/);
  if (group?.[0] === '(?:') return '(?:';
  if (group) refuse(group[0], 'flags are read at the beginning of the pattern alone, as (?i)');
  const unknown = input.take(/^\(\?(?:<?[=!])?/);
  if (unknown) refuse(unknown[0], "is not part of Go's patterns");
  const repeat = input.take(/^\{(0|[1-9]\d*)(?:,(0|[1-9]\d*)?)?\}/);
  if (repeat) {
    const [piece, least, most = '0'] = repeat;
    if (Math.max(Number(least), Number(most)) <= MOST_REPEATS) return piece;
    refuse(piece, `repeats more than ${MOST_REPEATS} times, which Go does not do`);
  }
  if (input.take(/^\./)) return anything;
  const operator = input.take(/^[\^$|()*+?]/);
  if (operator) return operator[0];
  return readSet(input) ?? literal(readCharacter(input));
}

/** The rest of a class, after `[`. */
function readClass(input: Input): string {
  let source = input.take(/^\^/) ? '[^' : '[';
  // A bracket right at the beginning stands for itself.
  for (let first = true; first || !input.take(/^\]/); first = false) {
    if (input.ended) refuse('[', 'is not closed');
    const set = readSet(input) ?? readNamedSet(input);
    if (set !== undefined) {
      source += set;
      continue;
    }
    source += literal(readCharacter(input));
    if (input.take(/^-(?=[^\]])/s)) source += `-${literal(readCharacter(input))}`;
  }
  return `${source}]`;
}

/** `\d`, `\W` and the like, inside a class or outside. */
function readSet(input: Input): string | undefined {
  const unicode = input.take(/^\\[pP](?:\{[^}]*\}|.)?/s);
  if (unicode) refuse(unicode[0], 'names Unicode characters; list the characters in [ ] instead');
  const [, letter] = input.take(/^\\([dswDSW])/) ?? [];
  if (letter === undefined) return undefined;
  const small = letter.toLowerCase();
  return `[${letter === small ? '' : '^'}${SETS[small]}]`;
}

/** `[:alpha:]`, `[:^alpha:]`, inside a class. */
function readNamedSet(input: Input): string | undefined {
  const found = input.take(/^\[:(\^?)(.*?):\]/s);
  if (found === null) return undefined;
  const [piece, not, name = ''] = found;
  const set = name.length > 1 && Object.hasOwn(SETS, name) ? SETS[name] : undefined;
  if (set === undefined) return refuse(piece, "is not one of Go's classes");
  return `[${not}${set}]`;
}

/** One character, perhaps escaped. */
function readCharacter(input: Input): string {
  const [hex] = input.take(/^\\x(?:\{[0-9A-Fa-f]{1,6}\}|[0-9A-Fa-f]{2})/) ?? [];
  if (hex !== undefined) return character(hex, Number.parseInt(hex.replace(/\\x\{?/, ''), 16));
  const [octal] = input.take(/^\\(?:0[0-7]{0,2}|[1-7][0-7]{1,2})/) ?? [];
  if (octal !== undefined) return character(octal, Number.parseInt(octal.slice(1), 8));
  const [piece, escaped = ''] = input.take(/^\\(.?)/su) ?? [];
  if (piece === undefined) return input.take(/^./su)![0];
  const control = CONTROLS[escaped];
  if (control !== undefined) return character(piece, control);
  if (/^[\x21-\x7e]$/.test(escaped) && !/[0-9A-Za-z]/.test(escaped)) return escaped;
  return refuse(piece, "is not part of Go's patterns");
}

function character(piece: string, code: number): string {
  return code <= 0x10ffff ? String.fromCodePoint(code) : refuse(piece, 'is no character');
}

/** A character that stands for itself in JavaScript, inside a class or outside. */
function literal(one: string): string {
  return /^[0-9A-Za-z]$/.test(one) ? one : `\\u{${one.codePointAt(0)!.toString(16)}}`;
}

function refuse(piece: string, why: string): never {
  throw new HostError('EINVAL', `${piece} ${why}`);
}
