/**
 * No argument and no word of a table makes the addon touch a byte outside the memory that
 * was registered, or anything at all when a call throws.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  ADDRESS_SIZE,
  IOVEC_ROW,
  MESSAGE_ROW,
  WRITE_ROW,
} from '../../../src/dataplane/io/memory.js';
import { loadNative, type Native } from '../../../src/dataplane/io/native.js';
import {
  ADDRESSES,
  AREA,
  Arena,
  HEADROOM,
  IOVECS,
  loopbackSocket,
  MESSAGES,
  PAYLOAD,
  pattern,
  SIZE,
  TABLE,
} from './arena.js';

type HotCall = 'tunRead' | 'tunWrite' | 'udpReceive' | 'udpSend' | 'wait';
type Call = (...values: unknown[]) => number;

const MOST = 2 ** 31 - 1;
const LEAST = -(2 ** 31);
const NO_INTEGERS = [0.5, 1.5, NaN, 2 ** 31, LEAST - 1, 2 ** 32 + 8, Infinity, '1', null, {}, 1n];
const ROWS = 8;

/** What `call` gives with `values`; the test's business is that they may be of any type. */
function invoke(native: Native, call: HotCall, values: readonly unknown[]): number {
  return (native[call] as unknown as Call)(...values);
}

/** Each hot call: arguments that are right, and for each of them those that are out of range. */
function hotCalls(fd: number): Record<HotCall, { good: number[]; bad: number[][] }> {
  const table = (size: number) => [-4, LEAST, 65, 66, 67, SIZE, SIZE - size + 4, MOST];
  const rows = (rowSize: number) => [-1, LEAST, MOST, Math.floor(SIZE / rowSize) + 1];
  const area = [
    [-1, LEAST, SIZE + 1, MOST],
    [SIZE + 1, MOST, AREA - 1, -1, LEAST],
  ];
  return {
    tunRead: {
      good: [fd, TABLE, ROWS, AREA, SIZE, HEADROOM, 10, 1450, 1398, 74],
      bad: [
        [],
        table(ROWS * 24),
        rows(24),
        ...area,
        [-1, LEAST, 9, 65536, MOST],
        [-1, LEAST, HEADROOM + 1],
        [-1, LEAST, 65536, MOST],
        [-1, LEAST, 1, 60, 65536, MOST],
        [-1, LEAST, 65536, MOST],
      ],
    },
    tunWrite: {
      good: [fd, TABLE, 0, IOVECS, 4],
      bad: [[], [-4, LEAST, 65, SIZE + 4, MOST], rows(8), table(4 * 8), rows(8)],
    },
    udpReceive: {
      good: [fd, TABLE, ROWS, AREA, SIZE, HEADROOM, ADDRESSES],
      bad: [
        [],
        table(ROWS * 20),
        rows(20),
        ...area,
        [-1, LEAST, 65536, MOST],
        table(ROWS * ADDRESS_SIZE),
      ],
    },
    udpSend: {
      good: [MESSAGES, 0, IOVECS, 4, ADDRESSES, 4],
      bad: [
        [-4, LEAST, 65, SIZE + 4, MOST],
        rows(24),
        table(4 * 8),
        rows(8),
        table(4 * ADDRESS_SIZE),
        rows(ADDRESS_SIZE),
      ],
    },
    wait: {
      good: [TABLE, ROWS, 0],
      bad: [table(ROWS * 8), [-1, LEAST, 65, MOST], [-1, LEAST]],
    },
  };
}

test('before attach a hot call throws', () => {
  const native = loadNative();
  for (const [call, { good }] of Object.entries(hotCalls(-1))) {
    assert.throws(() => invoke(native, call as HotCall, good), /attach/, call);
    assert.throws(() => invoke(native, call as HotCall, good), TypeError, call);
  }
});

