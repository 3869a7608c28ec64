/**
 * Calls of the addon at random: any number for any argument, any word in any table. A call throws,
 * or returns what its contract says; and it changes nothing but the places that it was given to
 * write to: every other byte of the memory, and the guards around it, is compared after each call.
 *
 * WEFT_SEED repeats a run, WEFT_FUZZ_ROUNDS makes it longer. The sanitizers' test runs this, too.
 *
 * Descriptors are those that the run opened, -1, and numbers that it has closed: never another's.
 * Its sockets are bound to the loopback address, so that no datagram leaves this host.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import test from 'node:test';
import { ADDRESS_SIZE, MESSAGE_ROW } from '../../../src/dataplane/io/memory.js';
import {
  ADDRESSES,
  AREA,
  Arena,
  HEADROOM,
  IOVECS,
  loopbackSocket,
  MESSAGES,
  PAYLOAD,
  SIZE,
  seeded,
  TABLE,
} from './arena.js';

const MOST = 2 ** 31 - 1;
const LEAST = -(2 ** 31);
const EDGES = [0, 1, 2, 3, 4, 8, 63, 64, 65, 128, 1024, 1025, 65535, 65536, SIZE, MOST, LEAST];
const PLACES = [TABLE, MESSAGES, IOVECS, ADDRESSES, PAYLOAD, AREA];
const NO_INTEGERS = [1.5, Number.NaN, 2 ** 31, LEAST - 1, Infinity, '8', null, {}, 8n, [8]];
/** No device has one of these names, so none is made. */
const NO_NAMES = ['', '%d', 'a/b', 'a b', 'x'.repeat(16), 'é'.repeat(40), 'x'.repeat(5000), 'a\0b'];
/** SO_BUSY_POLL: a socket that is polled for ever is no fault of the addon's. */
const BUSY_POLL = 46;
const MOST_OPEN = 24;

type Range = readonly [from: number, to: number];
interface Call {
  /** Arguments that are right for these descriptors. */
  readonly good: () => unknown[];
  /** Where it may write, of arguments that it has taken. */
  readonly writes?: (a: readonly number[]) => readonly Range[];
  /** The largest number that it may return; the least is -4095, an errno. */
  readonly most?: (a: readonly number[]) => number;
  /** Of 100: how often an argument is any number in place of the right one. */
  readonly wild?: number;
}

class Fuzz {
  readonly arena = new Arena();
  readonly random: () => number;
  readonly open: number[] = [];
  readonly closed: number[] = [-1];
  readonly outcomes = { worked: 0, errno: 0, range: 0, type: 0, code: 0 };
  readonly #before = Buffer.alloc(this.arena.whole.length);
  readonly #guard = this.arena.bytes.byteOffset;
  #at: Uint8Array = new Uint8Array(ADDRESS_SIZE);

