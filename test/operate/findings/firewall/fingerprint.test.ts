import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Runner } from '../../../../src/control/host/runner.js';
import { Fingerprint } from '../../../../src/operate/findings/firewall/fingerprint.js';

test('after a listing of very many rules none is taken for a while', async () => {
  let stdout = 'table ip a {}';
  const runner = {
    run: async () => ({ code: 0, signal: null, stdout, stderr: '' }),
  } as unknown as Runner;
  const fingerprint = new Fingerprint();
  fingerprint.isLarge = false;
  assert.equal(await fingerprint.take({ runner, proc: '/nothing' }), stdout);
  stdout = 'x'.repeat(200_001);
  assert.equal(await fingerprint.take({ runner, proc: '/nothing' }), stdout);
  for (let i = 0; i < 100; i += 1)
    assert.equal(await fingerprint.take({ runner, proc: '/nothing' }), null);
  assert.equal(await fingerprint.take({ runner, proc: '/nothing' }), stdout);
});
