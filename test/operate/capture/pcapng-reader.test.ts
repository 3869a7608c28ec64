import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CaptureError, type CaptureRecord } from '../../../src/operate/capture/capture.js';
import { openCapture } from '../../../src/operate/capture/open.js';
import { CAPTURES, hex, temporaryFolder } from './captures.js';
import { Pcapng } from './pcapng.js';

const folder = temporaryFolder();
const FILE = path.join(folder, 'in.pcapng');
const MEBIBYTE = 2 ** 20;

const [little, big] = [new Pcapng(false), new Pcapng(true)];

/** All records, and what was thrown behind them or on opening. */
function readAll(...blocks: Uint8Array[]) {
  fs.writeFileSync(FILE, Buffer.concat(blocks));
  const records: CaptureRecord[] = [];
  let error = '';
  let capture: ReturnType<typeof openCapture> | undefined;
  try {
    capture = openCapture(FILE);
    for (const record of capture.records()) records.push(record);
  } catch (thrown) {
    assert.ok(thrown instanceof CaptureError, `${thrown}`);
    error = thrown.message;
  } finally {
    capture?.close();
  }
  return { records, error, odd: capture?.odd };
}

function times(records: readonly CaptureRecord[]): string[] {
  return records.map(({ time }) =>
    time === undefined ? 'unknown' : `${time.seconds} ${time.nanoseconds} ${time.digits}`,
  );
}

const A = hex('45000001');
const B = hex('4500000203');

