/** What is wrong with rules, in the keeper's words. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Keeper, type RuleSet } from '../../../src/control/daemon/keeper.js';
import { HostError } from '../../../src/control/host/errors.js';
import { FakeClock, Lines } from '../fakes.js';

test('what cannot be set is a fault, in the words of the first time, while it lasts', async () => {
  const clock = new FakeClock();
  const log = new Lines();
  let tries = 0;
  const set: RuleSet = {
    ...{ name: 'rules', obstacles: [], remark: '', done: '' },
    refusal: (why) => ({ text: `no rules: ${why}`, cure: '' }),
    witness: async () => null,
    ensure: async () => {
      tries += 1;
      throw new HostError('EIO', `try ${tries}`);
    },
  };
  const keeper = new Keeper(clock, log, 5_000, () => null);
  keeper.add(set);
  await keeper.start();
  await clock.pass(20_000);
  assert.ok(tries >= 3, `${tries} tries`);
  assert.deepEqual(
    keeper.faults.map(({ text }) => text),
    ['no rules: try 1'],
  );
  assert.deepEqual(log.lines, [], 'the teller says it');
  await keeper.stop();
});
