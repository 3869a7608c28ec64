/** The C code compiles without a warning, with more of them on than a build has. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const cc = process.env.CC ?? 'cc';
const WARNINGS = ['all', 'extra', 'conversion', 'shadow', 'pointer-arith', 'cast-align', 'undef'];

test('no warning in native/, conversions and shadowing included', { timeout: 60_000 }, (t) => {
  if (spawnSync(cc, ['--version']).status !== 0) return t.skip(`needs a C compiler (${cc})`);
  const sources = fs.readdirSync(path.join(root, 'native')).filter((name) => name.endsWith('.c'));
  assert.ok(sources.length >= 5, `only ${sources.join(' ')}`);
  for (const source of sources) {
    const done = spawnSync(
      cc,
      [
        ...[
          '-std=gnu11',
          '-O2',
          '-fPIC',
          '-c',
          '-DNAPI_VERSION=8',
          '-Inode_modules/node-api-headers/include',
        ],
        ...WARNINGS.map((name) => `-W${name}`),
        ...['-Werror', '-o', '/dev/null', path.join('native', source)],
      ],
      { cwd: root, encoding: 'utf8' },
    );
    assert.equal(done.status, 0, done.stderr);
  }
});
