import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CaptureError, type CaptureRecord } from '../../../src/operate/capture/capture.js';
import { openCapture } from '../../../src/operate/capture/open.js';
import { PackagedParser } from '../../../src/operate/capture/packaged-parser.js';
import { OwnParser, type PcapParser } from '../../../src/operate/capture/pcap-layout.js';
import { PcapReader } from '../../../src/operate/capture/pcap-reader.js';
import { ByteSource } from '../../../src/operate/capture/source.js';
import { CAPTURES, hex, pcap, temporaryFolder } from './captures.js';

const folder = temporaryFolder();

function fileOf(name: string, bytes: Uint8Array | string): string {
  const file = path.join(folder, name);
  fs.writeFileSync(file, bytes);
  return file;
}

/** All records, and what was thrown behind them. */
function readAll(bytes: Uint8Array): {
  records: CaptureRecord[];
  error: CaptureError | undefined;
  longerThanOriginal: number;
  longerThanSnapLength: number;
} {
  const capture = openCapture(fileOf('in.pcap', bytes));
  const records: CaptureRecord[] = [];
  let error: CaptureError | undefined;
  try {
    for (const record of capture.records()) records.push(record);
  } catch (thrown) {
    if (!(thrown instanceof CaptureError)) throw thrown;
    error = thrown;
  } finally {
    capture.close();
  }
  return { records, error, ...capture.odd };
}

