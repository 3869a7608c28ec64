import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { wordsOf } from '../../../../src/dataplane/forward/tap/filter.js';
import {
  CaptureRing,
  INNER,
  OUTBOUND,
  OUTER,
  RECORD_BYTES,
  Recorder,
} from '../../../../src/dataplane/forward/tap/ring.js';
import {
  LAYOUT,
  LaneMemory,
  RING_BYTES,
  RING_HEADER,
} from '../../../../src/dataplane/io/memory.js';
import { CaptureError } from '../../../../src/operate/capture/capture.js';
import { type LiveRecord, LiveRecords } from '../../../../src/operate/capture/live-records.js';
import { Random } from '../random.js';
import { ALL } from './shown.js';

/** Both sides of a ring, and bytes to record from. */
function make(snap = 65_535, isLimited = false, isOpen = true) {
  const memory = new LaneMemory();
  const random = new Random(5);
  memory.bytes.set(random.bytes(70_000), LAYOUT.outbound);
  const recorder = new Recorder(memory.bytes, memory.words);
  const ring = new CaptureRing(memory.memory);
  recorder.begin(snap, isLimited, isOpen);
  const source = (at: number, length: number) =>
    Buffer.from(memory.bytes.subarray(LAYOUT.outbound + at, LAYOUT.outbound + at + length));
  const record = (kind: number, at: number, length: number) => {
    const place = recorder.open(kind, length);
    if (place !== 0) recorder.append(LAYOUT.outbound + at, length);
    return place;
  };
  return { memory, recorder, ring, record, source };
}

function parse(bytes: Buffer, pieces: () => number = () => bytes.length): LiveRecord[] {
  const taken: LiveRecord[] = [];
  const records = new LiveRecords({
    packet: (one) => taken.push({ ...one, bytes: Buffer.from(one.bytes) }),
    missed: () => assert.fail('nothing is told here'),
  });
  for (let at = 0; at < bytes.length; ) {
    const length = Math.max(1, pieces());
    records.take(bytes.subarray(at, at + length));
    at += length;
  }
  return taken;
}

