import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import zlib from 'node:zlib';
import { CaptureError } from '../../../src/operate/capture/capture.js';
import { openCapture } from '../../../src/operate/capture/open.js';
import { hex, pcap, temporaryFolder } from './captures.js';

const folder = temporaryFolder();

function fileOf(name: string, bytes: Uint8Array | string): string {
  const file = path.join(folder, name);
  fs.writeFileSync(file, bytes);
  return file;
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

describe('opening a capture', () => {
  const sound = pcap({ records: [{ bytes: hex('4500') }] });
  const refused: readonly (readonly [name: string, bytes: Uint8Array | string, why: RegExp])[] = [
    ['cut inside the file header', sound.subarray(0, 23), /is not a capture: 23 bytes, less/],
    ['cut inside the magic', sound.subarray(0, 3), /is not a capture/],
    ['modified', hex('34cdb2a1020004000000000000000000ffff000001000000'), /modified pcap/],
    ['snoop', Buffer.from('snoop\0\0\0\0\0\0\x02\0\0\0\x04'), /snoop/],
    ['gzip', zlib.gzipSync(sound), /gzip.*: zcat \S+refused \| weft replay -/],
    ['zstd', hex('28b52ffd0458'), /zstd.*: zstdcat \S+ \|/],
    ['xz', hex('fd377a585a000004'), /xz.*: xzcat \S+ \|/],
    ['bzip2', hex('425a6839'), /bzip2.*: bzcat \S+ \|/],
    ['lz4', hex('04224d18'), /lz4.*: lz4cat \S+ \|/],
    ['text', 'This is no capture.\n', /is not a capture: its content is text/],
    ['other', hex('00112233445566778899'), /is not a capture.*0011223344556677/],
    ['empty', '', /empty/],
    ['version 2.3', pcap({ version: [2, 3] }), /: is pcap version 2\.3; weft reads version 2\.4$/],
    ['version 543.4', pcap({ version: [543, 4] }), /: is pcap version 543\.4; weft/],
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
  });

  it('takes the link type from the low bits: those above tell of the frame check sequence', () => {
    const capture = openCapture(fileOf('fcs.pcap', pcap({ linkType: 0x24000001 })));
    assert.equal(capture.linkType, 1);
    capture.close();
  });

  it('reads a pipe as it reads a file', async () => {
    const pipe = path.join(folder, 'pipe');
    assert.equal(spawnSync('mkfifo', [pipe]).status, 0);
    const records = Array.from({ length: 9_000 }, (_, i) => ({ bytes: Buffer.alloc(i % 200, i) }));
    const bytes = pcap({ records });
    const writer = spawn('sh', ['-c', 'cat "$0" > "$1"', fileOf('piped.pcap', bytes), pipe]);
    const capture = openCapture(pipe);
    const read = [...capture.records()].map((record) => record.bytes);
    capture.close();
    await once(writer, 'close');
    assert.ok(Buffer.concat(read).equals(Buffer.concat(records.map((record) => record.bytes))));
  });
});
