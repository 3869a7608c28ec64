/** How the demo names the command with which to go on. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isOnPath } from '../../../src/cli/demo/summary.js';

test("the weft of PATH is this program when it is a link to it, or a package's script", (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-on-path-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const program = path.join(folder, 'weft.js');
  const other = path.join(folder, 'other.js');
  for (const file of [program, other]) fs.writeFileSync(file, '#!/usr/bin/env node\n');
  const onPath = path.join(folder, 'weft');
  assert.equal(isOnPath(program, undefined), false);
  assert.equal(isOnPath(program, onPath), false, 'not there');
  fs.symlinkSync(program, onPath);
  assert.equal(isOnPath(program, onPath), true);
  assert.equal(isOnPath(other, onPath), false);
  fs.rmSync(onPath);
  fs.writeFileSync(onPath, `#!/bin/sh\nexec /usr/lib/weft/node ${program} "$@"\n`);
  assert.equal(isOnPath(program, onPath), true);
  assert.equal(isOnPath(other, onPath), false);
});

test('npm run demo tells of flags that npm kept for itself', () => {
  const script = fileURLToPath(new URL('../../../../scripts/demo.mjs', import.meta.url));
  const run = (env: Record<string, string>) =>
    spawnSync(process.execPath, [script], {
      encoding: 'utf8',
      timeout: 20_000,
      env: { PATH: '', ...env },
    });
  const { status, stdout, stderr } = run({ npm_config_docker: 'true', npm_config_store: 'file' });
  assert.deepEqual([status, stdout], [2, '']);
  const meant = '--docker --store=file';
  assert.equal(stderr, `weft demo: npm keeps ${meant} for itself; say: npm run demo -- ${meant}\n`);
});
