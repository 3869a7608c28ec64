/**
 * The holder of our lease against a model of etcd in which everything goes wrong, in any order.
 * After every step:
 *
 *  1. a key that another host wrote with its own public IP was never written over, neither by us
 *     nor by a clone of us;
 *  2. no write of ours made a leased key permanent or a reservation leased. A key that is missing is
 *     written as it was told last, or as it was between that and the write;
 *  3. our etcd lease did not run out where the store took something for the last three minutes, be
 *     it keeping alive alone;
 *  4. after three and a half minutes in which all is well and nobody interferes, our key is there
 *     with our public IP, status tells it as it is and names no problem; or it was given up, once,
 *     for a reason that was true;
 *  5. never two actions are under way;
 *  6. a key that is missing, spoilt, taken or written by a second host, its kind and its public IP
 *     are said as they change; nothing is done after a loss; an hour of one outage costs at most
 *     three warnings and a bounded number of requests;
 *  7. at most two etcd leases are left behind that this process asked for.
 *
 * What cannot be kept, and is not asked for:
 *
 *   - Who wrote our key is told by its etcd lease. An operator who hangs it on one of his own just
 *     as this host moves looks like the host that has got the address of before. So does an earlier
 *     run's key with an address that this run never had, out of a backup or from a move that was not
 *     saved: given up.
 *   - A store that was set back and went on under the same cluster id may give one revision twice.
 *     No condition can tell a key that was written at it from ours, so the model gives none twice.
 *   - Where the store was set back unnoticed, only a look tells. While that alone fails, for a day,
 *     nothing is written or kept alive.
 *   - An etcd lease whose grant was never answered is not known; it runs out by itself.
 *   - The first listing of another store is believed, also where a write of ours to it was faster: a
 *     loss for what it says may be untrue by then.
 *   - What an operator did and undid within one batch of the watch is not noticed.
 *
 * The same worlds are tried each time. `WEFT_MODEL_SEED=random` tries others, `WEFT_MODEL_STEPS`
 * says how many steps. A failure prints its seed and path: `WEFT_MODEL_SEED=SEED/PATH` runs that
 * one again.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { test } from 'node:test';
import fc from 'fast-check';
import { DEEDS, type Setup, type Step, World } from './world-model.js';

const HOUR = 3_600_000;
const STEPS_A_RUN = 40;
const steps = Number(process.env.WEFT_MODEL_STEPS ?? 20_000);
const [seed, path] = (process.env.WEFT_MODEL_SEED ?? '1').split('/');

const anySetup: fc.Arbitrary<Setup> = fc.record({
  seed: fc.nat(),
  marginMs: fc.constantFrom(HOUR, HOUR, 60_000, 1_439 * 60_000),
  reacquire: fc.boolean(),
});

const anyTime = fc.oneof(
  fc.integer({ min: 0, max: 5_000 }),
  fc.integer({ min: 0, max: 5_000 }),
  fc.integer({ min: 0, max: 300_000 }),
  fc.integer({ min: 0, max: 300_000 }),
  fc.integer({ min: 0, max: HOUR }),
  fc.integer({ min: 0, max: 30 * HOUR }),
);

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: anyTime }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('weather' as const),
      is: fc.constantFrom('calm', 'calm', 'slow', 'lossy', 'away'),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('space' as const), full: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('looks' as const), fail: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('move' as const), to: fc.nat(3) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constantFrom(...DEEDS) }) },
);

async function live(setup: Setup, all: readonly Step[]): Promise<void> {
  const world = new World(setup);
  for (const step of all) {
    // Where a lease is renewed each minute, a day is long.
    const short = step.do === 'pass' && setup.marginMs > HOUR;
    const now = short ? { ...step, ms: Math.min(step.ms, HOUR) } : step;
    const found = await world.run(now as Step);
    assert.deepEqual(found, [], `after ${JSON.stringify(step)}\n${world.log.join('\n')}`);
  }
  assert.deepEqual(await world.end(), [], `at the end\n${world.log.join('\n')}`);
}

test('a lease is held, and no other harmed, whatever happens', async () => {
  const anySteps = fc.array(anyStep, { minLength: 1, maxLength: STEPS_A_RUN, size: 'max' });
  await fc.assert(fc.asyncProperty(anySetup, anySteps, live), {
    includeErrorInReport: true,
    numRuns: Math.ceil((2 * steps) / STEPS_A_RUN),
    ...(seed === 'random' ? {} : { seed: Number(seed) }),
    ...(path ? { path } : {}),
  });
});
