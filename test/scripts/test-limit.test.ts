/** A test file that never ends is ended, with the name of its test; one that ends is left alone. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { labLacks } from '../../src/lab/enter.js';

const limit = new URL('../../../scripts/test-limit.mjs', import.meta.url).href;
const enter = new URL('../../src/lab/enter.js', import.meta.url).href;
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-limit-'));
const file = path.join(folder, 'tried.mjs');
after(() => fs.rmSync(folder, { recursive: true, force: true }));

/** Runs a test file as the runner does, under these limits in seconds; what it said of its end. */
function run(limits: string, script: string) {
  const begin =
    "import { describe, test } from 'node:test';\n" +
    'const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));\n';
  fs.writeFileSync(file, begin + script);
  const env: NodeJS.ProcessEnv = { ...process.env, NODE_TEST_CONTEXT: 'child', TMPDIR: folder };
  delete env.WEFT_TEST_EVENTS;
  const done = spawnSync(process.execPath, [`--import=${limit}?${limits}`, file], {
    encoding: 'utf8',
    timeout: 30_000,
    env,
  });
  const said = done.stderr.split('\n').filter((line) => line.endsWith('; ending it'));
  assert.deepEqual(fs.readdirSync(folder), ['tried.mjs'], 'nothing of it stays');
  return { signal: done.signal, status: done.status, said: said.join() };
}

const ended = (why: string) => ({
  signal: 'SIGKILL',
  status: null,
  said: `${file} ${why}; ending it`,
});

test('a test that waits for what never comes is ended, by its whole name', () => {
  const script = `
    test('is done', () => {});
    describe('a suite', () => test('waits', () => new Promise(() => setInterval(() => {}, 1000))));`;
  assert.deepEqual(
    run('test=1&after=60&file=60', script),
    ended('stands for 1 s in the test "a suite > waits"'),
  );
});

test('so is a loop that never comes back to its events', () => {
  assert.deepEqual(
    run('test=1&after=60&file=60', "test('loops', async () => { await sleep(10); for (;;); });"),
    ended('stands for 1 s in the test "loops"'),
  );
});

test('so is one in a lab, where the file is process 1', { skip: labLacks() ?? false }, () => {
  const script = `
    const { enterLab, insideLab } = await import('${enter}');
    if (!insideLab()) process.exit(await enterLab());
    test('loops in a lab', async () => { await sleep(10); for (;;); });`;
  assert.deepEqual(
    run('test=1&after=60&file=60', script),
    ended('stands for 1 s in the test "loops in a lab"'),
  );
});

test('a file that goes on after its last test is ended', () => {
  assert.deepEqual(
    run('test=60&after=1&file=60', "test('leaves one', () => { setInterval(() => {}, 1000); });"),
    ended('still runs 1 s after its last test'),
  );
});

test('a file that takes too long as a whole is ended, in a test or not', () => {
  assert.deepEqual(
    run('test=60&after=60&file=1', "test('sleeps', () => sleep(60_000));"),
    ended('still runs after 1 s, in the test "sleeps"'),
  );
  assert.deepEqual(run('test=60&after=60&file=1', 'for (;;);'), ended('still runs after 1 s'));
});

test('tests that end are left alone, however many', () => {
  const script = `
    describe('many', () => { for (let i = 0; i < 4; i += 1) test(String(i), () => sleep(400)); });
    test('around others', async (t) => {
      for (let i = 0; i < 4; i += 1) await t.test(String(i), () => sleep(400));
    });`;
  assert.deepEqual(run('test=1&after=1&file=60', script), { signal: null, status: 0, said: '' });
});
