/** A test file that never ends is ended; one that ends is left alone. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

const limit = new URL('../../../scripts/test-limit.mjs', import.meta.url).href;

function run(seconds: number, script: string) {
  return spawnSync(process.execPath, [`--import=${limit}?seconds=${seconds}`, '-e', script], {
    encoding: 'utf8',
    timeout: 20_000,
    env: { ...process.env, NODE_TEST_CONTEXT: 'child' },
  });
}

test('what still runs after the limit is killed, and says so', () => {
  const done = run(0.2, 'setInterval(() => {}, 1000)');
  assert.equal(done.signal, 'SIGKILL');
  assert.match(done.stderr, /still runs after 0\.2 s; ending it\n$/);
});

test('so is a loop that never comes back to its events', () => {
  const done = run(0.2, 'for (;;);');
  assert.equal(done.signal, 'SIGKILL');
  assert.match(done.stderr, /still runs after 0\.2 s; ending it\n$/);
});

test('what ends before is not held up', () => {
  const done = run(60, 'setTimeout(() => {}, 10)');
  assert.deepEqual([done.status, done.stderr], [0, '']);
});
