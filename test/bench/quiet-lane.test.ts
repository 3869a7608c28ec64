/**
 * A lane under traffic collects nothing and loses no optimised code; and the program that says
 * so sees an object at each lookup. In small: `npm run bench -- quiet-lane` runs ten times as long.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { buildLacks } from '../../bench/build-c.js';
import { collectionsByIsolate, deoptimisations } from '../../bench/v8-traces.js';
import { labLacks } from '../../src/lab/enter.js';

const PROGRAM = fileURLToPath(new URL('../../bench/quiet-lane.js', import.meta.url));

const TRACE = `[45:0x7f00]       31 ms: Scavenge 4.6 (5.2) -> 4.2 (6.0) MB, 0.6 / 0.0 ms
weft: ready
[45:0x5e00]       90 ms: Mark-Compact 4.6 (5.2) -> 4.2 (6.0) MB, 0.6 / 0.0 ms
[45:0x7f00]      131 ms: Scavenge 4.6 (5.2) -> 4.2 (6.0) MB, 0.6 / 0.0 ms
`;

test('collections are told apart by isolate, in the order of their first', () => {
  const found = collectionsByIsolate(TRACE);
  assert.deepEqual([...found.keys()], ['0x7f00', '0x5e00']);
  assert.deepEqual(
    [...found.values()].map((lines) => lines.length),
    [2, 1],
  );
});

test('deoptimisations are counted, and what V8 tells besides is not', () => {
  const text = [
    '[bailout (kind: deopt-eager, reason: Smi): begin. deoptimizing 0x1 <JSFunction step>]',
    '  ;;; deoptimize at <x.js:1:2>, Smi',
    '[bailout end. took 0.1 ms]',
    '[marking dependent code 0x2 (0x3) (opt id 4) for deoptimization, reason: code dependencies]',
  ].join('\n');
  assert.equal(deoptimisations(text).length, 2);
});

const lacks = buildLacks() ?? labLacks({ programs: ['iperf3', 'ethtool', 'stdbuf'], tun: true });

describe('a lane of a real weft', { skip: lacks ?? false, timeout: 600_000 }, () => {
  const run = (...more: string[]) => {
    const argv = [PROGRAM, '--packets=1000000', '--warm-up=2000000', ...more];
    return spawnSync(process.execPath, argv, { encoding: 'utf8', timeout: 150_000 });
  };

  test('a million packets, no collection', () => {
    const { stdout, stderr } = run();
    assert.match(stdout, /^ {2}collections +0 /m, stdout + stderr);
    // While code is compiled there are always some: else V8's files are not where they are looked for.
    assert.match(stdout, /^ {2}deoptimisations +\d+ +\([1-9]/m, stdout + stderr);
  });

  test('an object at each lookup is seen', () => {
    const { stdout, stderr, status } = run('--planted');
    assert.match(stdout, /^ {2}collections +[1-9]/m, stdout + stderr);
    assert.equal(status, 0, stdout + stderr);
  });
});
