/** The search for the highest rate that holds, on systems whose limit is known. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { highestRate, type SearchOptions } from '../../bench/search.js';

const OPTIONS: SearchOptions = { short: 0.5, long: 5, first: 40_000, most: 4_000_000 };

/** Holds up to `short` in a short trial, up to `long` in a long one; counts and times the trials. */
function system(short: number, long = short) {
  const trials: { rate: number; seconds: number }[] = [];
  const holds = async (rate: number, seconds: number): Promise<boolean> => {
    trials.push({ rate, seconds });
    return rate <= (seconds < 5 ? short : long);
  };
  const cost = (): number => trials.reduce((sum, { seconds }) => sum + seconds, 0);
  return { holds, trials, cost };
}

function within(found: number, limit: number, least: number): void {
  assert.ok(found <= limit && found >= limit * least, `${found} for ${limit}`);
}

test('finds limits over the whole range to 4 %, never above them', async () => {
  for (let limit = 5_000; limit < 3_000_000; limit *= 1.37) {
    const { holds, trials } = system(limit);
    within(await highestRate(holds, OPTIONS), limit, 1 / 1.04);
    assert.deepEqual(
      trials.slice(-3).map(({ seconds }) => seconds),
      [5, 5, 5],
    );
  }
});

test('goes down until three long trials in a row hold', async () => {
  const { holds, trials } = system(200_000, 150_000);
  within(await highestRate(holds, OPTIONS), 150_000, 0.93);
  const last = trials.slice(-3);
  assert.ok(last.every(({ rate, seconds }) => seconds === 5 && rate === last[0]!.rate));
});

test('a rate that holds twice and then not does not count', async () => {
  let longs = 0;
  const holds = async (rate: number, seconds: number): Promise<boolean> => {
    if (seconds < 5) return rate <= 100_000;
    longs += 1;
    return rate < 96_000 || longs % 3 !== 0;
  };
  assert.ok((await highestRate(holds, OPTIONS)) < 96_000);
});

test('an earlier result makes it cheap: under half of the short trials, one round of long ones', async () => {
  const fresh = system(140_000);
  const first = await highestRate(fresh.holds, OPTIONS);
  const again = system(150_000);
  within(await highestRate(again.holds, { ...OPTIONS, previous: first }), 150_000, 1 / 1.04);
  assert.ok(again.cost() < fresh.cost());
  assert.ok(again.cost() <= 25, `${again.cost()} s`);
});

test('an earlier result that does not hold any more misleads nobody, either way', async () => {
  for (const previous of [40_000, 3_000_000]) {
    const { holds } = system(300_000);
    within(await highestRate(holds, { ...OPTIONS, previous }), 300_000, 1 / 1.04);
  }
});

test('what carries nothing gives 0, and what carries all comes to an end', async () => {
  assert.equal(await highestRate(async () => false, OPTIONS), 0);
  assert.equal(await highestRate(async () => false, { ...OPTIONS, previous: 90_000 }), 0);
  assert.ok((await highestRate(async () => true, OPTIONS)) >= OPTIONS.most / 2);
});

test('a short trial that fails by chance misleads nobody', async () => {
  for (let wrong = 0; wrong < 12; wrong += 1) {
    let shorts = 0;
    const holds = async (rate: number, seconds: number): Promise<boolean> => {
      if (seconds < 5) shorts += 1;
      return rate <= 200_000 && !(seconds < 5 && shorts === wrong + 1);
    };
    within(await highestRate(holds, OPTIONS), 200_000, 1 / 1.04);
  }
});
