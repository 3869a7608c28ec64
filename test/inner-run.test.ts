import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { skippedIn } from './inner-run.js';

test('what an inner run skipped is found, with both reporters', (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-inner-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'inner.mjs');
  fs.writeFileSync(
    file,
    `import { test } from 'node:test';
     test('runs', () => {});
     test('by option', { skip: 'needs a hat' }, () => {});
     test('inside', (t) => t.skip('needs a coat'));
     test('without a word', { skip: true }, () => {});`,
  );
  const env = { ...process.env };
  delete env.NODE_TEST_CONTEXT;
  for (const reporter of ['tap', 'spec']) {
    const argv = [`--test-reporter=${reporter}`, file];
    const { stdout } = spawnSync(process.execPath, argv, { encoding: 'utf8', env });
    const found = new Map(skippedIn(stdout));
    assert.deepEqual([...found.keys()].sort(), ['by option', 'inside', 'without a word'], stdout);
    assert.equal(found.get('by option'), 'needs a hat');
    assert.equal(found.get('inside'), 'needs a coat');
  }
});