describe('capture ring', () => {
  it('gives what was recorded, in order, many times round, however it is taken', () => {
    const { recorder, ring, record, source } = make();
    const random = new Random();
    const wanted: { kind: number; at: number; length: number }[] = [];
    const got: LiveRecord[] = [];
    let bytes = 0;
    while (bytes < 5 * RING_BYTES) {
      recorder.batch(0);
      for (let left = random.between(0, 30); left > 0; left -= 1) {
        const kind = random.pick([INNER, OUTER, INNER | OUTBOUND]);
        const [at, length] = [
          random.between(0, 4000),
          random.between(0, random.pick([90, 1500, 65_000])),
        ];
        if (record(kind, at, length) !== 0) wanted.push({ kind, at, length });
        bytes += length;
      }
      recorder.publish();
      if (random.chance(3)) got.push(...parse(ring.read(), () => random.between(1, 100_000)));
    }
    got.push(...parse(ring.read()));
    assert.equal(got.length, wanted.length, `seed ${random.seed}`);
    for (const [i, { kind, at, length }] of wanted.entries()) {
      const one = got[i]!;
      assert.deepEqual(
        [one.isInner, one.isOutbound],
        [(kind & 3) === INNER, (kind & OUTBOUND) !== 0],
      );
      assert.ok(one.bytes.equals(source(at, length)), `record ${i}, seed ${random.seed}`);
    }
  });

  it('touches nothing but the ring', () => {
    const { memory, recorder, ring, record } = make();
    const end = LAYOUT.capture + RING_HEADER + RING_BYTES;
    const before = Buffer.from(memory.bytes.subarray(0, LAYOUT.capture));
    const behind = Buffer.from(memory.bytes.subarray(end));
    for (let i = 0; i < 3000; i += 1) {
      record(INNER, i, 4000 + i);
      recorder.publish();
      if (i % 500 === 0) ring.read();
    }
    assert.ok(memory.bytes.subarray(0, LAYOUT.capture).equals(before));
    assert.ok(memory.bytes.subarray(end).equals(behind));
  });

  it('full: leaves out and counts, and what is in it stays whole', () => {
    const { recorder, ring, record, source } = make();
    let taken = 0;
    for (let i = 0; i < 200; i += 1)
      if (record(i % 2 === 0 ? INNER : OUTER, i, 60_000) !== 0) taken += 1;
    recorder.publish();
    assert.equal(taken, Math.floor(RING_BYTES / (60_000 + RECORD_BYTES)));
    assert.equal(ring.missed.inner + ring.missed.outer, 200 - taken);
    assert.ok(ring.missed.inner > 0 && ring.missed.outer > 0);
    const records = parse(ring.read());
    assert.equal(records.length, taken);
    records.forEach(({ bytes }, i) => {
      assert.ok(bytes.equals(source(i, 60_000)));
    });
    assert.equal(record(INNER, 0, 60_000), 0, 'not within the batch');
    recorder.batch(0);
    assert.notEqual(record(INNER, 0, 60_000), 0, 'there is room again');
  });

  it('that was full takes packets again only when half of it was taken out', () => {
    const { recorder, ring, record } = make();
    while (record(INNER, 0, 1000) !== 0) recorder.publish();
    assert.equal(recorder.missesAll, true);
    recorder.batch(0);
    assert.equal(recorder.missesAll, true, 'nothing was taken out');
    ring.read();
    recorder.batch(0);
    assert.equal(recorder.missesAll, false);
  });

  it('that is full and takes some packets alone still looks at each', () => {
    const { recorder, record } = make(65_535, false, false);
    while (record(INNER, 0, 1000) !== 0) recorder.publish();
    assert.equal(recorder.missesAll, false, 'how many of those it misses is to be counted');
  });

  it('gives nothing of a batch whose verdicts are not final', () => {
    const { recorder, ring, record } = make();
    record(INNER, 0, 100);
    assert.equal(ring.read().length, 0);
    recorder.publish();
    assert.equal(parse(ring.read()).length, 1);
  });

  it('spends what it is granted, saves up so much, and counts what is beyond', () => {
    const { recorder, ring, record } = make(100, true);
    ring.want(wordsOf({ ...ALL, limited: true }, 0));
    const run = (records: number) => {
      let taken = 0;
      recorder.batch(0);
      for (let i = 0; i < records; i += 1) if (record(INNER, 0, 100) !== 0) taken += 1;
      recorder.publish();
      ring.read();
      return taken;
    };
    assert.equal(run(3), 0);
    ring.grant(61_200, 100_000);
    assert.equal(run(20), 0, 'who had to leave out waits for enough for the longest packet');
    ring.grant(20_400, 100_000);
    assert.equal(run(200), 133, '612 each');
    ring.grant(81_000, 100_000);
    ring.grant(81_000, 100_000);
    assert.equal(run(200), 163, 'no more than 100,000 at once');
    assert.equal(ring.missed.inner, 3 + 20 + 67 + 37);
    // For so long that the counts wrap.
    for (let i = 0; i < 500; i += 1) {
      ring.grant(10_000_000, 10_000_000);
      assert.ok(run(16_000) > 10_000);
    }
  });

  it('bytes that are no records are refused', () => {
    for (const [offset, value] of [
      [0, 7],
      [0, -8],
      [0, 16],
      [0, 1 << 30],
      [48, 1 << 20],
      [48, -1],
    ] as const) {
      const { recorder, ring, record } = make();
      record(INNER, 0, 100);
      recorder.publish();
      const bytes = ring.read();
      bytes.writeInt32LE(value, offset);
      assert.throws(() => parse(bytes), CaptureError, `${value} at ${offset}`);
    }
  });
});
