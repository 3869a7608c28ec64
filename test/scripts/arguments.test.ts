/** What the scripts of package.json say to words that they do not know: a line or two, and exit code 2. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  // As npm would run it: without what this test's own npm and runner say.
  const own = Object.entries(process.env).filter(([name]) => !/^(?:npm_|NODE_TEST)/.test(name));
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
    ...{ cwd: ROOT, encoding: 'utf8', timeout: 60_000 },
    env: { ...Object.fromEntries(own), ...env },
  });
  return { status, lines: (stdout + stderr).trimEnd().split('\n') };
}

const WRONG: readonly [string, readonly string[], RegExp][] = [
  ['scripts/setup.mjs', ['nonsense'], /^weft setup: what is "nonsense"\? usage: npm run setup /],
  ['scripts/setup.mjs', ['test', 'more'], /what is "test more"\?/],
  ['scripts/check.mjs', ['src'], /^what is "src"\? usage: npm run check, or npm run format$/],
  ['scripts/package.mjs', ['rpm'], /what is "rpm"\? usage: npm run package \[-- npm\|deb\]/],
  ['dist/test/soak/soak.js', ['--nope'], /^Unknown option '--nope'\nusage: npm run soak -- /],
  ['dist/test/soak/soak.js', ['--minutes=ten'], /^--minutes=ten is no number\nusage: /],
  ['dist/test/packages/packages.js', ['--only=9'], /^--only=9: there is no such release\nusage: /],
  ['dist/test/packages/run.js', ['--nope'], /^Unknown option '--nope'\nusage: npm run test-pack/],
  ['dist/test/units/units.js', ['more'], /^Unknown option 'more'\nusage: npm run test-units /],
  ['dist/test/fresh/fresh.js', ['--nope'], /^Unknown option '--nope'\nusage: npm run test-fresh /],
  [
    'dist/bench/bench.js',
    ['micro', '--nope'],
    /^bench micro: Unknown option '--nope'; bench\/README/,
  ],
];

for (const [program, args, said] of WRONG) {
  test(`${program} ${args.join(' ')}: why, what there is, and nothing done`, () => {
    const { status, lines } = run(program, args);
    assert.equal(status, 2, lines.join('\n'));
    assert.match(lines.join('\n'), said);
    assert.ok(lines.length <= 2, lines.join('\n'));
  });
}

test('a flag that npm kept for itself is told of before anything is set up', () => {
  const kept = { npm_lifecycle_event: 'bench', npm_config_quick: 'true', npm_config_out: 'x' };
  const { status, lines } = run('scripts/setup.mjs', ['bench'], kept);
  const meant = '--quick --out=x';
  assert.deepEqual(lines, [
    `weft setup: npm keeps ${meant} for itself; say: npm run bench -- ${meant}`,
  ]);
  assert.equal(status, 2);
});

test('a fresh clone is set up before it is checked or formatted', (t) => {
  const clone = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-clone-'));
  t.after(() => fs.rmSync(clone, { recursive: true, force: true }));
  fs.mkdirSync(path.join(clone, 'scripts'));
  for (const name of ['check.mjs', 'house-rules.mjs']) {
    fs.copyFileSync(path.join(ROOT, 'scripts', name), path.join(clone, 'scripts', name));
  }
  fs.writeFileSync(path.join(clone, 'scripts/setup.mjs'), 'console.log("set up"); process.exit(3)');
  for (const args of [[], ['--format']]) {
    assert.deepEqual(run(path.join(clone, 'scripts/check.mjs'), args), {
      status: 3,
      lines: ['set up'],
    });
  }
});
