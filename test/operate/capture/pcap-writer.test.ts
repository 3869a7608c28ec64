import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { openCapture } from '../../../src/operate/capture/open.js';
import { PcapWriter } from '../../../src/operate/capture/pcap-writer.js';
import { hex, pcap, temporaryFolder } from './captures.js';

const folder = temporaryFolder();

describe('pcap writer', () => {
  it('writes the layout of pcap 2.4, little-endian, link type raw IP', () => {
    const file = path.join(folder, 'out.pcap');
    const writer = new PcapWriter(file);
    writer.write({ seconds: 1_700_000_001, nanoseconds: 999_999_999 }, hex('4500'));
    writer.write({ seconds: 0xfffffffe, nanoseconds: 999 }, hex('45'));
    writer.write(undefined, hex('45'));
    writer.write({ seconds: 2 ** 40, nanoseconds: 0 }, hex('45'));
    writer.write({ seconds: -1, nanoseconds: 0 }, hex('45'));
    writer.close();
    const expected = pcap({
      linkType: 101,
      records: [
        { bytes: hex('4500'), seconds: 1_700_000_001, microseconds: 999_999 },
        { bytes: hex('45'), seconds: 0xfffffffe },
        { bytes: hex('45'), seconds: 0 },
        { bytes: hex('45'), seconds: 0xffffffff },
        { bytes: hex('45'), seconds: 0 },
      ],
    });
    assert.equal(fs.readFileSync(file, 'hex'), expected.toString('hex'));
    const capture = openCapture(file);
    assert.equal([...capture.records()].length, 5);
    capture.close();
  });

  it('says which file it cannot write', () => {
    const file = path.join(folder, 'no-such-folder', 'out.pcap');
    assert.throws(() => new PcapWriter(file), /no-such-folder/);
  });
});
