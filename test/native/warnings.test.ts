/** The C code compiles without a warning, with more of them on than a build has. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { cLibraryOfNode } from '../../src/dataplane/io/c-library.js';
import { COMPILER, compile } from './compiler.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const WARNINGS = ['all', 'extra', 'conversion', 'shadow', 'pointer-arith', 'cast-align', 'undef'];
const FLAGS = ['-std=gnu11', '-O2', '-fPIC', '-c', '-DNAPI_VERSION=8'];
/** Those of Debian 12 and 13, for which the code is written; another's warnings stop nobody. */
const KNOWN = /^\S+ \(Debian 1[24]\.\S+\) 1[24]\./;

test('no warning in native/, conversions and shadowing included', { timeout: 60_000 }, (t) => {
  const version = compile(['--version']);
  if (version.status !== 0) return t.skip(`needs a C compiler (${COMPILER})`);
  const sources = fs.readdirSync(path.join(root, 'native')).filter((name) => name.endsWith('.c'));
  assert.ok(sources.length >= 5, `only ${sources.join(' ')}`);
  // Its ioctl takes an int, which the kernel's numbers do not fit.
  const musl = /musl-/.test(COMPILER) || cLibraryOfNode() === 'musl';
  const headers = '-Inode_modules/node-api-headers/include';
  const flags = [...FLAGS, headers, ...WARNINGS.map((name) => `-W${name}`), '-o', '/dev/null'];
  for (const source of sources) {
    const done = compile([...flags, path.join('native', source)], root);
    assert.equal(done.status, 0, done.stderr);
    if (KNOWN.test(version.stdout) && !musl) assert.equal(done.stderr, '');
    else if (done.stderr !== '') t.diagnostic(done.stderr);
  }
});