  constructor(seed: number) {
    this.random = seeded(seed);
    this.openSocket();
    this.openSocket();
  }

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.random() * list.length)]!;
  }

  below(n: number): number {
    return Math.floor(this.random() * n);
  }

  /** Any number, most often one that is nearly right. */
  number(): number {
    const way = this.random();
    if (way < 0.35) return this.pick(PLACES) + 4 * this.below(16);
    if (way < 0.6) return this.below(64);
    if (way < 0.8) return (this.pick(EDGES) + this.below(5) - 2) | 0;
    if (way < 0.9) return SIZE - this.below(4096);
    return ((this.random() - 0.5) * 2 ** 32) | 0;
  }

  descriptor(): number {
    return this.pick(this.random() < 0.8 ? this.open : this.closed);
  }

  openSocket(): void {
    const [fd, at] = loopbackSocket(this.arena.native);
    this.#keep(fd);
    this.#at = at;
  }

  #keep(fd: number): void {
    this.open.push(fd);
    if (this.closed.includes(fd)) this.closed.splice(this.closed.indexOf(fd), 1);
  }

  /** What is laid out for the next calls: messages that are right, then some words that are not. */
  layOut(): void {
    const { arena } = this;
    const row = () => ({
      fd: this.descriptor(),
      ...(this.random() < 0.8 ? { to: this.#at } : {}),
      segment: this.random() < 0.3 ? 1 + this.below(2000) : 0,
      tos: this.below(256),
      parts: Array.from({ length: 1 + this.below(3) }, () => this.bytes(this.below(3000))),
    });
    const messages = Array.from({ length: 8 }, row);
    // As long as any can be, so that an area is filled to its end.
    const longest = { to: this.#at, parts: [this.bytes(65_507 - this.below(8))] };
    if (this.random() < 0.3) messages[0] = { ...messages[0]!, ...longest, segment: 0 };
    arena.layOut(messages);
    arena.words.set([0, 1, 1, 2, 0, 3, 2, 1], TABLE >> 2);
    for (let i = this.pick([0, 0, 1, 4, 64]); i > 0; i -= 1) {
      const word = (this.pick(PLACES) >> 2) + this.below(64);
      arena.words[word] = this.number();
    }
  }

  /** How many messages to send: rows whose descriptors are ours, whatever was written there. */
  messages(): number {
    const count = this.below(9);
    for (let i = 0; i < count; i += 1) {
      this.arena.words[(MESSAGES >> 2) + i * MESSAGE_ROW.words] = this.descriptor();
    }
    return count;
  }

  readonly calls: Readonly<Record<string, Call>> = {
    tunRead: {
      good: () => [
        this.descriptor(),
        TABLE,
        8,
        AREA,
        this.areaEnd(),
        HEADROOM,
        10,
        ...this.pieces(),
      ],
      writes: (a) => [rows(a[1]!, a[2]!, 24), [a[3]!, a[4]!]],
      most: (a) => a[2]!,
    },
    tunWrite: { good: () => [this.descriptor(), TABLE, 4, IOVECS, 8], most: (a) => a[2]! },
    udpReceive: {
      good: () => [this.descriptor(), TABLE, 8, AREA, this.areaEnd(), HEADROOM, ADDRESSES],
      writes: (a) => [rows(a[1]!, a[2]!, 20), [a[3]!, a[4]!], rows(a[6]!, a[2]!, ADDRESS_SIZE)],
      most: (a) => a[2]!,
    },
    // Its rows are always those that have our descriptors.
    udpSend: {
      good: () => [
        MESSAGES,
        this.messages(),
        ...[IOVECS, 24, ADDRESSES, 8].map((n) => this.maybe(n)),
      ],
      most: (a) => a[1]!,
      wild: 0,
    },
    wait: {
      good: () => [this.maybe(TABLE), this.maybe(8), this.pick([0, 0, 0, -1, LEAST])],
      writes: (a) => [rows(a[0]!, a[1]!, 8)],
      most: (a) => a[1]!,
      wild: 0,
    },
    eventSignal: { good: () => [this.descriptor()] },
    eventDrain: { good: () => [this.descriptor()] },
    getOption: {
      good: () => [this.descriptor(), this.pick([0, 1, 17]), this.below(128)],
      most: () => MOST,
    },
    setOption: {
      good: () => [this.descriptor(), this.pick([0, 1, 17]), this.option(), this.number()],
    },
    tunOffload: { good: () => [this.descriptor(), this.number()] },
    tunSteer: { good: () => [this.descriptor()] },
    tunOpen: { good: () => [this.pick(NO_NAMES), this.number()], wild: 0 },
    udpSteer: { good: () => [this.descriptor(), this.number()] },
    udpDiscard: { good: () => [this.descriptor()] },
    udpBindDevice: { good: () => [this.descriptor(), this.pick(NO_NAMES)] },
    udpBind: { good: () => [this.descriptor(), this.row()] },
    udpConnect: { good: () => [this.descriptor(), this.row()] },
    udpName: { good: () => [this.descriptor(), new Uint8Array(this.below(64))] },
    errnoName: { good: () => [this.number()] },
    notify: {
      good: () => [this.pick([...NO_NAMES, '@weft-nobody', '/']), 'x'.repeat(this.below(5000))],
      wild: 0,
    },
    attach: { good: () => [this.view()] },
  };

  /** Not zeros, which would not show where there are zeros. */
  bytes(length: number): Buffer {
    return Buffer.alloc(length, 1 + this.below(255));
  }

  /** Where the area of a read ends: at the memory's end, or about as early as one read needs. */
  areaEnd(): number {
    if (this.random() < 0.4) return SIZE;
    return AREA + HEADROOM + 65_470 + this.below(this.pick([40, 128, 20_000]));
  }

  maybe(good: number): number {
    return this.random() < 0.3 ? this.number() : good;
  }

  pieces(): number[] {
    return this.random() < 0.5
      ? [0, 0, 0]
      : [1450, this.pick([1, 60, 64, 1398, 65535]), this.below(200)];
  }

  option(): number {
    const name = this.below(128);
    return name === BUSY_POLL ? 0 : name;
  }

  row(): Uint8Array {
    const row = new Uint8Array(this.pick([0, 31, 32, 33, 64]));
    // 127.0.0.x with any family and port, or anything at all but an address that leads elsewhere.
    for (let i = 0; i < row.length; i += 1) row[i] = i === 4 ? 127 : this.below(256);
    if (this.random() < 0.7 && row.length >= ADDRESS_SIZE) row.set(this.#at);
    return row;
  }

  /** The whole memory, or less of it, or nothing that `attach` takes. */
  view(): unknown {
    const { bytes } = this.arena;
    const way = this.random();
    if (way < 0.6) return bytes;
    if (way < 0.8) return bytes.subarray(0, this.below(SIZE));
    return this.pick<unknown>([new Uint8Array(64), bytes.subarray(1), 7, undefined]);
  }

  /** Opens or closes something, so that numbers are old and new. */
  churn(): void {
    const { native } = this.arena;
    if (this.open.length < MOST_OPEN && this.random() < 0.55) {
      if (this.random() < 0.6) this.openSocket();
      else this.#keep(native.eventOpen());
    } else if (this.open.length > 2) {
      const [fd] = this.open.splice(this.below(this.open.length), 1);
      assert.equal(native.close(fd!), 0);
      this.closed.push(fd!);
    }
    assert.equal(native.close(this.pick(this.closed)), -9);
  }

  /** One call. Throws what it should not have done. */
  step(name: string): void {
    const { native, whole } = this.arena;
    const { good, writes, most = () => 0, wild = 20 } = this.calls[name]!;
    const given = good();
    for (let i = 0; i < given.length; i += 1) {
      if (typeof given[i] !== 'number') continue;
      // The first one of most calls is a descriptor, which is never any number.
      const any = this.below(100) < wild && (i > 0 || name === 'errnoName');
      if (any) given[i] = this.number();
      if (this.random() < 0.005) given[i] = this.pick(NO_INTEGERS);
    }
    whole.copy(this.#before);
    const what = `${name}(${given.map(String).join(', ').slice(0, 300)})`;
    const call = (native as unknown as Record<string, (...a: unknown[]) => unknown>)[name]!;
    let allowed: readonly Range[] = [];
    try {
      const result = call(...given);
      const integers = given as number[];
      allowed = writes?.(integers) ?? [];
      if (typeof result === 'number') {
        assert.ok(result <= most(integers) && result > -4096, `${what}: ${result}`);
        this.outcomes[result < 0 ? 'errno' : 'worked'] += 1;
      } else this.outcomes.worked += 1;
    } catch (error) {
      if (error instanceof RangeError) this.outcomes.range += 1;
      else if (error instanceof TypeError) this.outcomes.type += 1;
      else if (typeof (error as { syscall?: unknown }).syscall === 'string')
        this.outcomes.code += 1;
      else throw error;
    }
    this.#checkUnchanged(allowed, what);
  }

  #checkUnchanged(allowed: readonly Range[], what: string): void {
    const { whole } = this.arena;
    const sorted = [...allowed].sort(([a], [b]) => a - b);
    let from = 0;
    for (const [start, end] of [...sorted, [whole.length, whole.length] as Range]) {
      const to = Math.min(start + (start === whole.length ? 0 : this.#guard), whole.length);
      if (to > from) {
        const same = this.#before.compare(whole, from, to, from, to) === 0;
        assert.ok(same, `${what}: wrote between ${from - this.#guard} and ${to - this.#guard}`);
      }
      from = Math.max(from, end + this.#guard);
    }
  }

  close(): void {
    for (const fd of this.open.splice(0)) this.arena.native.close(fd);
    this.arena.native.attach(this.arena.bytes);
  }
}

function rows(at: number, count: number, size: number): Range {
  return [at, at + count * size];
}

test('calls at random change nothing but what they were given to write to', (t) => {
  const seed = Number(process.env.WEFT_SEED ?? 20240611);
  const rounds = Number(process.env.WEFT_FUZZ_ROUNDS ?? 20_000);
  t.diagnostic(`WEFT_SEED=${seed} WEFT_FUZZ_ROUNDS=${rounds} repeats this run`);
  const fuzz = new Fuzz(seed);
  t.after(() => fuzz.close());
  const hot = ['tunRead', 'tunWrite', 'udpReceive', 'udpSend', 'wait'];
  const all = Object.keys(fuzz.calls);
  for (let round = 0; round < rounds; round += 1) {
    if (round % 8 === 0) fuzz.layOut();
    if (round % 32 === 0) fuzz.churn();
    if (round % 64 === 0) fuzz.arena.native.attach(fuzz.arena.bytes);
    try {
      fuzz.step(fuzz.pick(fuzz.random() < 0.7 ? hot : all));
    } catch (error) {
      throw new Error(`round ${round} of WEFT_SEED=${seed}`, { cause: error });
    }
  }
  const { outcomes } = fuzz;
  t.diagnostic(JSON.stringify(outcomes));
  const least = Math.min(...Object.values(outcomes));
  assert.ok(least > rounds / 500, JSON.stringify(outcomes));
});
