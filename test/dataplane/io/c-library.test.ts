/** Node and the addon, each of the C library it was built for; an addon of the other one is not loaded. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  type CLibrary,
  cLibraryOf,
  cLibraryOfNode,
  mismatch,
} from '../../../src/dataplane/io/c-library.js';
import { AddonError, findAddon, loadAddon } from '../../../src/dataplane/io/native.js';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));

/** Lines of /proc/self/maps, of these files. */
const maps = (...files: string[]) =>
  files.map((file) => `7f1200000000-7f1200021000 r-xp 00000000 fe:00 42   ${file}\n`).join('');

/** As much of an addon as tells its C library. */
const addonOf = (library: string) => Buffer.from(`\x7fELF\0memcpy\0${library}\0GLIBC_2.17\0`);

const NAMES = { glibc: 'libc.so.6', musl: 'libc.musl-x86_64.so.1' };

function folderOf(t: TestContext): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-library-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The other one than Node's, as a file's bytes; and what both are. */
function other(t: TestContext): { bytes: Buffer; addon: CLibrary; node: CLibrary } | undefined {
  const node = cLibraryOfNode();
  if (node === undefined) {
    t.skip('Node does not show its C library here');
    return undefined;
  }
  const addon = node === 'glibc' ? 'musl' : 'glibc';
  return { bytes: addonOf(NAMES[addon]), addon, node };
}

test('Node’s C library is told by what is mapped', () => {
  const cases: [CLibrary | undefined, string][] = [
    ['glibc', maps('/usr/bin/node', '/usr/lib/x86_64-linux-gnu/libc.so.6', '[stack]')],
    ['glibc', maps('/lib/x86_64-linux-gnu/libc-2.28.so')],
    ['glibc', maps('/nix/store/x-glibc-2.39/lib/libc.so.6')],
    ['glibc', maps('/usr/lib/x86_64-linux-gnu/libc.so.6 (deleted)')],
    ['musl', maps('/usr/bin/node', '/lib/ld-musl-x86_64.so.1')],
    ['musl', maps('/lib/ld-musl-aarch64.so.1 (deleted)')],
    ['musl', maps('/usr/lib/x86_64-linux-musl/libc.so')],
    // One that has it inside; and no /proc.
    [undefined, maps('/usr/bin/node', '/usr/lib/libcares.so.2', '/home/libc.so.6/node')],
    [undefined, ''],
  ];
  for (const [library, text] of cases) assert.equal(cLibraryOfNode(text), library, text);
});

test('it is the one that Node reports itself', (t) => {
  if (process.report === undefined) return t.skip('this Node has no reports');
  Object.assign(process.report, { excludeNetwork: true });
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  const found = cLibraryOfNode();
  assert.equal(found === 'glibc', header.glibcVersionRuntime !== undefined, found);
});

test('an addon’s is told by what it asks the loader for', () => {
  assert.equal(cLibraryOf(addonOf('libc.so.6')), 'glibc');
  assert.equal(cLibraryOf(addonOf('libc.so')), 'musl');
  assert.equal(cLibraryOf(addonOf('libc.musl-aarch64.so.1')), 'musl');
  assert.equal(cLibraryOf(addonOf('libcares.so.2')), undefined);
  assert.equal(cLibraryOf(Buffer.alloc(0)), undefined);
});

test('weft’s own addon is of Node’s, and nothing is made of what cannot be told', (t) => {
  const addon = findAddon();
  assert.equal(cLibraryOf(fs.readFileSync(addon)), cLibraryOfNode());
  assert.equal(mismatch(addon), undefined);
  const file = path.join(folderOf(t), 'some.node');
  assert.equal(mismatch(file, 'musl'), undefined);
  fs.writeFileSync(file, addonOf('libcares.so.2'));
  assert.equal(mismatch(file, 'musl'), undefined);
  fs.writeFileSync(file, addonOf('libc.so.6'));
  assert.equal(mismatch(file, 'glibc'), undefined);
  assert.deepEqual(mismatch(file, 'musl'), { addon: 'glibc', node: 'musl' });
});

