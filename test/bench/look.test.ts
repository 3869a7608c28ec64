/** What `look` makes of its slices. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge, lookersOf, roundOf } from '../../bench/look-round.js';
import { meanOf } from '../../bench/statistics.js';

const slice = (gigabits: number, work: number, status: number, weft = 0.5) => {
  const lookers = { weft, status, page: 0, reader: 0.25, capture: 0 };
  return { gigabits, work, lookers };
};

function near(value: number, wanted: number, by = 1e-9): void {
  assert.ok(Math.abs(value - wanted) <= by, `${value} is not ${wanted}`);
}

test('a round: what those who look cost, and nothing for a machine that slows down evenly', () => {
  const drifts = roundOf([8, 7.5, 7, 6.5].map((speed) => slice(speed, 1000 / speed, 0.01)));
  near(drifts.loss, 0);
  near(lookersOf(drifts), 0);
  const looks = roundOf([
    slice(8, 100, 0.01),
    slice(7, 104, 0.03),
    slice(7, 106, 0.04, 0.51),
    slice(8, 100, 0.01),
  ]);
  near(looks.loss, 1 / 8);
  near(looks.work, 0.05);
  near(looks.lookers.status, 0.025);
  near(looks.lookers.weft, 0.005);
  near(lookersOf(looks), 0.03);
});

test('a mean: its 95 % interval is that of Student for so few values', () => {
  const { n, mean, median, interval } = meanOf([1, 2, 3, 4, 10]);
  assert.deepEqual([n, mean, median], [5, 4, 3]);
  // s = sqrt(12.5), t(4) = 2.776
  near(interval, 2.776 * Math.sqrt(12.5 / 5), 0.05);
  near(meanOf([5, 5, 5]).interval, 0);
  assert.equal(meanOf([5]).interval, Number.POSITIVE_INFINITY);
  assert.throws(() => meanOf([]), RangeError);
});

test('what is said of a loss: only what its whole interval says', () => {
  const of = (mean: number, interval: number) => judge({ n: 9, mean, median: mean, interval });
  assert.equal(of(0.01, 0.005), 'less than 2 %');
  assert.equal(of(0.03, 0.005), 'more than 2 %');
  assert.equal(of(0.019, 0.005), 'not resolved');
  assert.equal(of(0.021, 0.005), 'not resolved');
});
