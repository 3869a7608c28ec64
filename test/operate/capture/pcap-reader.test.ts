import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import zlib from 'node:zlib';
import { CaptureError, type CaptureRecord } from '../../../src/operate/capture/capture.js';
import { openCapture } from '../../../src/operate/capture/open.js';
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

function refusal(file: string): string {
  try {
    openCapture(file).close();
  } catch (error) {
    assert.ok(error instanceof CaptureError, `${error}`);
    return error.message;
  }
  return 'taken';
}

describe('pcap reader', () => {
  for (const bigEndian of [false, true]) {
    it(`reads ${bigEndian ? 'big' : 'little'}-endian captures`, () => {
      const { records, error } = readAll(
        pcap({
          bigEndian,
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
        records.map((r) => [r.number, r.seconds, r.microseconds, r.bytes.toString('hex')]),
        [
          [1, 1_700_000_001, 7, '450102'],
          [2, 0xfffffffe, 999_999, '45'],
          [3, 1_700_000_000, 0, ''],
        ],
      );
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
      assert.match(refusal(file), /is not a capture/, `cut at ${length}`);
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
        (r) => `${r.seconds}.${String(r.microseconds).padStart(6, '0')}`,
      );
      capture.close();
      assert.ok(times.length > 20);
      assert.deepEqual(
        times,
        lines.map((line) => line.split(' ')[0]),
      );
    }
  });
});

describe('opening a capture', () => {
  const sound = pcap({ records: [{ bytes: hex('4500') }] });
  const refused: readonly (readonly [name: string, bytes: Uint8Array | string, why: RegExp])[] = [
    ['nanosecond', hex('4d3cb2a1020004000000000000000000ffff000001000000'), /nanosecond/],
    ['nanosecond, big-endian', hex('a1b23c4d'), /nanosecond/],
    ['modified', hex('34cdb2a1020004000000000000000000ffff000001000000'), /modified pcap/],
    ['pcapng', hex('0a0d0d0a1c0000004d3c2b1a01000000'), /pcapng/],
    ['snoop', Buffer.from('snoop\0\0\0\0\0\0\x02\0\0\0\x04'), /snoop/],
    ['gzip', zlib.gzipSync(sound), /gzip.*gunzip/],
    ['zstd', hex('28b52ffd0458'), /zstd/],
    ['text', 'This is no capture.\n', /is not a capture: its content is text/],
    ['other', hex('00112233445566778899'), /is not a capture.*0011223344556677/],
    ['empty', '', /empty/],
    ['version 2.3', pcap({ version: [2, 3] }), /version 2\.3/],
    ['version 543.4', pcap({ version: [543, 4] }), /version 543\.4/],
    ['reserved link-type bits', pcap({ linkType: 0x00300001 }), /0x00300001/],
  ];
  for (const [name, bytes, why] of refused) {
    it(`refuses by name: ${name}`, () => {
      const file = fileOf('refused', bytes);
      const message = refusal(file);
      assert.match(message, why);
      assert.ok(message.startsWith(`${file}: `), message);
    });
  }

  it('refuses by name what is no regular file, without reading it', () => {
    assert.match(refusal(folder), /a directory/);
    assert.match(refusal('/dev/zero'), /a character device/);
    assert.match(refusal(path.join(folder, 'nothing')), /no such file/);
    const pipe = path.join(folder, 'pipe');
    assert.equal(spawnSync('mkfifo', [pipe]).status, 0);
    assert.match(refusal(pipe), /a pipe/);
  });

  it('takes the link type from the low bits: those above tell of the frame check sequence', () => {
    const capture = openCapture(fileOf('fcs.pcap', pcap({ linkType: 0x24000001 })));
    assert.equal(capture.linkType, 1);
    capture.close();
  });
});