test('attach takes only memory that nobody can take away', () => {
  const native = loadNative();
  const attach = native.attach as (value: unknown) => void;
  const shared = new SharedArrayBuffer(64);
  const plain = new ArrayBuffer(64);
  for (const wrong of [
    undefined,
    null,
    7,
    {},
    shared,
    new Uint8Array(64),
    Buffer.alloc(64),
    new Uint8Array(plain),
    new Int32Array(shared),
    new DataView(shared),
    new Uint8Array(shared, 2, 16),
  ]) {
    assert.throws(() => attach(wrong), TypeError);
  }
  assert.throws(() => (native.attach as () => void)(), TypeError);
});

test('attach again: the second memory counts, and one that throws changes nothing', () => {
  const first = new Arena();
  const second = new Arena();
  const { native } = second;
  assert.throws(() => native.attach(new Uint8Array(8)), TypeError);
  const [fd, at] = loopbackSocket(native);
  const before = Buffer.from(first.whole);
  second.send([{ fd, to: at, parts: [pattern(100)] }]);
  assert.deepEqual(second.receive(fd)[0]?.data, pattern(100));
  assert.ok(first.whole.equals(before));

  native.attach(second.bytes.subarray(0, 1024));
  assert.throws(() => native.wait(1024, 1, 0), RangeError);
  assert.doesNotThrow(() => native.wait(1016, 1, 0));
  native.close(fd);
});

test('every argument out of range throws and touches nothing', () => {
  const arena = new Arena();
  const { native } = arena;
  const [fd, at] = loopbackSocket(native);
  const [witness] = loopbackSocket(native);
  // Something waits to be read, so a call that did not throw would show.
  arena.send([{ fd: witness, to: at, parts: [pattern(2000)] }]);
  const calls = hotCalls(fd);
  const before = Buffer.from(arena.whole);
  let tried = 0;
  for (const [name, { good, bad }] of Object.entries(calls)) {
    const call = name as HotCall;
    assert.equal(bad.length, good.length, name);
    bad.forEach((values, position) => {
      for (const value of values) {
        const given = good.with(position, value);
        const what = `${name}(${given.join(', ')})`;
        assert.throws(() => invoke(native, call, given), RangeError, what);
        tried += 1;
      }
    });
    for (let position = 0; position < good.length; position += 1) {
      for (const value of [...NO_INTEGERS, undefined, [1], Symbol('x')]) {
        const given = (good as unknown[]).with(position, value);
        assert.throws(() => invoke(native, call, given), TypeError, `${name} ${position}`);
        tried += 1;
      }
      assert.throws(() => invoke(native, call, good.slice(0, position)), TypeError);
    }
    assert.ok(arena.whole.equals(before), `${name} touched the memory`);
  }
  assert.ok(tried > 400, `${tried} tried`);
  assert.equal(arena.receive(fd)[0]?.data.length, 2000);
  native.close(fd);
  native.close(witness);
});

test('the last places that fit are taken', () => {
  const arena = new Arena();
  const { native } = arena;
  const [fd, at] = loopbackSocket(native);
  arena.send([{ fd, to: at, parts: [pattern(9)] }]);
  assert.equal(
    native.udpReceive(fd, SIZE - ROWS * 20, ROWS, AREA, SIZE, HEADROOM, ADDRESSES),
    1,
    'the table at the end',
  );
  assert.equal(native.udpReceive(fd, TABLE, ROWS, AREA, SIZE, HEADROOM, SIZE - ROWS * 32), 0);
  assert.equal(native.tunRead(fd, SIZE - ROWS * 24, ROWS, SIZE, SIZE, 65535, 65535, 0, 0, 0), 0);
  assert.equal(native.udpSend(SIZE, 0, SIZE, 0, SIZE, 0), 0);
  assert.equal(native.tunWrite(fd, SIZE, 0, SIZE, 0), 0);
  assert.equal(native.wait(SIZE, 0, 0), 0);
  arena.checkGuards('the last places');
  native.close(fd);
});

