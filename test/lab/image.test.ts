/** Images hold what their programs need to run. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { packImage } from '../../src/lab/image.js';

test('a program comes with its libraries, also the one that libc opens to end a thread', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-image-'));
  const root = path.join(folder, 'root');
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const tar = await packImage(root, { programs: ['sh'], files: { 'etc/word': 'told\n' } });
  const names = execFileSync('tar', ['-tf', tar], { encoding: 'utf8' }).split('\n');
  const libc = names.find((name) => name.endsWith('/libc.so.6'));
  if (libc === undefined) return t.skip('sh is static here, or needs another C library than glibc');
  assert.ok(names.includes('./bin/sh'), tar);
  assert.ok(names.includes('./etc/word'), tar);
  const unwinder = path.join(path.dirname(libc), 'libgcc_s.so.1');
  if (!fs.existsSync(path.join('/', unwinder))) return t.skip(`this machine has no ${unwinder}`);
  assert.ok(names.includes(`./${unwinder}`), names.join('\n'));
});
