/**
 * The addon's tests once more, with the addon built by AddressSanitizer and
 * UndefinedBehaviorSanitizer, in a folder of its own. (Neither sees an overrun within the
 * memory that JavaScript registered, which is one piece to them: there the guards do, and
 * what fuzz.test.ts compares.)
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { cLibraryOfNode } from '../../src/dataplane/io/c-library.js';
import { whatTunTestsMiss } from '../dataplane/io/root.js';
import { COMPILER, compile } from './compiler.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
/** Milliseconds for a file; calls at random may be asked to go on for longer. */
const LIMIT = 120_000 + Number(process.env.WEFT_FUZZ_ROUNDS ?? 0);
const FLAGS = [
  ...['-std=gnu11', '-O1', '-g', '-fno-omit-frame-pointer', '-shared', '-fPIC'],
  ...['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-DNAPI_VERSION=8'],
  `-I${path.join(root, 'node_modules/node-api-headers/include')}`,
];

function build(sources: readonly string[], out: string): string | undefined {
  const done = compile([...FLAGS, '-o', out, ...sources]);
  return done.status === 0 ? undefined : (done.error?.message ?? done.stderr);
}

/** The runtime of gcc's AddressSanitizer, which must be there before Node is; undefined without it. */
function runtime(): string | undefined {
  // It would name gcc's, and link another.
  if (/\bclang\b/.test(compile(['--version']).stdout ?? '')) return undefined;
  const done = compile(['-print-file-name=libasan.so']);
  const file = done.stdout?.trim() ?? '';
  return path.isAbsolute(file) && fs.existsSync(file) ? file : undefined;
}

function run(library: string, command: readonly string[], cwd: string) {
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    LD_PRELOAD: library,
    ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0',
    UBSAN_OPTIONS: 'print_stacktrace=1',
  };
  delete env.NODE_TEST_CONTEXT;
  const [program, ...args] = command;
  const done = spawnSync(program!, args, { cwd, env, encoding: 'utf8', timeout: LIMIT });
  return { status: done.status, output: `${done.stdout}\n${done.stderr}` };
}

/** musl-gcc names the libasan of a gcc for glibc. */
const musl = cLibraryOfNode() === 'musl';
const library = musl ? undefined : runtime();
const missing = musl
  ? 'gcc has its sanitizers for glibc, and this Node is built for musl'
  : `needs libasan, of the compiler gcc (${COMPILER} names none)`;

test('sanitizers: they see an overrun in an addon', { timeout: 60_000 }, (t) => {
  if (library === undefined) return t.skip(missing);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-sanitizer-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const source = path.join(folder, 'overrun.c');
  fs.writeFileSync(
    source,
    `#include <node_api.h>
     NAPI_MODULE_INIT() {
       char bytes[4];
       size_t length = 0;
       (void)exports;
       napi_value text;
       napi_create_string_utf8(env, "overrun", NAPI_AUTO_LENGTH, &text);
       napi_get_value_string_utf8(env, text, bytes, 4, &length);
       volatile size_t place = length + 4;
       bytes[place] = 1;
       return text;
     }`,
  );
  const addon = path.join(folder, 'overrun.node');
  assert.equal(build([source], addon), undefined);
  const load = [process.execPath, '-e', `require(${JSON.stringify(addon)})`];
  const { status, output } = run(library, load, folder);
  assert.notEqual(status, 0);
  assert.match(output, /AddressSanitizer|runtime error/);
});

test('sanitizers: the tests of the addon and of the lane, checked', {
  timeout: 180_000 + LIMIT,
}, async (t) => {
  if (library === undefined) return t.skip(missing);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-sanitizer-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  // The same folders in the same places: io/native.ts finds the addon beside it.
  fs.copyFileSync(path.join(root, 'package.json'), path.join(folder, 'package.json'));
  for (const part of ['dist/src/dataplane', 'dist/test/dataplane']) {
    fs.cpSync(path.join(root, part), path.join(folder, part), { recursive: true });
  }
  fs.mkdirSync(path.join(folder, 'native/build'), { recursive: true });
  const sources = fs
    .readdirSync(path.join(root, 'native'))
    .filter((name) => name.endsWith('.c'))
    .map((name) => path.join(root, 'native', name));
  assert.equal(build(sources, path.join(folder, 'native/build/weft.node')), undefined);

  const below = path.join(folder, 'dist/test/dataplane');
  const files = ['io/bounds', 'io/fuzz', 'io/udp-socket', 'io/threads', 'forward/lane-thread'];
  for (const name of files) {
    await t.test(name, (inner) => {
      const file = path.join(below, `${name}.test.js`);
      const { status, output } = run(library, [process.execPath, file], folder);
      assert.equal(status, 0, output);
      for (const [seed] of output.matchAll(/WEFT_SEED=.*/g)) inner.diagnostic(seed);
    });
  }
  await t.test('io/in-namespace', (inner) => {
    const why = whatTunTestsMiss();
    if (why !== undefined) return inner.skip(why);
    const file = path.join(below, 'io/in-namespace.js');
    const command = ['unshare', '--net', process.execPath, file];
    const { status, output } = run(library, command, folder);
    assert.equal(status, 0, output);
  });
});