describe('pcap reader', () => {
  for (const [bigEndian, nanoseconds] of [
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ] as const) {
    const order = bigEndian ? 'big' : 'little';
    it(`reads ${order}-endian captures with ${nanoseconds ? 'nano' : 'micro'}seconds`, () => {
      const { records, error } = readAll(
        pcap({
          bigEndian,
          nanoseconds,
          linkType: 101,
          records: [
            { bytes: hex('450102'), seconds: 1_700_000_001, microseconds: 7 },
            { bytes: hex('45'), seconds: 0xfffffffe, microseconds: 999_999, original: 1500 },
            { bytes: hex('') },
          ],
        }),
      );
      assert.equal(error, undefined);
      assert.deepEqual(
        records.map((r) => [
          r.number,
          r.time?.seconds,
          r.time?.nanoseconds,
          r.bytes.toString('hex'),
        ]),
        [
          [1, 1_700_000_001, nanoseconds ? 7 : 7000, '450102'],
          [2, 0xfffffffe, nanoseconds ? 999_999 : 999_999_000, '45'],
          [3, 1_700_000_000, 0, ''],
        ],
      );
      assert.ok(records.every(({ time }) => time?.digits === (nanoseconds ? 9 : 6)));
      assert.ok(records.every(({ linkType }) => linkType === 101));
      assert.deepEqual(
        records.map((r) => r.originalLength),
        [3, 1500, 0],
      );
    });
  }

  it('keeps the smaller length when more was captured than there was, and counts it', () => {
    const bytes = hex(`d4c3b2a10200040000000000000000000000040001000000
      6500000001000000 2400000014000000 ${'ab'.repeat(36)}
      6600000002000000 0200000002000000 cdcd`);
    const { records, error, longerThanOriginal } = readAll(bytes);
    assert.equal(error, undefined);
    assert.equal(longerThanOriginal, 1);
    assert.deepEqual(
      records.map((r) => r.bytes.toString('hex')),
      ['ab'.repeat(20), 'cdcd'],
    );
  });

  it('keeps and counts records above the snap length; snap length 0 means none', () => {
    const records = [{ bytes: Buffer.alloc(97) }, { bytes: Buffer.alloc(96) }];
    const cut = readAll(pcap({ snapLength: 96, records }));
    assert.deepEqual([cut.records.length, cut.longerThanSnapLength], [2, 1]);
    const unlimited = readAll(pcap({ snapLength: 0, records }));
    assert.equal(unlimited.longerThanSnapLength, 0);
  });

  it('gives the complete records of a file cut anywhere, then names the record it ends in', () => {
    const bytes = Buffer.alloc(40, 0x45);
    const whole = pcap({ records: [{ bytes }, { bytes }, { bytes }] });
    for (let length = 24; length <= whole.length; length += 1) {
      const { records, error } = readAll(whole.subarray(0, length));
      const complete = Math.floor((length - 24) / 56);
      assert.equal(records.length, complete, `cut at ${length}`);
      if ((length - 24) % 56 === 0) assert.equal(error, undefined);
      else assert.match(error?.message ?? '', new RegExp(`ends inside record ${complete + 1} `));
    }
    for (let length = 0; length < 24; length += 1) {
      const file = fileOf('short.pcap', whole.subarray(0, length));
      assert.throws(() => openCapture(file), /is not a capture/, `cut at ${length}`);
    }
  });

  it('stops at a length that no capture program writes, before it takes memory for it', () => {
    const lie = { bytes: Buffer.alloc(0), captured: 0xffffffff, original: 0xffffffff };
    const { records, error } = readAll(pcap({ records: [{ bytes: hex('45') }, lie] }));
    assert.equal(records.length, 1);
    assert.match(error?.message ?? '', /record 2 claims 4294967295 bytes, more than the 262144/);

    // The file is large enough for the claim: the bound alone must stop it.
    const large = { bytes: Buffer.alloc(262_145) };
    assert.match(
      readAll(pcap({ records: [large] })).error?.message ?? '',
      /record 1 claims 262145/,
    );
    const largest = readAll(pcap({ records: [{ bytes: Buffer.alloc(262_144) }] }));
    assert.deepEqual([largest.records.length, largest.error], [1, undefined]);
  });

  it('agrees with tcpdump on what the golden captures hold', (t) => {
    if (spawnSync('tcpdump', ['--version']).error !== undefined) {
      t.skip('tcpdump is not installed');
      return;
    }
    for (const name of ['underlay', 'bridge', 'tun']) {
      const file = path.join(CAPTURES, `${name}.pcap`);
      const lines = spawnSync('tcpdump', ['-tt', '-n', '-r', file], { encoding: 'utf8' })
        .stdout.split('\n')
        .filter((line) => /^\d+\.\d{6} /.test(line));
      const capture = openCapture(file);
      const times = [...capture.records()].map(
        ({ time }) => `${time!.seconds}.${String(time!.nanoseconds / 1000).padStart(6, '0')}`,
      );
      capture.close();
      assert.ok(times.length > 20);
      assert.deepEqual(
        times,
        lines.map((line) => line.split(' ')[0]),
      );
    }
  });

  it('gives the same with pcap-parser and with our own parser, of sound files and damaged ones', () => {
    const record = fc.record({
      bytes: fc.uint8Array({ maxLength: 80 }),
      seconds: fc.nat(0xffffffff),
      microseconds: fc.nat(999_999),
      original: fc.option(fc.nat(200), { nil: undefined }),
    });
    const input = fc.record({
      bigEndian: fc.boolean(),
      snapLength: fc.constantFrom(0, 40, 262_144),
      linkType: fc.constantFrom(1, 101, 0x24000001, 0x00300001),
      records: fc.array(record, { maxLength: 6 }),
    });
    const damage = fc.array(fc.tuple(fc.nat(2000), fc.nat(255)), { maxLength: 3 });
    let records = 0;
    fc.assert(
      fc.property(input, damage, fc.nat(2000), fc.boolean(), (sound, places, cut, isSound) => {
        const { records: list, ...rest } = sound;
        const bytes = pcap({
          ...rest,
          records: list.map(({ original, ...r }) => ({ ...r, ...(original && { original }) })),
        });
        // The magic stays: with another one it is nobody's file, or the other parser's.
        if (!isSound) for (const [at, byte] of places) bytes[4 + (at % (bytes.length - 4))] = byte;
        const whole = isSound ? bytes : bytes.subarray(0, Math.max(24, cut));
        const [packaged, own] = [new PackagedParser(), new OwnParser(sound.bigEndian)].map(
          (parser) => outcome(whole, parser),
        );
        records += own!.records.length;
        assert.deepEqual(own, packaged);
      }),
      { numRuns: 300 },
    );
    assert.ok(records > 300, `${records} records are too few to tell`);
  });
});

/** All that a parser makes of a file. */
function outcome(bytes: Uint8Array, parser: PcapParser) {
  const descriptor = fs.openSync(fileOf('both.pcap', bytes), 'r');
  const records: CaptureRecord[] = [];
  let reader: PcapReader | undefined;
  let error = '';
  try {
    reader = new PcapReader(new ByteSource('both.pcap', descriptor), parser);
    for (const record of reader.records()) records.push(record);
  } catch (thrown) {
    assert.ok(thrown instanceof CaptureError, `${thrown}`);
    error = thrown.message;
  }
  fs.closeSync(descriptor);
  return { records, error, odd: reader?.odd, linkType: reader?.linkType };
}
