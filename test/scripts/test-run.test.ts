/** Test files run beside each other: each is printed whole when it has ended, and all are counted. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { after, beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const RUNNER = fileURLToPath(new URL('../../../scripts/test-run.mjs', import.meta.url));
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-run-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

/** Runs files of these scripts, `jobs` at a time. */
function run(jobs: number, scripts: Readonly<Record<string, string>>, most = 0) {
  const files = Object.entries(scripts).map(([name, script]) => {
    const file = path.join(folder, `${name}.test.mjs`);
    fs.writeFileSync(file, `import { describe, test } from 'node:test';\n${script}`);
    return file;
  });
  const counts = path.join(folder, 'counts.json');
  const env = { ...process.env, MARK: path.join(folder, 'mark') };
  delete (env as NodeJS.ProcessEnv).NODE_TEST_CONTEXT;
  const argv = [RUNNER, counts, String(jobs), String(most), ...files];
  const { status, stdout } = spawnSync(process.execPath, argv, { encoding: 'utf8', env });
  const { passed, failed, skipped, again } = JSON.parse(fs.readFileSync(counts, 'utf8'));
  const names = [...stdout.matchAll(/^ *[✔✖﹣] (.+?) \([\d.]+ms\)/gm)].map(([, name]) => name);
  return { status, passed, failed, skipped: skipped.length, again, names, stdout };
}

test('a long file begins first and is printed when it has ended, each as a whole', () => {
  const waits = `
    import fs from 'node:fs';
    test('begins', () => {});
    test('waits for the other file', async () => {
      while (!fs.existsSync(process.env.MARK)) await new Promise((done) => setTimeout(done, 20));
      await new Promise((done) => setTimeout(done, 500));
    });`;
  const short = `
    import fs from 'node:fs';
    test('is short', () => fs.writeFileSync(process.env.MARK, ''));`;
  const { status, passed, failed, names, stdout } = run(2, { waits, short });
  assert.deepEqual(names, ['is short', 'begins', 'waits for the other file'], stdout);
  assert.deepEqual([status, passed, failed], [0, 3, 0]);
});

test('files begin in the order in which they are named', () => {
  const { names } = run(1, { z: "test('z', () => {});", a: "test('a', () => {});" });
  assert.deepEqual(names, ['z', 'a']);
});

test('a test that fails, one that is skipped, and a file that cannot begin are counted', () => {
  const { status, passed, failed, skipped, stdout } = run(3, {
    some: `describe('a suite', () => {
      test('fails', () => { throw new Error('as it should'); });
      test('has no hat', { skip: 'needs a hat' }, () => {});
      test('passes', () => {});
    });`,
    broken: "throw new Error('not even that');",
    well: "test('is well', () => {});",
  });
  assert.deepEqual([status, passed, failed, skipped], [1, 2, 2, 1], stdout);
  assert.match(stdout, /failing tests:[\s\S]*as it should/);
  assert.doesNotMatch(stdout, /^ℹ (tests|pass|duration_ms) /m);
});

describe('a file with a test that failed', () => {
  const flaky = `
    import fs from 'node:fs';
    const again = fs.existsSync(process.env.MARK);
    fs.writeFileSync(process.env.MARK, '');
    describe('a suite', () => {
      test('fails once', () => { if (!again) throw new Error('as it should'); });
      test('passes', () => {});
    });`;
  const bad = "test('fails', () => { throw new Error('always'); });";
  beforeEach(() => fs.rmSync(path.join(folder, 'mark'), { force: true }));

  test('runs once more by itself, is counted once, and named', () => {
    const { status, passed, failed, again, stdout } = run(2, { flaky }, 2);
    assert.deepEqual([status, passed, failed], [0, 2, 0], stdout);
    assert.deepEqual(again, ['fails once  [flaky.test.mjs]']);
    assert.match(stdout, /as it should/);
  });

  test('has failed when it fails again', () => {
    const { status, passed, failed, again } = run(2, { bad, flaky }, 2);
    assert.deepEqual([status, passed, failed], [1, 2, 1]);
    assert.deepEqual(again, ['fails once  [flaky.test.mjs]']);
  });

  test('has failed where more of them failed than may', () => {
    const { status, passed, failed, again } = run(2, { bad, flaky }, 1);
    assert.deepEqual([status, passed, failed, again], [1, 1, 2, []]);
  });
});
