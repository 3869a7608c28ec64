/**
 * The holder of our lease against a model of etcd in which everything goes wrong, in any order.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { test } from 'node:test';
import fc from 'fast-check';
import { DEEDS, type Setup, type Step, World } from './world-model.js';

const HOUR = 3_600_000;
const STEPS_A_RUN = 40;
const steps = Number(process.env.WEFT_MODEL_STEPS ?? 20_000);
/** As a failure prints it: a seed, or `seed/path`, which is the smallest one alone. */
const [seed, path] = (process.env.WEFT_MODEL_SEED ?? '').split('/');

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
    ...(seed ? { seed: Number(seed) } : {}),
    ...(path ? { path } : {}),
  });
});
