import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type net from 'node:net';
import { test } from 'node:test';
import { Run } from '../../../src/cli/capture/run.js';
import type { Sink } from '../../../src/cli/capture/sinks.js';
import { FakeClock, settle } from '../../control/fakes.js';

/** What a capture reads the weft's packets from. */
class FakeConnection extends EventEmitter {
  paused = false;
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  isPaused(): boolean {
    return this.paused;
  }
  end(): void {}
  destroy(): void {}
}

/** A capture that runs, into a sink whose reader is behind with whatever comes. */
function begin(options: { seconds?: number } = {}) {
  const clock = new FakeClock();
  const connection = new FakeConnection();
  const told: string[] = [];
  const sink: Sink = {
    isBehind: true,
    packet: () => {},
    flush: () => {},
    close: async () => {},
    abandon: () => {},
  };
  const run = new Run({
    connection: connection as unknown as net.Socket,
    place: { address: 0, port: 8472, drops: [] },
    ...{ clock, count: 0, seconds: options.seconds ?? 0 },
    begun: () => {},
    tell: (line) => void told.push(line),
  });
  const outcome = run.into(sink, Buffer.alloc(0));
  return {
    clock,
    connection,
    told,
    run,
    outcome,
    come: () => connection.emit('data', Buffer.alloc(0)),
  };
}

test('a reader that is behind and catches up, again and again, leaves no timers behind', async () => {
  const { clock, connection, run, told, come } = begin();
  for (let i = 0; i < 1_000; i += 1) {
    run.drained();
    assert.equal(connection.paused, false);
    assert.deepEqual(clock.waits, []);
    come();
    assert.equal(connection.paused, true);
    assert.equal(clock.waits.length, 1);
    await clock.pass(1);
  }
  run.drained();
  await clock.pass(5_000);
  assert.deepEqual(told, [], 'it was never behind for long');
});

test('who is behind for a second is told of, once in ten', async () => {
  const { clock, run, told, come } = begin();
  await clock.pass(999);
  assert.deepEqual(told, []);
  await clock.pass(1);
  assert.equal(told.length, 1);
  assert.match(told[0]!, /^what takes the packets does not keep up: packets are left out/);
  for (let i = 0; i < 9; i += 1) {
    run.drained();
    come();
    await clock.pass(1_000);
  }
  assert.equal(told.length, 1);
  run.drained();
  come();
  await clock.pass(1_000);
  assert.equal(told.length, 2);
});

test('a capture that is over has no timer left, whatever it waited for', async () => {
  const { clock, connection, outcome, run, come } = begin({ seconds: 60 });
  come();
  run.end();
  assert.equal(clock.waits.length, 3);
  connection.emit('close');
  await outcome;
  await settle();
  assert.deepEqual(clock.waits, []);
});

test('it ends by itself after its time, and waits for the last packets no longer than it says', async () => {
  const { clock, outcome } = begin({ seconds: 60 });
  await clock.pass(60_000);
  await clock.pass(3_000);
  assert.deepEqual(await outcome, { captured: 0, missed: 0, trouble: undefined });
  assert.deepEqual(clock.waits, []);
});