describe('pcapng reader', () => {
  for (const [order, file] of [
    ['little', little],
    ['big', big],
  ] as const) {
    it(`reads packets of several interfaces, ${order}-endian`, () => {
      const { records, error } = readAll(
        file.section(),
        file.interface(1),
        file.interface(101, 96, file.option(9, Buffer.of(9)), file.option(0, Buffer.alloc(0))),
        file.packet(0, 1_700_000_000_000_007n, A),
        file.packet(1, 1_700_000_000_000_000_007n, B, 5, 1500),
        file.old(0, 1_700_000_000_000_008n, B),
      );
      assert.equal(error, '');
      assert.deepEqual(
        records.map((r) => [r.number, r.linkType, r.bytes.toString('hex'), r.originalLength]),
        [
          [1, 1, '45000001', 4],
          [2, 101, '4500000203', 1500],
          [3, 1, '4500000203', 5],
        ],
      );
      assert.deepEqual(times(records), [
        '1700000000 7000 6',
        '1700000000 7 9',
        '1700000000 8000 6',
      ]);
    });
  }

  it('begins anew with each section: its byte order, its interfaces', () => {
    const { records, error } = readAll(
      ...[little.section(), little.interface(1), little.interface(113), little.packet(1, 5n, A)],
      ...[big.section(), big.interface(276), big.packet(0, 6n, A)],
    );
    assert.equal(error, '');
    assert.deepEqual(
      records.map(({ number, linkType }) => [number, linkType]),
      [
        [1, 113],
        [2, 276],
      ],
    );
    const gone = readAll(
      ...[little.section(), little.interface(1), big.section(), big.packet(0, 6n, A)],
    );
    assert.match(gone.error, /record 1 of interface 0, which its section has not/);
  });

  it('knows the resolution and the offset of each interface', () => {
    const seen = (resolution: number, time: bigint, offset = 0n) => {
      const options = [
        little.option(9, Buffer.of(resolution)),
        little.option(14, little.long(offset)),
      ];
      const file = [
        little.section(),
        little.interface(1, 0, ...options),
        little.packet(0, time, A),
      ];
      return times(readAll(...file).records)[0];
    };
    assert.equal(seen(6, 1_500_000n), '1 500000000 6');
    assert.equal(seen(3, 1_500n), '1 500000000 6');
    assert.equal(seen(0, 77n), '77 0 6');
    assert.equal(seen(9, 1_000_000_001n), '1 1 9');
    assert.equal(seen(12, 1_000_000_001_999n), '1 1 9');
    assert.equal(seen(0x80 | 10, 1536n), '1 500000000 6');
    assert.equal(seen(0x80 | 32, (7n << 32n) | 0x80000000n), '7 500000000 9');
    assert.equal(seen(0xff, 2n ** 63n), '0 0 9');
    assert.equal(seen(6, 1_000_000n, 100n), '101 0 6');
    assert.equal(seen(6, 1_000_000n, -100n), '-99 0 6');
  });

  it('gives Simple Packet Blocks no time, and cuts them to the snap length', () => {
    const { records, error } = readAll(
      ...[little.section(), little.interface(1, 5), little.simple(A), little.simple(B, 60)],
      little.simple(hex('450000'), 3),
    );
    assert.equal(error, '');
    assert.deepEqual(
      records.map((r) => [r.time, r.bytes.toString('hex'), r.originalLength]),
      [
        [undefined, '45000001', 4],
        [undefined, '4500000203', 60],
        [undefined, '450000', 3],
      ],
    );
  });

  it('passes over blocks and options that it does not know, whatever their length', () => {
    const packet = little.packet(0, 1n, B);
    const comment = Buffer.alloc(60_000, 'x');
    const commented = little.block({
      type: 6,
      body: Buffer.concat([
        packet.subarray(8, -4),
        ...Array.from({ length: 20 }, () => little.option(1, comment)),
      ]),
    });
    const { records, error } = readAll(
      ...[little.section(), little.block({ type: 4, body: Buffer.alloc(2 ** 20) })],
      ...[little.interface(1, 0, little.option(1, comment)), commented],
      ...[little.block({ type: 0x80000001, body: Buffer.alloc(0) }), packet],
    );
    assert.equal(error, '');
    assert.deepEqual(
      records.map(({ number, bytes }) => [number, bytes.toString('hex')]),
      [
        [1, '4500000203'],
        [2, '4500000203'],
      ],
    );
  });

  it('keeps and counts records whose lengths contradict each other or the snap length', () => {
    const { records, odd } = readAll(
      ...[little.section(), little.interface(1, 4)],
      ...[little.packet(0, 1n, B, 5, 3), little.packet(0, 1n, B), little.packet(0, 1n, A)],
    );
    assert.deepEqual(
      records.map(({ bytes }) => bytes.length),
      [3, 5, 4],
    );
    assert.deepEqual(odd, { longerThanOriginal: 1, longerThanSnapLength: 2 });
  });

  it('gives the complete records of a file cut anywhere, then says where it ends', () => {
    const parts = [little.section(), little.interface(1), little.packet(0, 1n, A)];
    parts.push(little.packet(0, 2n, B));
    const whole = Buffer.concat(parts);
    const first = whole.length - parts[3]!.length;
    const ends = [parts[0]!.length, parts[0]!.length + parts[1]!.length, first, whole.length];
    for (let length = 4; length <= whole.length; length += 1) {
      const { records, error } = readAll(whole.subarray(0, length));
      const complete = ends.slice(2).filter((end) => end <= length).length;
      assert.equal(records.length, complete, `cut at ${length}`);
      if (ends.includes(length)) assert.equal(error, '');
      else assert.match(error, new RegExp(`offset \\d+, behind ${complete} records`), `${length}`);
    }
  });

  const begin = [little.section(), little.interface(1), little.packet(0, 1n, A)];
  const at = Buffer.concat(begin).length;
  const body = Buffer.alloc(32);
  const lies: readonly (readonly [what: string, block: Buffer, why: string])[] = [
    ['length 0', little.block({ type: 9, body, claims: 0 }), 'claims 0 bytes, which no block has'],
    ['length 8', little.block({ type: 9, body, claims: 8 }), 'claims 8 bytes, which no block has'],
    ['an odd length', little.block({ type: 9, body, claims: 45 }), 'claims 45 bytes, which no'],
    ['two lengths', little.block({ type: 9, body, claimsAgain: 48 }), 'before its body, 48 behind'],
    ['a packet of 2^31', little.packet(0, 1n, A, 2 ** 31), 'claims 2147483648 bytes, where it'],
    [
      'a packet longer than its block',
      little.packet(0, 1n, A, 5),
      'claims 5 bytes, where it has 4',
    ],
    ['a packet too long', little.packet(0, 1n, Buffer.alloc(262_145)), 'more than the 262144 any'],
    ['no such interface', little.packet(1, 1n, A), 'record 2 of interface 1, which its section'],
    ['interface 2^32 - 1', little.packet(0xffffffff, 1n, A), 'record 2 of interface 4294967295'],
    ['a packet block too short', little.block({ type: 6, body: Buffer.alloc(8) }), 'too few'],
    ['a simple packet too short', little.block({ type: 3, body: Buffer.alloc(0) }), 'too few'],
    ['an interface too short', little.block({ type: 1, body: Buffer.alloc(4) }), 'too few'],
    [
      'a section too short',
      little.block({ type: 0x0a0d0d0a, body: little.word(0x1a2b3c4d) }),
      'too f',
    ],
    ['a section without order', little.block({ type: 0x0a0d0d0a, body }), 'without a byte order'],
    [
      'an option past the end',
      little.interface(1, 0, little.half(9, 400), Buffer.alloc(4)),
      'has option 9 of 400 bytes, past its end',
    ],
  ];
  for (const [what, block, why] of lies) {
    it(`names the offset of what cannot be true: ${what}`, () => {
      const { records, error } = readAll(...begin, block, ...begin);
      assert.equal(records.length, 1);
      assert.ok(error.startsWith(`${FILE}: the block at offset ${at} `), error);
      assert.ok(error.includes(why), error);
    });
  }

  it('refuses other versions by name', () => {
    assert.match(readAll(little.section(2)).error, /is pcapng version 2\.2; weft reads version 1/);
  });

  it('takes no memory for what is only claimed', () => {
    const claim = 2 ** 28;
    const before = process.memoryUsage().rss;
    for (const type of [1, 3, 6, 9]) {
      fs.writeFileSync(FILE, Buffer.concat([...begin, little.word(type, claim)]));
      fs.truncateSync(FILE, at + claim); // sparse: it takes no room on the disk
      const capture = openCapture(FILE);
      assert.throws(() => [...capture.records()], CaptureError);
      capture.close();
    }
    const grown = process.memoryUsage().rss - before;
    assert.ok(grown < 32 * MEBIBYTE, `memory grew by ${grown}`);
  });

  it('takes no more than 65,536 interfaces', () => {
    const many = Buffer.concat(Array.from({ length: 65_537 }, () => little.interface(1)));
    assert.match(readAll(little.section(), many).error, /is interface 65537 of its section/);
  });

  it('throws nothing but CaptureError, whatever the bytes', () => {
    const blocks = fc.array(
      fc.oneof(
        fc.constantFrom(...begin, ...lies.map(([, block]) => block)),
        fc.uint8Array({ maxLength: 40 }),
        fc
          .record({ type: fc.nat(10), body: fc.uint8Array({ maxLength: 60 }) })
          .map(({ type, body: bytes }) => little.block({ type, body: Buffer.from(bytes) })),
      ),
      { maxLength: 8 },
    );
    const damage = fc.array(fc.tuple(fc.nat(1000), fc.nat(255)), { maxLength: 4 });
    let records = 0;
    fc.assert(
      fc.property(blocks, damage, (some, places) => {
        const bytes = Buffer.concat([...begin, ...some]);
        for (const [place, byte] of places) bytes[4 + (place % (bytes.length - 4))] = byte;
        const seen = readAll(bytes).records;
        records += seen.length;
        for (const record of seen) assert.ok(record.bytes.length <= record.originalLength);
      }),
      { numRuns: 500 },
    );
    assert.ok(records > 200, `${records} records are too few to tell`);
  });

  it('reads what editcap makes of a golden capture as the capture itself', (t) => {
    if (spawnSync('editcap', ['--version']).error !== undefined) {
      t.skip('editcap is not installed');
      return;
    }
    for (const name of ['underlay', 'tun']) {
      const classic = path.join(CAPTURES, `${name}.pcap`);
      const file = path.join(folder, `${name}.pcapng`);
      assert.equal(spawnSync('editcap', ['-F', 'pcapng', classic, file]).status, 0);
      const [one, other] = [classic, file].map((from) => {
        const capture = openCapture(from);
        const records = [...capture.records()];
        capture.close();
        return records;
      });
      assert.ok(one!.length > 20);
      assert.deepEqual(other, one);
    }
  });
});
