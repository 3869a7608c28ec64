/**
 * A lane's thread, on real descriptors: sockets of the loopback device on both sides, since
 * a TUN needs root (that is tried in io/in-namespace.ts).
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import test, { type TestContext } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { createCounters, readTotals } from '../../../src/dataplane/forward/counters.js';
import type { Directions } from '../../../src/dataplane/forward/lane.js';
import { LaneThread, LaneWorkers } from '../../../src/dataplane/forward/lane-thread.js';
import { ADDRESS_SIZE } from '../../../src/dataplane/io/memory.js';
import { loadNative } from '../../../src/dataplane/io/native.js';
import { openUdp } from '../../../src/dataplane/io/udp.js';
import { Publisher } from '../../../src/dataplane/routes/publisher.js';
import { HELD, NOTHING } from '../../../src/dataplane/routes/snapshot.js';
import { Arena, LOOPBACK, loopbackSocket, openDescriptors, pattern } from '../io/arena.js';

const MAC = new Uint8Array([2, 0, 0, 0, 0, 1]);
const OPTIONS = { vni: 1, mac: MAC, mtu: 1450, uso: false, udpSegment: true, vnet: true };

interface Sides {
  readonly tun: number;
  readonly listener: number;
  readonly sender: number;
  /** Where the listener listens. */
  readonly at: Uint8Array;
}

function openSides(t: TestContext): Sides {
  const native = loadNative();
  const [tun] = loopbackSocket(native);
  const { listener, sender } = openUdp(LOOPBACK, 0);
  const at = new Uint8Array(ADDRESS_SIZE);
  native.udpName(listener, at);
  t.after(() => {
    for (const fd of [tun, listener, sender]) native.close(fd);
  });
  return { tun, listener, sender, at };
}

function start(
  sides: Omit<Sides, 'at'>,
  more: {
    publisher?: Publisher;
    lane?: number;
    merges?: boolean;
    directions?: Directions;
    workers?: LaneWorkers;
  } = {},
) {
  const counters = createCounters(2);
  const publisher = more.publisher ?? new Publisher({ vni: 1, ownMac: MAC, threads: 2 });
  const { tun, listener, sender } = sides;
  const lane = new LaneThread({
    lane: more.lane ?? 0,
    directions: more.directions ?? 'both',
    counters,
    publisher,
    tun,
    listener,
    sender,
    options: { ...OPTIONS, merges: more.merges ?? true },
    workers: more.workers,
  });
  return { lane, counters, publisher };
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what: () => boolean, name: string): Promise<void> {
  for (let i = 0; i < 1000 && !what(); i += 1) await sleep(10);
  assert.ok(what(), name);
}

/** Stops a lane and gives the milliseconds until its thread had ended. */
async function timeToStop(lane: LaneThread): Promise<number> {
  const from = performance.now();
  lane.stop();
  assert.equal(await lane.ended, undefined);
  return performance.now() - from;
}

test('whether a lane merges what it writes to the TUN shows from outside', async (t) => {
  for (const merges of [true, false]) {
    const { lane } = start(openSides(t), { merges });
    await lane.started;
    assert.equal(lane.merges, merges);
    await timeToStop(lane);
  }
});

test('an idle lane sleeps, and stops soon', async (t) => {
  const { lane } = start(openSides(t));
  await until(() => lane.running, 'the lane runs');
  const turns = lane.turns;
  await sleep(600);
  assert.ok(lane.turns > turns, 'it turns, if nothing happens: no wait is longer than 250 ms');
  assert.ok(lane.turns - turns < 20, `${lane.turns - turns} turns in 600 ms: it spins`);
  const took = await timeToStop(lane);
  assert.ok(took < 5000, `${took} ms`);
  assert.equal(lane.running, false);
});

test('stopping wakes a lane that has just begun to wait', async (t) => {
  const sides = openSides(t);
  const took: number[] = [];
  for (let i = 0; i < 6; i += 1) {
    const { lane } = start(sides);
    await until(() => lane.running, 'the lane runs');
    took.push(await timeToStop(lane));
  }
  // Of six, for the machine may be busy; without the wake-up each takes up to 250 ms.
  assert.ok(Math.min(...took) < 120, `${took.join(', ')} ms`);
});

