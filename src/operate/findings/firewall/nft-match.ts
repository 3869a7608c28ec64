/** The questions of nft's rules, from the words that `nft -j` prints. */
import { all, any, type Choice, type Match, not, type Packet, type Truth } from './model.js';
import { type Field, fieldOf } from './nft-fields.js';
import { actionOf } from './nft-verdict.js';
import { rangeTest, stateHolds, type Test } from './values.js';

/** Of the named sets and maps of a table, what is in them; one that packets fill is left out. */
export type Sets = ReadonlyMap<string, readonly unknown[]>;

const UNKNOWN: Match = () => undefined;

/** `{"op": "==", "left": …, "right": …}`. */
export function matchOf(op: unknown, left: unknown, right: unknown, sets: Sets): Match {
  const inverted = op === '!=';
  if (keyOfCt(left) === 'state') return stateMatch(right, inverted);
  if (keyOfCt(left) === 'status') return statusMatch(right, inverted);
  const fields = fieldsOf(left);
  const has = (packet: Packet) => all(fields.map((field) => field.has(packet)));
  const compare =
    op === '==' || op === 'in' || inverted
      ? membership(fields, right, sets, inverted)
      : order(fields, op, right);
  return (packet) => {
    const there = has(packet);
    return there === false ? false : all([there, compare(packet)]);
  };
}

/** A verdict map. */
export function choicesOf(key: unknown, data: unknown, sets: Sets): Choice[] {
  const elements = elementsOf(data, sets);
  if (elements === undefined) return [{ match: UNKNOWN, action: { kind: 'unknown' } }];
  const pairs = elements.map((pair) => (Array.isArray(pair) ? (pair as unknown[]) : []));
  const isRest = ([one]: readonly unknown[]) => one === '*';
  const sorted = [...pairs.filter((one) => !isRest(one)), ...pairs.filter(isRest)];
  return sorted.map((pair) => {
    const [value, verdict] = pair;
    const fields = fieldsOf(key);
    const match = isRest(pair)
      ? (packet: Packet) => all(fields.map((field) => field.has(packet)))
      : matchOf('==', key, value, sets);
    return { match, action: actionOf(verdict) ?? { kind: 'unknown' } };
  });
}

function keyOfCt(left: unknown): unknown {
  return (left as { ct?: { key?: unknown } } | null)?.ct?.key;
}

function fieldsOf(left: unknown): Field[] {
  const parts = (left as { concat?: unknown } | null)?.concat;
  return Array.isArray(parts) ? parts.map(fieldOf) : [fieldOf(left)];
}

function membership(
  fields: readonly Field[],
  right: unknown,
  sets: Sets,
  inverted: boolean,
): Match {
  const elements = elementsOf(right, sets);
  if (elements === undefined) return UNKNOWN;
  const rows = elements.map((element) => rowOf(fields, element));
  return (packet) => {
    const hits = rows.map((row) => (row === undefined ? undefined : hit(fields, row, packet)));
    // Where a field is a device that the hook does not have, "not" is open.
    const devices = fields.map((field) => field.holds(() => false, packet, true));
    return inverted ? all([not(any(hits)), ...devices]) : any(hits);
  };
}

function hit(fields: readonly Field[], row: readonly Test[], packet: Packet): Truth {
  return all(fields.map((field, i) => field.holds(row[i]!, packet, false)));
}

function order([field]: readonly Field[], op: unknown, right: unknown): Match {
  if (typeof right !== 'number' || field === undefined) return UNKNOWN;
  const { read } = field;
  return (packet) => {
    const value = read(packet);
    if (typeof value !== 'number') return undefined;
    if (op === '<') return value < right;
    if (op === '>') return value > right;
    if (op === '<=') return value <= right;
    return op === '>=' ? value >= right : undefined;
  };
}

/** The values of a right side; undefined when they are not known. */
function elementsOf(right: unknown, sets: Sets): readonly unknown[] | undefined {
  if (typeof right === 'string' && right.startsWith('@')) return sets.get(right.slice(1));
  const set = (right as { set?: unknown } | null)?.set;
  if (Array.isArray(set)) return set as unknown[];
  return Array.isArray(right) || right === null ? undefined : [right];
}

/** A test for each field; undefined if one of them is not understood. */
function rowOf(fields: readonly Field[], element: unknown): readonly Test[] | undefined {
  const value = plain(element);
  const parts = (value as { concat?: unknown } | null)?.concat;
  const values = fields.length > 1 && Array.isArray(parts) ? (parts as unknown[]) : [value];
  if (values.length !== fields.length) return undefined;
  const tests = fields.map((field, i) => testOf(field, plain(values[i])));
  return tests.every((test) => test !== undefined) ? tests : undefined;
}

/** Without what is said of an element beside its value. */
function plain(element: unknown): unknown {
  const inner = (element as { elem?: { val?: unknown } } | null)?.elem;
  return inner === undefined ? element : inner.val;
}

function testOf(field: Field, value: unknown): Test | undefined {
  const { prefix, range } = (value ?? {}) as {
    prefix?: { addr?: unknown; len?: unknown };
    range?: readonly unknown[];
  };
  if (prefix !== undefined) return field.test(`${prefix.addr}/${prefix.len}`);
  if (range === undefined) return field.test(value);
  const [first, last] = range;
  if (typeof first === 'number' && typeof last === 'number') return rangeTest(first, last);
  return field.test(`${first}-${last}`);
}

function namesIn(right: unknown): readonly string[] | undefined {
  const list = (right as { set?: unknown } | null)?.set ?? right;
  const names = Array.isArray(list) ? (list as unknown[]) : [list];
  return names.every((name) => typeof name === 'string') ? (names as string[]) : undefined;
}

function stateMatch(right: unknown, inverted: boolean): Match {
  const names = namesIn(right);
  if (names === undefined) return UNKNOWN;
  return (packet) => {
    const truth = stateHolds(names, packet);
    return inverted ? not(truth) : truth;
  };
}

/** Nobody translates the overlay's packets. */
function statusMatch(right: unknown, inverted: boolean): Match {
  const names = namesIn(right);
  const isKnown = names?.every((name) => name === 'dnat' || name === 'snat') === true;
  return isKnown ? () => inverted : UNKNOWN;
}
