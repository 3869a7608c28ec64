/** Our lease's time by the store and by our clock. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LeaseClock } from '../../../../src/control/overlay/lease/clock.js';
import type { Looked } from '../../../../src/control/store/store.js';
import { FakeClock, Lines } from '../../fakes.js';

const MINUTE = 60_000;

/** A store whose lease of 24 h runs `speed` times as fast as our clock. */
function rig() {
  const clock = new FakeClock();
  const log = new Lines();
  const store = { lease: 7n, ttl: 86_400, speed: 1, away: false, entry: true, slowMs: 0 };
  let countedMs = 86_400_000;
  const told: number[] = [];
  const leaseClock = new LeaseClock({
    ...{ clock, log },
    held: () => ({ lease: store.lease, endsIn: countedMs }),
    look: async (): Promise<Looked> => {
      if (store.away) throw new Error('away');
      const { slowMs } = store;
      if (slowMs > 0) await new Promise<void>((done) => void clock.after(slowMs, done));
      const { lease, ttl } = store;
      const entry = { key: 'k', value: '', revision: 1n, lease };
      return { entry: store.entry ? entry : undefined, revision: 1n, ttl: Math.floor(ttl) };
    },
    tell: (_, ttl) => {
      told.push(ttl);
      countedMs = ttl * 1_000;
    },
  });
  const pass = async (ms: number) => {
    for (let i = 0; i < ms; i += 1_000) {
      store.ttl -= store.speed;
      countedMs -= 1_000;
      await clock.pass(1_000);
    }
  };
  return { leaseClock, store, pass, told, log, clock };
}

test('two clocks that run alike: nothing is told, whatever is rounded', async () => {
  const { leaseClock, store, pass, told } = rig();
  store.ttl -= 0.9;
  await pass(40 * MINUTE);
  assert.deepEqual([leaseClock.drift, told], [undefined, []]);
});

test('a store that is fast: its word counts, and the difference is told until it is over', async () => {
  const { leaseClock, store, pass, told, log } = rig();
  await pass(2 * MINUTE);
  store.speed = 1.1;
  await pass(2 * MINUTE);
  const { seconds, overSeconds } = leaseClock.drift!;
  assert.ok(seconds > 5 && seconds < 14, String(seconds));
  assert.ok(overSeconds >= 180 && overSeconds <= 240, String(overSeconds));
  assert.ok(told.length >= 1);
  assert.match(log.lines[0]!, /^info: our lease has \d+ s less left in etcd than by our clock$/);
  store.speed = 1;
  await pass(25 * MINUTE);
  assert.equal(leaseClock.drift, undefined);
});

test('a clock that stood still: told at once, and no longer than ten minutes', async () => {
  const { leaseClock, store, pass, told } = rig();
  await pass(2 * MINUTE);
  store.ttl -= 36_000;
  await pass(MINUTE);
  assert.ok(Math.abs(leaseClock.drift!.seconds - 36_000) < 2);
  assert.equal(told.length, 1, 'and from then on we know better');
  await pass(11 * MINUTE);
  assert.equal(leaseClock.drift, undefined);
});

test('a store that is slow is told, too; the lease is renewed as early as ever', async () => {
  const { leaseClock, store, pass, told } = rig();
  store.speed = 0.8;
  await pass(3 * MINUTE);
  assert.ok(leaseClock.drift!.seconds < -5);
  assert.deepEqual(told, []);
});

test('a lease that got its full time again, or is another one, is no difference', async () => {
  const { leaseClock, store, pass } = rig();
  await pass(5 * MINUTE);
  store.ttl = 86_400;
  await pass(MINUTE);
  assert.equal(leaseClock.drift, undefined, 'another leader');
  Object.assign(store, { lease: 8n, ttl: 80_000 });
  await pass(MINUTE);
  assert.equal(leaseClock.drift, undefined);
});

test('no answer, a late one, no key and no lease say nothing; asking goes on', async () => {
  const { leaseClock, store, pass, told, clock } = rig();
  await pass(MINUTE);
  store.ttl -= 600;
  for (const more of [{ away: true }, { entry: false }, { slowMs: 4_000 }, { lease: 0n }]) {
    const before = { ...store };
    Object.assign(store, more);
    await pass(MINUTE);
    Object.assign(store, { ...before, ttl: store.ttl });
    assert.deepEqual([leaseClock.drift, told], [undefined, []], JSON.stringify(Object.keys(more)));
  }
  await pass(MINUTE);
  assert.ok(leaseClock.drift!.seconds > 590);
  leaseClock.stop();
  assert.deepEqual(clock.waits, []);
});