test('every word of a message row out of range throws, and nothing is sent', () => {
  const arena = new Arena();
  const { native, words, bytes } = arena;
  const [fd, at] = loopbackSocket(native);
  const good = () => {
    bytes.fill(0);
    bytes.set(at, ADDRESSES + ADDRESS_SIZE); // behind the one row of the table
    return arena.layOut([{ fd, to: at, parts: [pattern(50), pattern(50)] }]);
  };
  const send = () => native.udpSend(MESSAGES, 1, IOVECS, 2, ADDRESSES, 1);
  const message = (word: number, value: number) => () => {
    words[(MESSAGES >> 2) + word] = value;
  };
  const iovec = (row: number, word: number, value: number) => () => {
    words[(IOVECS >> 2) + row * IOVEC_ROW.words + word] = value;
  };
  const spoils = [
    ...[-2, LEAST, 1, MOST].map((v) => message(MESSAGE_ROW.address, v)),
    ...[-1, LEAST, 65536, MOST].map((v) => message(MESSAGE_ROW.segment, v)),
    ...[-1, LEAST, 1, 3, MOST].map((v) => message(MESSAGE_ROW.first, v)),
    ...[-1, LEAST, 3, 1025, MOST].map((v) => message(MESSAGE_ROW.count, v)),
    ...[0, 1].flatMap((row) => [
      ...[-1, LEAST, SIZE - 49, SIZE, MOST].map((v) => iovec(row, IOVEC_ROW.offset, v)),
      ...[-1, LEAST, SIZE - PAYLOAD + 1, MOST].map((v) => iovec(row, IOVEC_ROW.length, v)),
    ]),
    ...[0, 1, 3, 11, 0xffff].map((family) => () => {
      new Uint16Array(arena.whole.buffer, bytes.byteOffset + ADDRESSES, 1)[0] = family;
    }),
  ];
  for (const spoil of spoils) {
    good();
    spoil();
    const before = Buffer.from(arena.whole);
    assert.throws(send, RangeError, spoil.toString());
    assert.ok(arena.whole.equals(before));
    assert.ok(!arena.readable(fd), 'something was sent');
  }
  good();
  assert.equal(send(), 1, 'the row that the others are made from is right');
  assert.equal(arena.receive(fd)[0]?.data.length, 100);

  // 1025 iovecs that all lie inside: more than the kernel takes in one message.
  good();
  message(MESSAGE_ROW.count, 1025)();
  assert.throws(() => native.udpSend(MESSAGES, 1, IOVECS, 2000, ADDRESSES, 1), RangeError);
  native.close(fd);
});

test('every word of a write row out of range throws, and nothing is written', () => {
  const arena = new Arena();
  const { native, words } = arena;
  const [fd, at] = loopbackSocket(native);
  native.udpConnect(fd, at); // to itself: a write is a datagram that a read gives back
  const spoil = (word: number, value: number, iovecs = false) => {
    words.set([0, 2], TABLE >> 2);
    words.set([PAYLOAD, 10, PAYLOAD, 10], IOVECS >> 2);
    words[((iovecs ? IOVECS : TABLE) >> 2) + word] = value;
    assert.throws(() => native.tunWrite(fd, TABLE, 1, IOVECS, 2), RangeError, `${word} ${value}`);
    assert.ok(!arena.readable(fd));
  };
  for (const value of [-1, LEAST, 1, 3, MOST]) spoil(WRITE_ROW.first, value);
  for (const value of [-1, LEAST, 3, 1025, MOST]) spoil(WRITE_ROW.count, value);
  for (const row of [0, 1]) {
    for (const value of [-1, LEAST, SIZE - 9, MOST]) spoil(row * 2, value, true);
    for (const value of [-1, LEAST, SIZE - PAYLOAD + 1, MOST]) spoil(row * 2 + 1, value, true);
  }
  // As many iovecs as the kernel takes, and one more, which is out of range though they exist.
  words.set([0, 1024, 0, 1025], TABLE >> 2);
  words.fill(0, IOVECS >> 2, (IOVECS >> 2) + 2 * 1100);
  words[IOVECS >> 2] = PAYLOAD;
  words[(IOVECS >> 2) + 1] = 3;
  assert.equal(native.tunWrite(fd, TABLE, 1, IOVECS, 1100), 1);
  assert.equal(arena.readPackets(fd, 0)[0]?.[1].length, 3);
  words.set([0, 1025], TABLE >> 2);
  assert.throws(() => native.tunWrite(fd, TABLE, 1, IOVECS, 1100), RangeError);

  assert.equal(arena.writePackets(-1, [[pattern(10)]]), 0);
  assert.equal(native.errnoName(native.lastError()), 'EBADF');
  assert.equal(arena.writePackets(fd, [[pattern(10), pattern(10)]]), 1);
  assert.equal(native.lastError(), 0, 'the error before is forgotten');
  assert.equal(arena.readPackets(fd, 0)[0]?.[1].length, 20);
  native.close(fd);
});