test('a flooded lane stops soon', async (t) => {
  const sides = openSides(t);
  const arena = new Arena();
  const [fd] = loopbackSocket(arena.native);
  t.after(() => arena.native.close(fd));
  const { lane, counters } = start(sides);
  await until(() => lane.running, 'the lane runs');
  const flood = new Array(64).fill({ fd, to: sides.at, parts: [pattern(40)] });
  const burst = async (milliseconds: number, done: () => boolean) => {
    const end = performance.now() + milliseconds;
    while (performance.now() < end && !done()) {
      arena.send(flood);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await burst(200, () => false);
  let ended = false;
  void lane.ended.then(() => {
    ended = true;
  });
  const from = performance.now();
  lane.stop();
  await burst(10_000, () => ended);
  const took = performance.now() - from;
  assert.equal(await lane.ended, undefined);
  assert.ok(took < 5000, `${took} ms`);
  const { drops } = readTotals(counters);
  assert.ok((drops.unknown_sender ?? 0) > 1000, JSON.stringify(drops));
});

test('two lanes of one publisher see a table that is published while they run', async (t) => {
  const publisher = new Publisher({ vni: 1, ownMac: MAC, threads: 2 });
  const lanes = [0, 1].map((lane) => start(openSides(t), { publisher, lane }));
  for (const { lane } of lanes) await until(() => lane.running, 'the lane runs');
  // Too large for the buffers there are: each lane gets the new one by message.
  const routes = Array.from({ length: 6000 }, (_, i) => ({
    network: 0x0a000000 + i * 256,
    length: 24,
    peer: { address: LOOPBACK + i, port: 8472, mac: MAC },
  }));
  publisher.publish(routes, []);
  publisher.publish([], []);
  publisher.publish(routes, []);
  await sleep(600);
  for (const { lane } of lanes) {
    assert.ok(lane.running);
    assert.equal(await timeToStop(lane).then((ms) => ms < 1000), true);
  }
});

test('fifty starts and stops leave nothing behind', { timeout: 120_000 }, async (t) => {
  const sides = openSides(t);
  const publisher = new Publisher({ vni: 1, ownMac: MAC, threads: 2 });
  const round = async (waits: boolean) => {
    const { lane } = start(sides, { publisher });
    if (waits) await until(() => lane.running, 'the lane runs');
    await timeToStop(lane);
  };
  await round(true);
  const before = openDescriptors();
  for (let i = 0; i < 50; i += 1) await round(i % 2 === 0); // also: stopped while it starts
  assert.equal(openDescriptors(), before);
  // Its routes are let go, so that their table can be written again.
  const held = Atomics.load(new Int32Array(publisher.handle.control), HELD);
  assert.equal(held, NOTHING);
});

test('a thread of one direction leaves the other to another thread', async (t) => {
  const arena = new Arena();
  const [fd] = loopbackSocket(arena.native);
  t.after(() => arena.native.close(fd));
  for (const directions of ['outbound', 'inbound'] as const) {
    const sides = openSides(t);
    const tunAt = new Uint8Array(ADDRESS_SIZE);
    arena.native.udpName(sides.tun, tunAt);
    const { lane, counters } = start(sides, { directions });
    await until(() => lane.running, 'the lane runs');
    const turns = lane.turns;
    for (const to of [sides.at, tunAt]) arena.send([{ fd, to, parts: [pattern(40)] }]);
    const seen = () => {
      const { outbound_in_packets: outbound, inbound_in_packets: inbound } =
        readTotals(counters).counters;
      return [outbound, inbound];
    };
    await until(() => seen().join() !== '0,0', 'it serves its own');
    await sleep(300);
    assert.deepEqual(seen(), directions === 'outbound' ? [1, 0] : [0, 1]);
    assert.ok(lane.turns - turns < 20, 'what waits for the other thread does not make it spin');
    assert.equal(arena.readable(directions === 'outbound' ? sides.listener : sides.tun), true);
    await timeToStop(lane);
  }
});

test('an error inside the lane ends it, and is handed out', async (t) => {
  const sides = openSides(t);
  for (const bad of [
    { ...sides, tun: 99_999 },
    { ...sides, listener: 99_999 },
  ]) {
    const { lane } = start(bad);
    assert.match(String((await lane.ended)?.message), /descriptor 99999 is not open/);
    assert.equal(lane.running, false);
  }
});

test('an error before the first turn is handed out as well', async (t) => {
  const counters = createCounters(1); // a row too few for lane 1
  const publisher = new Publisher({ vni: 1, ownMac: MAC, threads: 2 });
  const lane = new LaneThread({ lane: 1, counters, publisher, ...openSides(t), options: OPTIONS });
  assert.ok((await lane.ended) instanceof Error);
});

test('stop after the end touches no descriptor, though its number is in use again', async (t) => {
  const native = loadNative();
  const sides = openSides(t);
  const before = native.eventOpen();
  native.close(before); // the number that the lane's wake-up event will get
  const { lane } = start({ ...sides, tun: 99_999 });
  await lane.ended;
  const events = Array.from({ length: 8 }, () => native.eventOpen());
  assert.ok(events.includes(before), 'the number was not given out again');
  lane.stop();
  lane.stop();
  const arena = new Arena();
  for (const fd of events) {
    assert.ok(!arena.readable(fd), `stop wrote to descriptor ${fd}`);
    native.close(fd);
  }
});

test('a process whose lanes have ended ends by itself', () => {
  const child = fileURLToPath(new URL('./lane-process.js', import.meta.url));
  const done = spawnSync(process.execPath, [child], { encoding: 'utf8', timeout: 20_000 });
  assert.equal(done.signal, null, 'it did not end');
  assert.equal(done.status, 0, done.stderr);
  assert.equal(done.stdout, 'ended: undefined\nended: Error\n');
});

test('a lane made anew has the thread of the one before: no code is read again', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-worker-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const program = path.join(folder, 'worker.mjs');
  const worker = new URL('../../../src/dataplane/forward/worker.js', import.meta.url);
  fs.writeFileSync(program, `await import('${worker.href}');\n`);
  const workers = new LaneWorkers(pathToFileURL(program));
  const sides = openSides(t);
  const first = start(sides, { workers });
  await first.lane.started;
  assert.ok(first.lane.running);
  first.lane.stop();
  assert.equal(await first.lane.ended, undefined);
  fs.writeFileSync(program, 'throw new Error("another build");\n');
  for (let i = 0; i < 3; i += 1) {
    const { lane } = start(sides, { workers });
    await lane.started;
    assert.ok(lane.running);
    await timeToStop(lane);
  }
  // One more has no thread yet.
  const { lane } = start(sides, { workers });
  await lane.started;
  const other = start(openSides(t), { workers, lane: 1 });
  assert.match(String(await other.lane.ended), /another build/);
  await timeToStop(lane);
});
