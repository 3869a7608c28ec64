/** Runs in-namespace.ts: the TUN's tests, which need root and a network namespace. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { whatTunTestsMiss } from './root.js';

test('the TUN, in a namespace of its own', { timeout: 120_000 }, (t) => {
  const missing = whatTunTestsMiss();
  if (missing !== undefined) return t.skip(missing);
  const inside = fileURLToPath(new URL('./in-namespace.js', import.meta.url));
  const env = { ...process.env };
  delete env.NODE_TEST_CONTEXT; // else it would report to our own runner
  const done = spawnSync(
    'unshare',
    ['--net', process.execPath, '--enable-source-maps', '--test-reporter=spec', inside],
    { encoding: 'utf8', env, timeout: 100_000 },
  );
  assert.equal(done.status, 0, `${done.stdout}\n${done.stderr}`);
  const passed = Number(/pass (\d+)/.exec(done.stdout)?.[1]);
  assert.ok(passed >= 10, `only ${passed} ran:\n${done.stdout}`);
});
