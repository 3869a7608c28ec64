/**
 * The addon built for musl, by musl-gcc. WEFT_MUSL_NODE names a Node built for musl, where there is one:
 * then it is loaded, too.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { type TestContext, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { cLibraryOf } from '../../src/dataplane/io/c-library.js';
import { findProgram } from '../../src/lab/enter.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const { buildAddon } = (await import(pathToFileURL(path.join(ROOT, 'scripts/addon.mjs')).href)) as {
  buildAddon(what: Record<string, unknown>): string | undefined;
};

function built(t: TestContext, compiler: string): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-musl-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'weft.node');
  const native = path.join(ROOT, 'native');
  const headers = path.join(ROOT, 'node_modules/node-api-headers/include');
  const warnings = ['-Wall', '-Wextra', '-Werror'];
  assert.equal(buildAddon({ native, headers, compiler, file, warnings }), undefined);
  return file;
}

/** What a Node makes of an addon: a number of its calls, or why it is refused. */
function loadedBy(node: string, file: string): string {
  const module = pathToFileURL(path.join(ROOT, 'dist/src/dataplane/io/native.js')).href;
  const script = `
    const { loadAddon } = await import('${module}');
    try { console.log(loadAddon('${file}').errnoName(5)); } catch (error) { console.log(error.message); }`;
  const done = spawnSync(node, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  assert.equal(done.status, 0, done.stderr);
  return done.stdout.trim();
}

const lacks = findProgram('musl-gcc') ? false : 'needs musl-gcc (Debian: musl-tools)';
const NODE = process.env.WEFT_MUSL_NODE;

test('CC=musl-gcc builds an addon for musl, without a warning', { skip: lacks }, (t) => {
  assert.equal(cLibraryOf(fs.readFileSync(built(t, 'musl-gcc'))), 'musl');
});

// No Debian has such a Node: where none is named there is nothing to try.
if (NODE !== undefined) {
  test('a Node built for musl loads that one, and refuses the one for glibc', {
    skip: lacks,
  }, (t) => {
    assert.equal(loadedBy(NODE, built(t, 'musl-gcc')), 'EIO');
    const other = built(t, 'gcc');
    if (cLibraryOf(fs.readFileSync(other)) === 'musl') return t.skip('gcc is for musl here');
    assert.match(loadedBy(NODE, other), / is built for glibc, and this Node \(.*\) for musl; /);
  });
}
