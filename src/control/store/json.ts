/**
 * JSON with errors that say where. V8's own messages leave the position out for most
 * mistakes, and the position is what an operator needs.
 */

/** Not JSON: where it breaks and what is there. */
export class JsonError extends Error {
  override readonly name = 'JsonError';
  /** Zero-based, in UTF-16 units. */
  readonly offset: number;

  constructor(text: string, offset: number) {
    const before = text.slice(0, offset).split('\n');
    const found = String.fromCodePoint(text.codePointAt(offset) ?? 0);
    const what =
      offset >= text.length ? 'it ends too early' : `unexpected ${JSON.stringify(found)}`;
    super(`line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}: ${what}`);
    this.offset = offset;
  }
}

/** JSON.parse, with a JsonError for what is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new JsonError(text, new Scanner(text).firstError());
  }
}

/** An object as JSON has it: neither null nor an array. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** One member of an object, its value as it was written. */
export interface RawMember {
  readonly name: string;
  readonly text: string;
}

/**
 * The members of an object, with the very text of their values, so that what is not understood
 * can be written again as it is (a number of twenty digits too). Throws a JsonError for what is
 * not JSON; undefined for what is no object.
 */
export function rawMembers(text: string): RawMember[] | undefined {
  if (!isObject(parseJson(text))) return undefined;
  const members: RawMember[] = [];
  const inside = text.slice(text.indexOf('{') + 1, text.lastIndexOf('}'));
  let depth = 0;
  let start = 0;
  // A string as one piece, or one character that opens, closes or separates.
  for (const { 0: piece, index } of inside.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],]/g)) {
    if (piece === '{' || piece === '[') depth++;
    else if (piece === '}' || piece === ']') depth--;
    else if (piece === ',' && depth === 0) {
      members.push(splitMember(inside.slice(start, index)));
      start = index + 1;
    }
  }
  const last = inside.slice(start);
  if (last.trim() !== '') members.push(splitMember(last));
  return members;
}

/** ` "name" : value ` of a text that is known to be right. */
function splitMember(text: string): RawMember {
  const [, name = '', value = ''] = /^\s*("(?:[^"\\]|\\.)*")\s*:(.*)$/s.exec(text) ?? [];
  return { name: JSON.parse(name) as string, text: value.trim() };
}

const SPACE = /[ \t\n\r]*/y;
const SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
/** Up to the closing quote; the class is everything from the blank on but " and \. */
const STRING = /"(?:[ !#-[\]-\uffff]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*/y;

/** Walks over a text that JSON.parse refused, to the first character that cannot stand there. */
class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  firstError(): number {
    if (this.#value()) this.#skip(SPACE);
    return this.#at;
  }

  /** Whether a whole value stood here; if not, `at` is where it broke. */
  #value(): boolean {
    this.#skip(SPACE);
    const opens = this.#text[this.#at];
    if (opens === '{') return this.#list('}', () => this.#member());
    if (opens === '[') return this.#list(']', () => this.#value());
    if (opens === '"') return this.#string();
    return this.#skip(SCALAR);
  }

  #list(closes: string, item: () => boolean): boolean {
    this.#at++;
    this.#skip(SPACE);
    if (this.#take(closes)) return true;
    do {
      if (!item()) return false;
      this.#skip(SPACE);
    } while (this.#take(','));
    return this.#take(closes);
  }

  #member(): boolean {
    this.#skip(SPACE);
    if (!this.#string()) return false;
    this.#skip(SPACE);
    return this.#take(':') && this.#value();
  }

  #string(): boolean {
    return this.#skip(STRING) && this.#take('"');
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #skip(pattern: RegExp): boolean {
    pattern.lastIndex = this.#at;
    if (!pattern.test(this.#text)) return false;
    this.#at = pattern.lastIndex;
    return true;
  }
}
