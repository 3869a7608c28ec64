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
    writer.write(1_700_000_001, 999_999, hex('4500'));
    writer.write(0xfffffffe, 0, hex('45'));
    writer.close();
    const expected = pcap({
      linkType: 101,
      records: [
        { bytes: hex('4500'), seconds: 1_700_000_001, microseconds: 999_999 },
        { bytes: hex('45'), seconds: 0xfffffffe },
      ],
    });
    assert.equal(fs.readFileSync(file, 'hex'), expected.toString('hex'));
    const capture = openCapture(file);
    assert.equal([...capture.records()].length, 2);
    capture.close();
  });

  it('says which file it cannot write', () => {
    const file = path.join(folder, 'no-such-folder', 'out.pcap');
    assert.throws(() => new PcapWriter(file), /no-such-folder/);
  });
});
