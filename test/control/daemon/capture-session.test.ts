import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CAPTURE_FORMAT } from '../../../src/control/daemon/capture-request.js';
import { CaptureSession, type Shown } from '../../../src/control/daemon/capture-session.js';
import { CaptureRing, INNER, Recorder } from '../../../src/dataplane/forward/tap/ring.js';
import { LAYOUT, LaneMemory } from '../../../src/dataplane/io/memory.js';
import { LiveRecords } from '../../../src/operate/capture/live-records.js';
import { ALL } from '../../dataplane/forward/tap/shown.js';
import { FakeClock } from '../fakes.js';

/** A thread that shows packets of one letter. */
class Letters implements Shown {
  readonly #memory = new LaneMemory();
  readonly ring = new CaptureRing(this.#memory.memory);
  readonly #recorder = new Recorder(this.#memory.bytes, this.#memory.words);
  capturing = false;

  capture(): void {
    this.capturing = true;
    this.#recorder.begin(65_535, true, true);
  }

  endCapture(): void {
    this.capturing = false;
  }

  /** How many of `packets` it could afford. */
  show(letter: string, packets = 1, length = 1000): number {
    this.#memory.bytes.fill(letter, LAYOUT.outbound, LAYOUT.outbound + length);
    let shown = 0;
    this.#recorder.batch(0);
    for (let i = 0; i < packets; i += 1) {
      if (this.#recorder.open(INNER, length) === 0) break;
      this.#recorder.append(LAYOUT.outbound, length);
      shown += 1;
    }
    this.#recorder.publish();
    return shown;
  }
}

/** Keeps what it is given until it is asked to take it. */
class SlowTaker {
  readonly #given: Uint8Array[] = [];

  get writableLength(): number {
    return this.#given.reduce((sum, { length }) => sum + length, 0);
  }

  write(bytes: Uint8Array): void {
    this.#given.push(bytes);
  }

  /** The letters of all packets, each with how many there are in a row. */
  take(): string {
    let text = '';
    const records = new LiveRecords({
      packet: ({ bytes }) => {
        assert.deepEqual(bytes, Buffer.alloc(bytes.length, bytes.subarray(0, 1)));
        text += String.fromCharCode(bytes[0]!);
      },
      missed: () => {},
    });
    for (const bytes of this.#given.splice(0)) records.take(Buffer.from(bytes));
    return text;
  }
}

const RATE = 1_000_000;
/** What a packet of Letters costs. */
const COST = 1512;

function begin(count = 2) {
  const clock = new FakeClock();
  const threads = Array.from({ length: count }, () => new Letters());
  const taker = new SlowTaker();
  const request = { format: CAPTURE_FORMAT, pid: 1, filter: { ...ALL, limited: true }, rate: RATE };
  const session = new CaptureSession(
    clock,
    () => threads,
    request,
    taker,
    (error) => {
      throw error;
    },
  );
  return { clock, threads, taker, session };
}

describe('a capture', () => {
  it('carries the packets of all threads as they were shown, to who takes them late', async () => {
    const { clock, threads, taker, session } = begin();
    await clock.pass(1000);
    for (const letters of ['ab', 'cd', 'ef']) {
      threads[0]!.show(letters[0]!);
      threads[1]!.show(letters[1]!);
      await clock.pass(1000);
    }
    assert.equal(taker.take(), 'abcdef');
    threads[0]!.show('g');
    threads[1]!.show('h');
    await clock.pass(1000);
    assert.equal(taker.take(), 'gh');
    threads[0]!.show('i');
    threads[1]!.show('j', 600);
    await clock.pass(1000);
    assert.equal(taker.take(), `i${'j'.repeat(600)}`);
    threads[0]!.show('k');
    session.finish();
    assert.equal(taker.take(), 'k');
  });

  it('lets a thread spend its part of the rate, and four seconds of it after a time without packets', async () => {
    const { clock, threads, taker, session } = begin();
    const [thread] = threads as [Letters, Letters];
    await clock.pass(1000);
    const part = RATE / threads.length;
    const saved = Math.floor((4 * part) / COST);
    assert.equal(thread.show('a', 10_000), saved);
    await clock.pass(200);
    taker.take();
    let shown = 0;
    for (let turn = 0; turn < 50; turn += 1) {
      await clock.pass(200);
      taker.take();
      shown += thread.show('b', 10_000);
    }
    // With the turn before.
    assert.ok(Math.abs(shown - (10.2 * part) / COST) < 50, `${shown} packets in 10 s`);
    session.finish();
  });

  it('lets each of very many threads save up enough to go on after it had to leave out packets', async () => {
    const { clock, threads, taker, session } = begin(200);
    const [thread] = threads as [Letters];
    await clock.pass(1000);
    const saved = Math.floor((256 * 1024) / COST);
    assert.equal(thread.show('a', 10_000), saved);
    await clock.pass(60_000);
    taker.take();
    assert.ok(thread.show('b', 10_000) > saved - 2);
    session.finish();
  });
});
