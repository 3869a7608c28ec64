/**
 * The internet checksum's sum (RFC 1071) in WebAssembly SIMD: the same result as
 * `checksum.sum`, about a third of the time of the typed-array form for a full segment.
 *
 * The module is assembled here, byte by byte, so that nothing but this file is needed to build
 * it: one function `sum(at, length) -> i32` over an imported shared memory.
 *
 *   while 64 bytes are left   four loads, each pair of 16-bit words added into 32-bit lanes
 *   while 16 bytes are left   one load
 *   add the lanes, folded     a lane holds at most 64 KiB / 16 × 2 × 65535 < 2^32
 *   while 2 bytes are left    one word
 *   an odd byte               as if a zero followed
 */

/** The part of the WebAssembly object that is used; Node's own types leave it out. */
interface Wasm {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
    imports: object,
  ) => { readonly exports: { readonly sum: (at: number, length: number) => number } };
}

// Types, opcodes (WebAssembly core specification, 5.2 to 5.4).
const I32 = 0x7f;
const V128 = 0x7b;
const EMPTY = 0x40;
const BLOCK = 0x02;
const LOOP = 0x03;
const END = 0x0b;
const BR = 0x0c;
const BR_IF = 0x0d;
const GET = 0x20;
const SET = 0x21;
const LOAD8_U = [0x2d, 0x00, 0x00];
const LOAD16_U = [0x2f, 0x00, 0x00];
const CONST = 0x41;
const LT_U = 0x49;
const EQZ = 0x45;
const ADD = 0x6a;
const SUB = 0x6b;
const AND = 0x71;
const SHR_U = 0x76;
const SIMD = 0xfd;
const EXTADD_PAIRWISE_I16X8_U = [SIMD, 0x7f];
const I32X4_ADD = [SIMD, 0xae, 0x01];
const lane = (n: number): number[] => [SIMD, 0x1b, n];
const load = (offset: number): number[] => [SIMD, 0x00, 0x00, offset];

const AT = 0;
const LENGTH = 1;
const TOTAL = 2;
const A = 3;
const B = 4;

/** A signed LEB128 number. */
function leb(value: number): number[] {
  const bytes: number[] = [];
  let n = value;
  for (;;) {
    const low = n & 0x7f;
    n >>= 7;
    if ((n === 0 && (low & 0x40) === 0) || (n === -1 && (low & 0x40) !== 0)) {
      return [...bytes, low];
    }
    bytes.push(low | 0x80);
  }
}

function section(id: number, content: number[]): number[] {
  return [id, ...unsigned(content.length), ...content];
}

function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

const accumulate = (to: number, offset: number): number[] => [
  ...[GET, to, GET, AT, ...load(offset), ...EXTADD_PAIRWISE_I16X8_U, ...I32X4_ADD, SET, to],
];

const advance = (size: number): number[] => [
  ...[GET, AT, CONST, ...leb(size), ADD, SET, AT],
  ...[GET, LENGTH, CONST, ...leb(size), SUB, SET, LENGTH],
];

/** `while (length >= size) { body; at += size; length -= size }` */
const whileLeft = (size: number, body: number[]): number[] => [
  ...[BLOCK, EMPTY, LOOP, EMPTY],
  ...[GET, LENGTH, CONST, ...leb(size), LT_U, BR_IF, 1],
  ...body,
  ...advance(size),
  ...[BR, 0, END, END],
];

/** `total += (lane n of v) folded once` */
const addLane = (v: number, n: number): number[] => [
  ...[GET, TOTAL, GET, v, ...lane(n), CONST, ...leb(0xffff), AND, ADD],
  ...[GET, v, ...lane(n), CONST, 16, SHR_U, ADD, SET, TOTAL],
];

/** `total = (total & 0xffff) + (total >>> 16)` */
const foldTotal = [
  ...[GET, TOTAL, CONST, ...leb(0xffff), AND],
  ...[GET, TOTAL, CONST, 16, SHR_U, ADD, SET, TOTAL],
];

function assemble(pages: number): Uint8Array {
  const body = [
    ...[2, 1, I32, 2, V128],
    ...whileLeft(64, [
      ...accumulate(A, 0),
      ...accumulate(B, 16),
      ...accumulate(A, 32),
      ...accumulate(B, 48),
    ]),
    ...whileLeft(16, accumulate(A, 0)),
    ...[0, 1, 2, 3].flatMap((n) => [...addLane(A, n), ...addLane(B, n)]),
    ...whileLeft(2, [GET, TOTAL, GET, AT, ...LOAD16_U, ADD, SET, TOTAL]),
    ...[BLOCK, EMPTY, GET, LENGTH, EQZ, BR_IF, 0],
    ...[GET, TOTAL, GET, AT, ...LOAD8_U, ADD, SET, TOTAL, END],
    ...foldTotal,
    ...foldTotal,
    ...[GET, TOTAL, END],
  ];
  const name = (text: string): number[] => [text.length, ...Buffer.from(text)];
  const limits = [0x03, ...unsigned(pages), ...unsigned(pages)]; // shared, initial = maximum
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, [1, 0x60, 2, I32, I32, 1, I32]),
    ...section(2, [1, ...name('m'), ...name('m'), 0x02, ...limits]),
    ...section(3, [1, 0]),
    ...section(7, [1, ...name('sum'), 0x00, 0]),
    ...section(10, [1, ...unsigned(body.length), ...body]),
  ]);
}

/**
 * Makes the function over `memory` (shared, initial = maximum), or undefined where the
 * engine has no WebAssembly SIMD. `length` up to 64 KiB; [at, at + length) must lie in memory,
 * or it throws a WebAssembly.RuntimeError.
 */
export function createSimdSummer(memory: {
  readonly buffer: SharedArrayBuffer;
}): ((at: number, length: number) => number) | undefined {
  const wasm = (globalThis as unknown as { WebAssembly?: Wasm }).WebAssembly;
  if (wasm === undefined) return undefined;
  try {
    const module = new wasm.Module(assemble(memory.buffer.byteLength / 65536));
    const { sum } = new wasm.Instance(module, { m: { m: memory } }).exports;
    return (at, length) => {
      const native = sum(at, length);
      return ((native & 0xff) << 8) | (native >>> 8);
    };
  } catch {
    return undefined;
  }
}
