/** What `weft probe` says of how far it is. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { progressOf } from '../../src/cli/probe/progress.js';

/** All that is said where so many are asked, 16 at a time, each lot for so long. */
function said(all: number, lotMs: number): string[] {
  let now = 1_000;
  const lines: string[] = [];
  const progress = progressOf(all, { now: () => now }, (line) => lines.push(line));
  for (let done = 0; done < all; done += 16) {
    now += lotMs;
    progress(Math.min(16, all - done));
  }
  return lines;
}

test('of a few peers nothing is said: all of it is soon there', () => {
  assert.deepEqual(said(1, 60_000), []);
  assert.deepEqual(said(40, 5_000), []);
  assert.deepEqual(said(160, 1_000), []);
});

test('of many: after the first lot how long it takes, then once a minute, to the end', () => {
  const lines = said(5_000, 5_000);
  assert.equal(
    lines[0],
    '16 of 5,000 peers asked, about 26 minutes to go; those named are asked alone',
  );
  // 313 lots, 26 minutes.
  assert.equal(lines.length, 26);
  assert.equal(
    lines[1],
    '208 of 5,000 peers asked, about 25 minutes to go; those named are asked alone',
  );
  assert.match(lines[10]!, /^1,936 of 5,000 peers/);
  assert.match(lines.at(-1)!, /about 1 minute to go/);
});