test('an addon for the other one is refused in one sentence, and not loaded', (t) => {
  const found = other(t);
  if (found === undefined) return;
  const file = path.join(folderOf(t), 'weft.node');
  fs.writeFileSync(file, found.bytes);
  const start =
    `weft's addon ${file} is built for ${found.addon}, and this Node (${process.version}, ` +
    `${process.arch}) for ${found.node}; build it with a compiler for ${found.node}`;
  assert.throws(
    () => loadAddon(file),
    (error) =>
      error instanceof AddonError &&
      error.message.startsWith(start) &&
      error.message.endsWith(': npm run setup') &&
      error.cause === undefined,
  );
});

/** As the npm package lies on a disk, with an addon for the other C library and nothing built. */
function installed(t: TestContext, bytes: Buffer): string {
  const folder = folderOf(t);
  fs.copyFileSync(path.join(ROOT, 'package.json'), path.join(folder, 'package.json'));
  fs.cpSync(path.join(ROOT, 'dist/src'), path.join(folder, 'dist/src'), { recursive: true });
  fs.symlinkSync(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'));
  for (const name of ['addon.mjs', 'install.mjs']) {
    fs.mkdirSync(path.join(folder, 'scripts'), { recursive: true });
    fs.copyFileSync(path.join(ROOT, 'scripts', name), path.join(folder, 'scripts', name));
  }
  fs.cpSync(path.join(ROOT, 'native'), path.join(folder, 'native'), { recursive: true });
  fs.rmSync(path.join(folder, 'native/build'), { recursive: true, force: true });
  fs.mkdirSync(path.join(folder, 'native/prebuilt'));
  fs.writeFileSync(path.join(folder, `native/prebuilt/linux-${process.arch}.node`), bytes);
  return folder;
}

const run = (folder: string, file: string, args: string[], env: NodeJS.ProcessEnv = {}) =>
  spawnSync(process.execPath, [path.join(folder, file), ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    timeout: 30_000,
  });

test('weft version and weft up of a package installed without scripts say what to run', (t) => {
  const found = other(t);
  if (found === undefined) return;
  const folder = installed(t, found.bytes);
  const cure = `: node ${folder}/scripts/install.mjs`;
  const version = run(folder, 'dist/src/cli/weft.js', ['version']);
  const line = version.stdout.split('\n').find((one) => one.startsWith('addon'));
  assert.match(line ?? '', new RegExp(` is built for ${found.addon}, .* for ${found.node}; `));
  assert.ok(line?.endsWith(cure), line);
  assert.deepEqual([version.status, version.stderr], [0, '']);

  const argv = ['up', `-run-dir=${folder}/run`, `-subnet-file=${folder}/subnet.env`];
  const up = run(folder, 'dist/src/cli/weft.js', argv);
  const said = up.stderr.trim().split('\n');
  assert.equal(up.status, 1);
  assert.deepEqual(
    said.map((one) => one[0]),
    ['I', 'E'],
    up.stderr,
  );
  assert.ok(said[1]?.endsWith(cure), up.stderr);
});

test('the npm package is built where its addon is for the other one, or says what it takes', (t) => {
  const found = other(t);
  if (found === undefined) return;
  const folder = installed(t, found.bytes);
  const built = path.join(folder, 'native/build/weft.node');
  const compiler = path.join(folder, 'fake-cc');
  const compiles = (library: string) => {
    fs.writeFileSync(`${compiler}.out`, addonOf(library));
    const script = `#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done; cat "$0.out" >"$2"\n`;
    fs.writeFileSync(compiler, script, { mode: 0o755 });
    return run(folder, 'scripts/install.mjs', [], { CC: compiler });
  };
  const fails = compiles(NAMES[found.addon]);
  const [said = '', ...more] = fails.stderr.trim().split('\n');
  assert.deepEqual([fails.status, more, fs.existsSync(built)], [1, [], false], fails.stderr);
  assert.ok(
    said.includes(
      `that is for ${found.addon}, this Node for ${found.node}), and ${compiler} builds for ` +
        `${found.addon}, and this Node is built for ${found.node}: it takes a compiler for ${found.node}`,
    ),
    said,
  );
  const works = compiles(NAMES[found.node]);
  assert.equal(works.stderr, `weft: built the addon for this machine (${process.arch})\n`);
  assert.deepEqual([works.status, fs.readdirSync(path.dirname(built))], [0, ['weft.node']]);
});