test('calls of plain integers check them, too', () => {
  const native = loadNative();
  const calls = native as unknown as Record<string, Call>;
  const wanted = { errnoName: 1, tunOffload: 2, udpOpen: 1, udpDiscard: 1, setOption: 4 };
  for (const [name, count] of Object.entries({
    ...wanted,
    getOption: 3,
    tunSteer: 2,
    udpSteer: 2,
    eventSignal: 1,
    eventDrain: 1,
    close: 1,
  })) {
    assert.throws(() => calls[name]!(...new Array<number>(count - 1).fill(-1)), TypeError, name);
    assert.throws(() => calls[name]!(...new Array<string>(count).fill('-1')), TypeError, name);
  }
  // Else a wrong number would be taken for another one: 1.5 for 1, NaN for 0, 2^32 + 8 for 8.
  const row = new Uint8Array(ADDRESS_SIZE);
  const one: [name: string, given: readonly unknown[], at: number][] = [
    ['tunOpen', ['weft8', 0], 1],
    ['udpBindDevice', [-1, 'lo'], 0],
    ...['udpBind', 'udpConnect', 'udpName'].map((name) => [name, [-1, row], 0] as (typeof one)[0]),
    ...Object.entries({ ...wanted, getOption: 3, tunSteer: 1, udpSteer: 2, close: 1 }).flatMap(
      ([name, count]) =>
        Array.from(
          { length: count },
          (_, at) => [name, new Array(count).fill(-1), at] as (typeof one)[0],
        ),
    ),
  ];
  for (const [name, given, at] of one) {
    for (const value of NO_INTEGERS) {
      const what = `${name}(${at}: ${String(value)})`;
      assert.throws(() => calls[name]!(...given.with(at, value)), TypeError, what);
    }
  }
  for (const name of ['udpBind', 'udpConnect', 'udpName']) {
    for (const given of [[], [-1], [-1, new Uint8Array(31)], [-1, new Int8Array(64)], ['1', row]]) {
      assert.throws(() => calls[name]!(...given), TypeError, name);
    }
    assert.throws(() => calls[name]!(-1, row), { code: 'EBADF' }, name);
  }
  for (const given of [[], [-1], [-1, 5], ['1', 'lo']]) {
    assert.throws(() => calls.udpBindDevice!(...given), TypeError);
  }
  assert.throws(() => calls.udpOpen!(5), { code: 'EAFNOSUPPORT' });
  assert.throws(() => native.udpSteer(-1, 2), {
    code: 'EBADF',
    syscall: 'SO_ATTACH_REUSEPORT_CBPF',
  });
  for (const lanes of [0, -1]) {
    assert.throws(() => native.udpSteer(-1, lanes), RangeError);
    assert.throws(() => native.tunSteer(-1, lanes), RangeError);
  }
  // Which of the two it is depends on whether this process may load programs.
  assert.throws(() => native.tunSteer(-1, 2), { syscall: /^(bpf|TUNSETSTEERINGEBPF)$/ });
  assert.throws(() => calls.tunOpen!('x'), TypeError);
  assert.throws(() => calls.tunOpen!(1, 1), TypeError);
  assert.equal(native.close(-1), -9);
  assert.equal(native.errnoName(11), 'EAGAIN');
  assert.equal(native.errnoName(-1), 'UNKNOWN');
});
