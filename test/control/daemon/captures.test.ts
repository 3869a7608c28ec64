import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import {
  CAPTURE_FORMAT,
  type CaptureAnswer,
  readRequest,
} from '../../../src/control/daemon/capture-request.js';
import type { Shown } from '../../../src/control/daemon/capture-session.js';
import { Captures } from '../../../src/control/daemon/captures.js';
import { systemClock } from '../../../src/control/daemon/clock.js';
import { capturePath, listSockets } from '../../../src/control/host/control-socket.js';
import { CaptureRing, INNER, Recorder } from '../../../src/dataplane/forward/tap/ring.js';
import { LAYOUT, LaneMemory } from '../../../src/dataplane/io/memory.js';
import { LiveRecords } from '../../../src/operate/capture/live-records.js';
import { ALL } from '../../dataplane/forward/tap/shown.js';
import { temporaryFolder } from '../../operate/capture/captures.js';

const REQUEST = { format: CAPTURE_FORMAT, pid: 4242, filter: ALL, rate: 0 };

/** A lane's thread that begins and ends at once. */
class FakeThread implements Shown {
  readonly memory = new LaneMemory();
  readonly ring = new CaptureRing(this.memory.memory);
  readonly recorder = new Recorder(this.memory.bytes, this.memory.words);
  capturing = false;
  begun = 0;
  /** Does not hear that it is to end. */
  isDeaf = false;
  fails = false;
  /** Has not heard yet that it is to begin. */
  isSlow = false;

  capture(): void {
    if (this.fails) throw new Error('no such descriptor');
    this.begun += 1;
    if (!this.isSlow) this.begin();
  }

  begin(): void {
    this.capturing = true;
    this.recorder.begin(65_535, false, true);
  }

  endCapture(): void {
    if (!this.isDeaf) this.capturing = false;
  }

  record(packets: number, length = 100): void {
    for (let i = 0; i < packets; i += 1) {
      if (this.recorder.open(INNER, length) !== 0) this.recorder.append(LAYOUT.outbound, length);
    }
    this.recorder.publish();
  }
}

/** Who asks. */
class Asking {
  readonly connection: net.Socket;
  packets = 0;
  missed = -1;
  answer: CaptureAnswer | undefined;
  ended = false;
  #text: Buffer = Buffer.alloc(0);
  readonly #records = new LiveRecords({
    packet: () => {
      this.packets += 1;
    },
    missed: ({ inner, outer }) => {
      this.missed = inner + outer;
    },
  });

  constructor(file: string, line = JSON.stringify(REQUEST)) {
    this.connection = net.connect({ path: file, allowHalfOpen: true });
    this.connection.on('error', () => {});
    this.connection.on('data', (bytes: Buffer) => this.#hear(bytes));
    this.connection.on('end', () => {
      this.ended = true;
      this.connection.end();
    });
    this.connection.write(`${line}\n`);
  }

  #hear(bytes: Buffer): void {
    if (this.answer !== undefined) {
      this.#records.take(bytes);
      return;
    }
    this.#text = Buffer.concat([this.#text, bytes]);
    const end = this.#text.indexOf('\n');
    if (end < 0) return;
    this.answer = JSON.parse(this.#text.toString('utf8', 0, end)) as CaptureAnswer;
    this.#records.take(this.#text.subarray(end + 1));
  }
}

async function until(check: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 300; i += 1) {
    if (check()) return;
    await new Promise<void>((resolve) => systemClock.after(10, resolve));
  }
  assert.fail(`not within 3 s: ${what}`);
}

