import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it, mock } from 'node:test';
import { PcapngSink, RingSink, TextSink } from '../../../src/cli/capture/sinks.js';
import type { LivePacket } from '../../../src/operate/capture/live-packet.js';
import { openCapture } from '../../../src/operate/capture/open.js';
import { udpPacket } from '../../dataplane/forward/packets.js';
import { temporaryFolder } from '../../operate/capture/captures.js';

const folder = temporaryFolder();
const NOTHING = { inner: 0, outer: 0 };

function packet(number: number, isInner = true): LivePacket {
  const bytes = udpPacket({ id: number, payload: new Uint8Array(1000) });
  const what = { parts: [bytes], originalLength: bytes.length };
  const time = { seconds: 1_700_000_000 + number, nanoseconds: 5000 };
  const comment = `in from 192.168.64.4: dropped number_${number}`;
  return { isInner, direction: 'inbound', ...time, ...what, comment };
}

function options(name: string) {
  return {
    ...{ file: path.join(folder, name), device: 'flannel.1', snap: 0 },
    about: { application: 'weft 1', comment: 'weft capture' },
    failed: (error: Error) => assert.fail(error),
    drained: () => {},
  };
}

function idsOf(file: string): number[] {
  const capture = openCapture(file);
  const ids = [...capture.records()].map(({ bytes }) => bytes.readUInt16BE(4));
  capture.close();
  return ids;
}

describe('where captured packets go', () => {
  it('pcapng: what was written, and how many are missing, for each interface', async (t) => {
    const wanted = options('one.pcapng');
    const sink = new PcapngSink(wanted);
    for (let i = 0; i < 5; i += 1) sink.packet(packet(i, i % 2 === 0));
    await sink.close({ inner: 7, outer: 2 ** 33 });
    assert.equal(fs.statSync(wanted.file).size, fs.readFileSync(wanted.file).length);
    assert.equal(fs.statSync(wanted.file).mode & 0o777, 0o600);
    assert.deepEqual(idsOf(wanted.file), [0, 1, 2, 3, 4]);
    // Statistics: received (4) and not captured (5), of the outer interface last.
    const end = fs.readFileSync(wanted.file).subarray(-52);
    assert.deepEqual([end.readUInt32LE(0), end.readUInt32LE(8)], [5, 1]);
    assert.deepEqual(
      [
        end.readUInt16LE(20),
        end.readBigUInt64LE(24),
        end.readUInt16LE(32),
        end.readBigUInt64LE(36),
      ],
      [4, 2n ** 33n + 2n, 5, 2n ** 33n],
    );
    if (spawnSync('capinfos', ['--version']).error !== undefined) {
      t.skip('capinfos is not installed');
      return;
    }
    const { stdout } = spawnSync('capinfos', [wanted.file], { encoding: 'utf8' });
    assert.match(stdout, /Number of interfaces in file: 2/);
    assert.match(stdout, /Capture application: +weft 1/);
    assert.match(stdout, /Name = flannel\.1 underlay/);
    assert.match(stdout, /Number of stat entries = 1[\s\S]*Number of stat entries = 1/);
  });

  it('a ring: so many files, the last packets, nobody else’s files', async () => {
    fs.writeFileSync(path.join(folder, 'other_00001.pcapng'), 'x');
    const sink = new RingSink({ ...options('ring.pcapng'), files: 3, fileBytes: 5000 });
    for (let i = 0; i < 100; i += 1) {
      sink.packet(packet(i));
      assert.ok(fs.readdirSync(folder).filter((name) => name.startsWith('ring_')).length <= 3);
    }
    await sink.close(NOTHING);
    const files = fs
      .readdirSync(folder)
      .filter((name) => name.startsWith('ring_'))
      .sort();
    assert.equal(files.length, 3);
    const ids = files.flatMap((name) => idsOf(path.join(folder, name)));
    assert.deepEqual(
      ids,
      Array.from(ids, (_, i) => 100 - ids.length + i),
    );
    assert.ok(files.every((name) => fs.statSync(path.join(folder, name)).size < 7000));
    assert.ok(fs.existsSync(path.join(folder, 'other_00001.pcapng')));
  });

  it('lines, with nothing in them that a terminal obeys', async () => {
    const wanted = options('lines.txt');
    const sink = new TextSink(wanted);
    sink.packet({ ...packet(1), comment: 'in: \x1b[2Jdropped' });
    await sink.close();
    assert.ok(!fs.readFileSync(wanted.file).includes(0x1b));
  });

  it('a disk that takes a part gets the rest', async () => {
    const [file, whole] = [options('part.pcapng'), options('whole.pcapng')];
    const part = mock.method(fs, 'writevSync', (fd: number, buffers: NodeJS.ArrayBufferView[]) =>
      fs.writeSync(fd, buffers[0]!, 0, 5),
    );
    const sink = new PcapngSink(file);
    for (let i = 0; i < 9; i += 1) sink.packet(packet(i));
    await sink.close(NOTHING);
    part.mock.restore();
    assert.equal(part.mock.callCount(), 1);
    const other = new PcapngSink(whole);
    for (let i = 0; i < 9; i += 1) other.packet(packet(i));
    await other.close(NOTHING);
    assert.deepEqual(fs.readFileSync(file.file), fs.readFileSync(whole.file));
  });

  it('a disk that is full is told once', () => {
    const errors: string[] = [];
    const failed = (error: NodeJS.ErrnoException) => errors.push(error.code ?? '');
    const sink = new PcapngSink({ ...options('x'), file: '/dev/full', failed });
    sink.packet(packet(1));
    sink.flush();
    sink.packet(packet(2));
    sink.flush();
    assert.deepEqual(errors, ['ENOSPC']);
    sink.abandon();
  });

  it('a file that cannot be made is an error of its own', () => {
    assert.throws(() => new PcapngSink(options('no/such/folder')), /ENOENT/);
  });
});
