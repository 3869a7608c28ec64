/** Golden captures with random damage: no exception but CaptureError, and bounded memory. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import * as ipv4 from '../../../src/dataplane/wire/ipv4.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';
import { CaptureError, MAX_RECORD } from '../../../src/operate/capture/capture.js';
import { openCapture } from '../../../src/operate/capture/open.js';
import { Replay } from '../../../src/operate/capture/replay.js';
import { CAPTURES, hex, pcap, temporaryFolder } from './captures.js';

const SEED = Number(process.env.WEFT_SEED ?? '20240607');
const ROUNDS = 150;
const MEBIBYTE = 2 ** 20;

/** mulberry32. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const LENGTHS = [0, 1, 19, 20, 21, 0x7f, 0xff, 0xffff, 0x10000, 0x40000, 0x7fffffff, 0xffffffff];

/** Damages a capture in a few places: bytes, lengths, cuts, repeats. */
function damage(sound: Buffer, random: (below: number) => number): Buffer {
  let bytes = Buffer.from(sound);
  for (let n = 1 + random(12); n > 0 && bytes.length > 40; n -= 1) {
    const at = random(12) === 0 ? random(bytes.length) : 24 + random(bytes.length - 32);
    const length = LENGTHS[random(LENGTHS.length)]!;
    switch (random(6)) {
      case 0:
        bytes.writeUInt32LE(length, Math.min(at, bytes.length - 4));
        break;
      case 1:
        bytes.writeUInt16BE(length & 0xffff, Math.min(at, bytes.length - 2));
        break;
      case 2:
        if (random(4) === 0) bytes = bytes.subarray(0, at);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(random(at))]);
        break;
      default:
        bytes[at] = random(256);
    }
  }
  return bytes;
}

/** The lengths of the records of a sound capture are kept, the packets in them damaged. */
function damagePackets(sound: Buffer, random: (below: number) => number): Buffer {
  const bytes = Buffer.from(sound);
  for (let at = 24; at < bytes.length; ) {
    const length = bytes.readUInt32LE(at + 8);
    at += 16;
    for (let n = random(4); n > 0; n -= 1) bytes[at + random(Math.min(length, 100))] = random(256);
    at += length;
  }
  return bytes;
}

function address(text: string): number {
  const parsed = parseAddress(text);
  assert.ok(parsed !== undefined);
  return parsed;
}

function replayOf(): Replay {
  return new Replay({
    address: address('192.168.56.11'),
    mac: hex('02000000000a'),
    vni: 1,
    port: 8472,
    mtu: 1450,
    overlay: [{ network: address('10.10.0.0'), length: 16 }],
    local: [{ network: address('10.10.58.0'), length: 24 }],
    routes: [
      {
        network: address('10.10.26.0'),
        length: 24,
        peer: { address: address('192.168.56.12'), port: 8472, mac: hex('02000000000b') },
      },
    ],
  });
}

const folder = temporaryFolder();

/** Reads and replays a file; returns how many records it had. */
function run(file: string, replay: Replay): number {
  let records = 0;
  let capture: ReturnType<typeof openCapture> | undefined;
  try {
    capture = openCapture(file);
    for (const record of capture.records()) {
      records += 1;
      assert.ok(record.bytes.length <= MAX_RECORD);
      const { fate, reason, packets } = replay.take(record);
      if (fate === 'dropped' || fate === 'not ours') assert.notEqual(reason, '');
      else assert.ok(packets.length > 0, `${fate}, and nothing came out`);
      for (const packet of packets) assert.equal(ipv4.check(packet, 0, packet.length), 0);
    }
  } catch (error) {
    if (!(error instanceof CaptureError)) throw error;
  } finally {
    capture?.close();
  }
  return records;
}

describe('damaged captures', () => {
  it(`never throw anything but CaptureError (WEFT_SEED=${SEED})`, (t) => {
    const random = randomFrom(SEED);
    const file = path.join(folder, 'damaged.pcap');
    const replay = replayOf();
    const before = process.memoryUsage().rss;
    let records = 0;
    for (const name of ['underlay', 'bridge', 'tun']) {
      const sound = fs.readFileSync(path.join(CAPTURES, `${name}.pcap`));
      for (let round = 0; round < ROUNDS; round += 1) {
        const bytes = round % 2 === 0 ? damage(sound, random) : damagePackets(sound, random);
        fs.writeFileSync(file, bytes);
        records += run(file, replay);
      }
    }
    const grown = Math.round((process.memoryUsage().rss - before) / MEBIBYTE);
    t.diagnostic(`seed ${SEED}: ${records} records, memory grew by ${grown} MiB`);
    assert.ok(records > 5000, `${records} records are too few to tell`);
    assert.ok(grown < 200, `memory grew by ${grown} MiB`);
  });

  it('a record that claims all of a large file costs no memory', () => {
    const file = path.join(folder, 'large.pcap');
    const claim = 2 ** 30;
    const lie = { bytes: Buffer.alloc(0), captured: claim, original: claim };
    fs.writeFileSync(file, pcap({ records: [lie] }));
    fs.truncateSync(file, claim + 100); // sparse: it takes no room on the disk
    const before = process.memoryUsage().rss;
    const capture = openCapture(file);
    assert.throws(() => [...capture.records()], CaptureError);
    capture.close();
    assert.ok(process.memoryUsage().rss - before < 16 * MEBIBYTE);
  });
});
