import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import process from 'node:process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

/** Why the test cannot run here, or false. */
function missing(): string | false {
  if (process.getuid?.() !== 0) return 'needs root';
  if (!fs.existsSync('/dev/net/tun')) return '/dev/net/tun is missing';
  const tried = spawnSync('unshare', ['--net', 'ip', 'link']);
  return tried.status === 0 ? false : 'unshare --net or ip is missing';
}

test('a lane thread starts, sleeps, survives its TUN, stops', { skip: missing() }, () => {
  const child = fileURLToPath(new URL('./lane-child.js', import.meta.url));
  const done = spawnSync('unshare', ['--net', process.execPath, child], {
    encoding: 'utf8',
    timeout: 30_000,
  });
  assert.equal(done.status, 0, done.stderr);
});
