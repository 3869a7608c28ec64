import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { describeEnd } from '../../../src/control/daemon/lane-end.js';
import { LaneWatch } from '../../../src/control/daemon/lane-watch.js';
import type { Clock } from '../../../src/control/runtime.js';
import { FakeClock, Lines } from '../fakes.js';

let clock: FakeClock;
let log: Lines;
let threads: { name: string; turns: number }[];
let dead: [string, readonly string[]][];
let watch: LaneWatch;

beforeEach(() => {
  clock = new FakeClock();
  log = new Lines();
  threads = [
    { name: 'lane 0', turns: 5 },
    { name: 'lane 1 (inbound)', turns: -3 },
  ];
  dead = [];
  const look = () => threads.map((thread) => ({ ...thread }));
  watch = new LaneWatch({ clock, log, look, dead: (...told) => void dead.push(told) });
});

/** So many seconds, in each of which these threads turn. */
async function pass(seconds: number, ...turning: number[]): Promise<void> {
  for (let i = 0; i < seconds; i += 1) {
    for (const index of turning) threads[index]!.turns += 4;
    await clock.pass(1_000);
  }
}

test('threads that turn are no fault, however long', async () => {
  await pass(100, 0, 1);
  assert.deepEqual([watch.faults, dead, log.lines], [[], [], []]);
});

test('one that stands still is a fault from the third sample on, told once, and so is its end', async () => {
  await pass(1, 0, 1);
  await pass(2, 0);
  assert.deepEqual(watch.faults, []);
  await pass(1, 0);
  assert.deepEqual(watch.faults, ['lane 1 (inbound) has not turned for 3 s']);
  await pass(3, 0);
  assert.deepEqual(watch.faults, ['lane 1 (inbound) has not turned for 6 s']);
  await pass(1, 0, 1);
  assert.deepEqual(watch.faults, []);
  await pass(30, 0, 1);
  assert.deepEqual(log.lines, [
    'warn: lane 1 (inbound) has not turned for 3 s',
    'info: lane 1 (inbound) turns again',
  ]);
  assert.deepEqual(dead, []);
});

test('ten samples are the end, told once with all that stand still', async () => {
  await pass(1, 0, 1);
  await pass(9);
  assert.deepEqual(dead, []);
  await pass(1);
  assert.deepEqual(dead, [
    [
      'lane 0 has not turned for 10 s; lane 1 (inbound) has not turned for 10 s',
      ['lane 0', 'lane 1 (inbound)'],
    ],
  ]);
  await pass(20);
  assert.equal(dead.length, 1);
});

test('samples count, not time: a machine that was suspended is no fault', () => {
  let time = 0;
  let timer = () => {};
  const suspended: Clock = {
    now: () => time,
    after: (_, call) => {
      timer = call;
      return () => {};
    },
  };
  const look = () => threads;
  const own = new LaneWatch({
    clock: suspended,
    log,
    look,
    dead: (...told) => void dead.push(told),
  });
  timer();
  // All timers are late by an hour, and fire once.
  time += 3_600_000;
  timer();
  assert.deepEqual([own.faults, dead], [[], []]);
});

test('a thread that turns is none of those that are given up', async () => {
  await pass(1, 0, 1);
  await pass(10, 1);
  assert.deepEqual(dead, [['lane 0 has not turned for 10 s', ['lane 0']]]);
});

test('lanes that are started anew begin anew', async () => {
  await pass(1, 0, 1);
  await pass(8);
  const before = threads;
  threads = [];
  await pass(1);
  assert.deepEqual(watch.faults, []);
  threads = before.map(({ name }) => ({ name, turns: 0 }));
  await pass(3);
  assert.deepEqual(dead, []);
});

test('a watch that was stopped samples no more', async () => {
  await pass(1, 0, 1);
  watch.stop();
  await pass(60);
  assert.deepEqual([dead, clock.waits], [[], []]);
});

test('the last line says where the packets are, that there were none, or why they are not kept', () => {
  const place = { address: '192.168.56.11', mtu: 1450 };
  const path = { name: 'flannel.1', place, lanes: { batches: () => [] } };
  const end = (save: () => string | undefined) =>
    describeEnd('lane 0 has not turned for 10 s', path, { names: ['lane 0'], port: 8472 }, save);
  const first =
    'lane 0 has not turned for 10 s: weft ends, so that a new start can forward again; ';
  assert.equal(
    end(() => '/run/weft/a.pcap'),
    `${first}the packets that it had in hand are kept for weft replay in /run/weft/a.pcap`,
  );
  assert.equal(
    end(() => undefined),
    `${first}it had no packets in hand`,
  );
  const failing = end(() => {
    throw new Error('ENOSPC: no space left on device');
  });
  assert.match(failing, /in hand cannot be kept: ENOSPC/);
});