describe('the capture socket', () => {
  const folder = temporaryFolder();
  const file = capturePath('flannel.1', folder);
  let threads: readonly FakeThread[];
  let lines: string[];
  let captures: Captures;
  const asked: Asking[] = [];
  const ask = (line?: string): Asking => {
    const one = new Asking(file, line);
    asked.push(one);
    return one;
  };
  beforeEach(async () => {
    threads = [new FakeThread(), new FakeThread()];
    lines = [];
    const say = (line: string) => lines.push(line);
    captures = new Captures({
      ...{ device: 'flannel.1', folder, clock: systemClock },
      log: { error: say, warn: say, info: say, debug: say },
      look: () => threads,
      place: () => ({ address: '192.168.56.11', port: 8472 }),
    });
    await captures.reconcile();
  });
  afterEach(() => {
    captures.close();
    for (const { connection } of asked.splice(0)) connection.destroy();
  });

  it('is for its owner alone, is no control socket, and goes with the weft', () => {
    assert.equal(fs.statSync(file).mode & 0o777, 0o600);
    assert.deepEqual(listSockets(folder), []);
    captures.close();
    assert.deepEqual(fs.readdirSync(folder), []);
  });

  it('is made again when somebody removed it', async () => {
    fs.rmSync(file);
    assert.deepEqual(await captures.reconcile(), ['made the capture socket of flannel.1']);
    assert.deepEqual(await captures.reconcile(), []);
    const one = ask();
    await until(() => one.answer !== undefined, 'an answer');
  });

  it('that cannot be made is told, and no reason to end', async () => {
    captures.close();
    fs.mkdirSync(path.join(file, 'full'), { recursive: true });
    await assert.rejects(captures.reconcile(), /no capture socket, weft capture will not work/);
    fs.rmSync(file, { recursive: true });
    await captures.reconcile();
  });

  it('carries what all threads show, and ends in order with how many were missed', async () => {
    const one = ask();
    await until(() => one.missed === 0, 'all show their packets');
    assert.deepEqual(
      threads.map(({ begun }) => begun),
      [1, 1],
    );
    threads[0]!.record(3);
    threads[1]!.record(4);
    await until(() => one.packets === 7, 'the packets');
    threads[1]!.record(120, 60_000);
    one.connection.end();
    await until(() => one.ended, 'the end');
    assert.ok(one.missed > 40, `${one.missed}`);
    assert.equal(one.packets + one.missed, 127);
    assert.ok(threads.every(({ capturing }) => !capturing));
  });

  it('a taker that is slow costs its own packets, and no memory', async () => {
    const one = ask();
    await until(() => one.missed === 0, 'all show their packets');
    one.connection.pause();
    for (let i = 0; i < 60; i += 1) {
      threads[0]!.record(20, 60_000);
      await new Promise<void>((resolve) => systemClock.after(20, resolve));
    }
    const { missed } = threads[0]!.ring;
    assert.ok(missed.inner > 600, `${missed.inner} of 1200 missed`);
    one.connection.resume();
    one.connection.end();
    await until(() => one.ended, 'the end');
    assert.equal(one.packets + one.missed, 1200);
  });

  it('one at a time: the second is told who is first, and may come after it', async () => {
    const one = ask();
    await until(() => one.answer !== undefined, 'an answer');
    const two = ask();
    await until(() => two.ended, 'the end of the second');
    assert.match((two.answer as { error: string }).error, /^process 4242 captures on flannel\.1/);
    one.connection.destroy();
    await until(() => threads.every(({ capturing }) => !capturing), 'no lane shows anything');
    const three = ask();
    await until(() => three.missed === 0, 'the third captures');
    assert.deepEqual(
      threads.map(({ begun }) => begun),
      [2, 2],
    );
  });

  it('gives nothing of an earlier capture while a lane has not begun', async () => {
    const [slow] = threads;
    slow!.recorder.begin(65_535, false, true);
    slow!.record(9);
    slow!.isSlow = true;
    const one = ask();
    await until(() => slow!.begun === 1, 'it is asked');
    await new Promise<void>((resolve) => systemClock.after(60, resolve));
    assert.deepEqual([one.packets, one.missed], [0, -1]);
    slow!.begin();
    await until(() => one.missed === 0, 'all show their packets');
    slow!.record(2);
    await until(() => one.packets === 2, 'what came since');
  });

  it('goes on with the lanes that are started anew', async () => {
    const one = ask();
    await until(() => one.missed === 0, 'all show their packets');
    threads[0]!.record(2);
    threads = [];
    await until(() => one.packets === 2, 'what the old ones had');
    threads = [new FakeThread()];
    await until(() => threads[0]!.capturing, 'the new one shows its packets');
    threads[0]!.record(1);
    await until(() => one.packets === 3, 'what the new one has');
  });

  it('does not wait for a lane that stands still', async () => {
    const one = ask();
    await until(() => one.missed === 0, 'all show their packets');
    threads[0]!.isDeaf = true;
    one.connection.end();
    await until(() => one.ended, 'the end');
  });

  it('that fails costs the capture alone', async () => {
    threads[1]!.fails = true;
    const one = ask();
    await until(() => one.ended || one.connection.destroyed, 'the end');
    assert.ok(lines.some((line) => /a capture on flannel\.1 failed and is over/.test(line)));
    await until(() => !threads[0]!.capturing, 'no lane shows anything');
  });

  it('a weft that ends gives what there is', async () => {
    const one = ask();
    await until(() => one.missed === 0, 'all show their packets');
    threads[0]!.record(5);
    captures.close();
    await until(() => one.ended, 'the end');
    assert.equal(one.packets, 5);
  });

  it('a request that is none is told so', async () => {
    const cases = [
      ['hello', /no JSON/],
      [JSON.stringify({ ...REQUEST, format: 0 }), /different builds/],
      [JSON.stringify({ ...REQUEST, rate: -1 }), /not what it needs/],
      ['null', /different builds/],
    ] as const;
    for (const [line, said] of cases) {
      const one = ask(line);
      await until(() => one.ended, line);
      assert.match((one.answer as { error: string }).error, said);
    }
    const long = ask('x'.repeat(5000));
    await until(() => long.ended, 'the end');
    assert.ok(threads.every(({ begun }) => begun === 0));
  });
});

it('a request is taken only with all its parts in range', () => {
  assert.notEqual(typeof readRequest(JSON.stringify(REQUEST)), 'string');
  const wrong: object[] = [
    ...[{ rate: 2e9 }, { rate: 1.5 }, { pid: 'x' }, { filter: null }, { filter: {} }],
    ...[{ snap: 65_536 }, { port: 65_536 }, { protocol: 256 }, { inner: 1 }, { reason: 0 }].map(
      (one) => ({ filter: { ...ALL, ...one } }),
    ),
    { filter: { ...ALL, network: { address: 1, length: 33 } } },
    { filter: { ...ALL, peer: 2 ** 31 } },
  ];
  for (const one of wrong) {
    assert.equal(
      typeof readRequest(JSON.stringify({ ...REQUEST, ...one })),
      'string',
      JSON.stringify(one),
    );
  }
});
