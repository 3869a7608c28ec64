/** Two set-ups in one folder: the second waits, whatever becomes of the first. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Running } from '../../src/lab/command.js';

const MODULE = fileURLToPath(new URL('../../../scripts/setup-turn.mjs', import.meta.url));

/** A process that says so when it is its turn, and then does this. */
function taking(folder: string, then = ''): Running {
  const code =
    `const { takeTurn } = await import('${MODULE}'); await takeTurn('${folder}');` +
    `process.stderr.write('my turn'); ${then}`;
  return new Running('a set-up', [process.execPath, '--input-type=module', '-e', code]);
}

test('a second set-up says that it waits, and goes on when the first is done or killed', async () => {
  const first = taking('/one', 'setInterval(() => {}, 1000);');
  await first.waitFor(/my turn/, 10_000);
  const second = taking('/one');
  await second.waitFor(/another one runs in this folder; waiting/, 10_000);
  const elsewhere = taking('/other');
  await elsewhere.waitFor(/my turn/, 10_000);
  assert.equal(await elsewhere.exited, 0, 'it holds up nobody');
  assert.doesNotMatch(second.output, /my turn/);
  first.kill('SIGKILL');
  await second.waitFor(/my turn/, 10_000);
  assert.equal(await second.exited, 0);
});
