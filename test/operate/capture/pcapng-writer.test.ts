import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { openCapture } from '../../../src/operate/capture/open.js';
import { PcapngWriter } from '../../../src/operate/capture/pcapng-writer.js';
import { hex, temporaryFolder } from './captures.js';
import { withSpoiledMemory } from './spoiled-memory.js';

const folder = temporaryFolder();

/** Two interfaces, three packets. */
function written(): Buffer[] {
  const blocks: Buffer[] = [];
  const writer = new PcapngWriter((block) => blocks.push(Buffer.concat(block)));
  const tun = writer.addInterface({ linkType: 101, name: 'flannel.1' });
  const underlay = writer.addInterface({ linkType: 1, snapLength: 96 });
  const seconds = 1_700_000_001;
  writer.packet(tun, {
    seconds,
    nanoseconds: 999_999_999,
    parts: [hex('4500'), hex('000102')],
  });
  writer.packet(underlay, {
    ...{ seconds: 2 ** 32, nanoseconds: 1, parts: [hex('01020304')] },
    ...{ originalLength: 1500, direction: 'inbound', comment: 'dropped: wrong_length – ü' },
  });
  writer.packet(tun, {
    ...{ seconds: 0, nanoseconds: 0, parts: [hex('')], direction: 'outbound' },
  });
  return blocks;
}

describe('pcapng writer', () => {
  it('writes one block at a time, each of whole words with its length at both ends', () => {
    const blocks = written();
    assert.equal(blocks.length, 6);
    for (const block of blocks) {
      assert.equal(block.length % 4, 0);
      assert.equal(block.readUInt32LE(4), block.length);
      assert.equal(block.readUInt32LE(block.length - 4), block.length);
    }
    assert.equal(
      blocks[0]!.toString('hex'),
      '0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000',
    );
    // 2^32 s and 1 ns, in nanoseconds: 0x3b9aca00_00000001
    assert.equal(
      blocks[4]!.toString('hex', 8, 28),
      '01000000' + '00ca9a3b' + '01000000' + '04000000' + 'dc050000',
    );
  });

  it('has nothing in it of what its memory held before', () => {
    assert.deepEqual(withSpoiledMemory(written), written());
    const packet = written()[3]!;
    assert.equal(packet.toString('hex', 28, 36), '4500000102000000', 'filled up with zeros');
  });

  it('is read back as it was written', () => {
    const file = path.join(folder, 'out.pcapng');
    fs.writeFileSync(file, Buffer.concat(written()));
    const capture = openCapture(file);
    const records = [...capture.records()];
    capture.close();
    assert.deepEqual(
      records.map((r) => [r.linkType, r.time, r.bytes.toString('hex'), r.originalLength]),
      [
        [101, { seconds: 1_700_000_001, nanoseconds: 999_999_999, digits: 9 }, '4500000102', 5],
        [1, { seconds: 2 ** 32, nanoseconds: 1, digits: 9 }, '01020304', 1500],
        [101, { seconds: 0, nanoseconds: 0, digits: 9 }, '', 0],
      ],
    );
  });

  it('is read by tshark: times, interfaces, directions, comments', (t) => {
    if (spawnSync('tshark', ['--version']).error !== undefined) {
      t.skip('tshark is not installed');
      return;
    }
    const file = path.join(folder, 'tshark.pcapng');
    fs.writeFileSync(file, Buffer.concat(written()));
    const fields = [
      ...['frame.time_epoch', 'frame.interface_name', 'frame.len', 'frame.cap_len'],
      ...['frame.packet_flags_direction', 'frame.comment'],
    ];
    const columns = fields.flatMap((field) => ['-e', field]);
    const done = spawnSync('tshark', ['-r', file, '-T', 'fields', ...columns], {
      encoding: 'utf8',
    });
    assert.equal(done.status, 0, done.stderr);
    const rows = done.stdout.trimEnd().split('\n');
    assert.match(rows[0]!, /^1700000001\.999999999\tflannel\.1\t5\t5\t/);
    assert.match(
      rows[1]!,
      /^4294967296\.000000001\t\S*\t1500\t4\t(1|0x0+1)\tdropped: wrong_length – ü$/,
    );
    assert.match(rows[2]!, /\tflannel\.1\t0\t0\t(2|0x0+2)/);
  });

  it('keeps a comment to what an option can hold', () => {
    const blocks: Buffer[] = [];
    const writer = new PcapngWriter((block) => blocks.push(Buffer.concat(block)));
    const id = writer.addInterface({ linkType: 1 });
    const comment = 'x'.repeat(70_000);
    writer.packet(id, { seconds: 1, nanoseconds: 0, parts: [hex('00')], comment });
    assert.equal(blocks[2]!.length, 8 + 20 + 4 + 4 + 65_536 + 4 + 4);
  });
});
