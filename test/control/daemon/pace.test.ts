import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pace, type PaceOptions } from '../../../src/control/daemon/pace.js';
import { FakeClock } from '../fakes.js';

/** Runs it whenever it is due, at most once a second; each time lasts `lastsMs` and costs `costsMs`. */
async function times(
  lastsMs: number,
  costsMs: number | undefined,
  seconds: number,
  options: PaceOptions = {},
): Promise<number[]> {
  const clock = new FakeClock();
  let spent = 0;
  const told = costsMs === undefined ? undefined : () => spent;
  const pace = new Pace(clock, { ...options, spent: told });
  const ran: number[] = [];
  for (let now = 0; now < seconds; now += 1) {
    if (pace.isDue) {
      ran.push(now);
      await pace.run(async () => {
        spent += costsMs ?? 0;
        await clock.pass(lastsMs);
      });
    }
    await clock.pass(Math.max(0, 1_000 * (now + 1) - clock.now()));
  }
  return ran;
}

test('what waits for others is not what it costs: the processor says that, from the first time on', async () => {
  assert.equal((await times(500, 1, 20)).length, 20);
  assert.deepEqual(await times(10, 10, 13), [0, 5, 10]);
  assert.deepEqual(await times(10, 10, 13), await times(900, 10, 13));
});

test('where the kernel does not tell, the shortest of the last times counts', async () => {
  assert.deepEqual(await times(10, undefined, 13), [0, 5, 10]);
});

test('before it is known for sure, nothing is put off for long', async () => {
  const ran = await times(500, undefined, 200);
  assert.deepEqual(ran.slice(0, 5), [0, 11, 22, 33, 44]);
  assert.ok(ran[5]! >= 104, String(ran));
  const told = await times(500, 500, 200);
  assert.deepEqual(told.slice(0, 3), [0, 11, 72]);
  const sure = await times(100, 100, 400, { share: 1_000, longestMs: 300_000, sureAfter: 1 });
  assert.deepEqual(sure, [0, 101, 202, 303]);
});

test('one that is replaced by another, whose count begins at nothing, has cost as long as it lasted', async () => {
  const clock = new FakeClock();
  let spent = 1_000;
  const pace = new Pace(clock, { spent: () => spent });
  await pace.run(async () => {
    spent = 1;
    await clock.pass(10);
  });
  await clock.pass(3_999);
  assert.equal(pace.isDue, false);
  await clock.pass(1);
  assert.equal(pace.isDue, true);
});
