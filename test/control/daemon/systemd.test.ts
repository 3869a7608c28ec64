import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Look, tellSystemd } from '../../../src/control/daemon/systemd.js';
import { FakeClock } from '../fakes.js';

function told(more: Record<string, string> = {}) {
  const clock = new FakeClock();
  const environment: NodeJS.ProcessEnv = { NOTIFY_SOCKET: '/run/notify', HOME: '/', ...more };
  const sent: string[] = [];
  const state: Look & { ready: boolean; status: string; alive: boolean } = {
    ready: false,
    status: 'waiting',
    alive: true,
  };
  const link = { broken: false };
  const systemd = tellSystemd({
    environment,
    pid: 42,
    send: (path, text) => {
      assert.equal(path, '/run/notify');
      if (link.broken) throw new Error('EAGAIN');
      sent.push(text);
    },
    clock,
    look: () => state,
    monotonic: () => 7_000_000n,
  });
  assert.ok(systemd !== undefined);
  const take = () => sent.splice(0);
  return { clock, environment, state, take, link, ...systemd };
}

test('nobody asked: nothing is sent, nothing is timed', () => {
  const clock = new FakeClock();
  const refuse = () => assert.fail();
  const monotonic = () => 0n;
  const options = { environment: {}, pid: 1, send: refuse, clock, look: refuse, monotonic };
  assert.equal(tellSystemd(options), undefined);
  assert.deepEqual(clock.waits, []);
});

test('the status while it waits, READY once with the new status, then silence', async () => {
  const { clock, state, take, environment } = told();
  assert.deepEqual(environment, { HOME: '/' }, 'children inherit none of it');
  assert.deepEqual(take(), ['STATUS=waiting\n']);
  await clock.pass(5_000);
  assert.deepEqual(take(), []);
  state.ready = true;
  state.status = 'flannel.1 10.10.1.0/24,\n 2 peers';
  await clock.pass(1_000);
  assert.deepEqual(take(), ['READY=1\nSTATUS=flannel.1 10.10.1.0/24, 2 peers\n']);
  await clock.pass(60_000);
  assert.deepEqual(take(), [], 'no watchdog was asked for');
});

test('what is told at once is told once, and the turns go on as before', async () => {
  const { clock, state, take, tell } = told();
  take();
  await clock.pass(400);
  state.ready = true;
  tell();
  assert.deepEqual(take(), ['READY=1\n'], 'not up to a second later');
  tell();
  assert.deepEqual(take(), []);
  assert.deepEqual(clock.waits, [1_000], 'one turn to come, not one for each call');
  state.status = 'another';
  await clock.pass(1_000);
  assert.deepEqual(take(), ['STATUS=another\n']);
});

test('the watchdog is fed while every lane turns, and starves when one does not', async () => {
  const { clock, state, take } = told({ WATCHDOG_USEC: '3000000', WATCHDOG_PID: '42' });
  take();
  Object.assign(state, { ready: true });
  await clock.pass(1_000);
  assert.deepEqual(take(), ['READY=1\nWATCHDOG=1\n']);
  for (let i = 0; i < 5; i += 1) {
    await clock.pass(1_000);
    assert.deepEqual(take(), ['WATCHDOG=1\n']);
  }
  state.alive = false;
  await clock.pass(1_000);
  assert.deepEqual(take(), [], 'one stands still');
  state.alive = true;
  await clock.pass(1_000);
  assert.deepEqual(take(), ['WATCHDOG=1\n']);
});

test('fed at least twice in the time given, and not for another process', async () => {
  const often = told({ WATCHDOG_USEC: '1000000' });
  assert.deepEqual(often.clock.waits, [500]);
  const other = told({ WATCHDOG_USEC: '1000000', WATCHDOG_PID: '43' });
  other.take();
  await other.clock.pass(10_000);
  assert.deepEqual(other.take(), []);
});

test('what could not be sent is sent at the next turn', async () => {
  const { clock, state, take, link } = told();
  take();
  link.broken = true;
  Object.assign(state, { ready: true, status: 'up' });
  await clock.pass(3_000);
  link.broken = false;
  await clock.pass(1_000);
  assert.deepEqual(take(), ['READY=1\nSTATUS=up\n']);
});

test('stopping is told with its reason, and is the last thing told', async () => {
  const { clock, state, take, stopping } = told({ WATCHDOG_USEC: '3000000' });
  take();
  stopping('got SIGTERM');
  assert.deepEqual(take(), ['STOPPING=1\nSTATUS=stopping: got SIGTERM\n']);
  state.status = 'other';
  await clock.pass(10_000);
  assert.deepEqual(take(), []);
  assert.deepEqual(clock.waits, []);
});

test('a reload begins with RELOADING and the time, and ends with READY once it is done', async () => {
  const { clock, state, take, link, reloading } = told();
  take();
  await reloading(async () => {});
  assert.deepEqual(take(), [], 'while it starts it is not ready afterwards either');
  Object.assign(state, { ready: true, status: 'up' });
  await clock.pass(1_000);
  take();
  await reloading(async () => {
    assert.deepEqual(take(), ['RELOADING=1\nMONOTONIC_USEC=7000000\n']);
  });
  assert.deepEqual(take(), ['READY=1\n']);
  await reloading(async () => {
    link.broken = true;
  });
  link.broken = false;
  await clock.pass(1_000);
  assert.deepEqual(take().slice(1), ['READY=1\n'], 'told at the next turn');
});
