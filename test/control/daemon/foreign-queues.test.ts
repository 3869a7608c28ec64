import assert from 'node:assert/strict';
import test from 'node:test';
import { ForeignQueues } from '../../../src/control/daemon/foreign-queues.js';
import type { HostError } from '../../../src/control/host/errors.js';
import type { Opener } from '../../../src/control/host/tun-queues.js';
import { FakeClock } from '../fakes.js';
import { FakeRunner } from '../host/fakes.js';

const SHOW = 'ip -j -d link show dev flannel.1';

function rig(openers: readonly Opener[]) {
  const clock = new FakeClock();
  const answers = { [SHOW]: { stdout: '' } };
  const set = (numqueues: number) => {
    const data = { numqueues, numdisabled: 0 };
    answers[SHOW].stdout = JSON.stringify([{ ifname: 'flannel.1', linkinfo: { info_data: data } }]);
  };
  set(2);
  const runner = new FakeRunner(answers);
  const find = async () => openers;
  const member = new ForeignQueues({ device: 'flannel.1', queues: 2, runner, clock, find });
  return { clock, runner, set, member };
}

test('while all is well it is looked at four times a minute', async () => {
  const { clock, runner, member } = rig([]);
  for (let i = 0; i < 20; i += 1) {
    assert.deepEqual(await member.reconcile(), []);
    await clock.pass(3_000);
  }
  assert.equal(runner.ran.length, 4);
});

test('a foreign queue is a fault that names its process, until it is gone', async () => {
  const { clock, runner, set, member } = rig([{ pid: 42, name: 'sniffer' }]);
  set(3);
  for (let i = 0; i < 3; i += 1) {
    await assert.rejects(member.reconcile(), {
      message:
        "process 42 (sniffer) has opened flannel.1 too (1 queue more than weft's): it gets none " +
        'of its packets, but what it writes there enters this host',
      cure: 'kill 42',
    });
    await clock.pass(3_000);
  }
  assert.equal(runner.ran.length, 3, 'its end is seen at the next look');
  set(2);
  assert.deepEqual(await member.reconcile(), []);
});

test('one whose process is not to be seen is a fault all the same', async () => {
  const { set, member } = rig([]);
  set(4);
  await assert.rejects(member.reconcile(), (error: HostError) => {
    assert.match(error.message, /^a process that weft cannot see .*2 queues/);
    assert.match(error.cure, /^grep -ls flannel\.1 \/proc\/\[0-9\]\*\/fdinfo\/\* /);
    return true;
  });
});

test('a device that is gone has no foreign queue', async () => {
  const { set, member } = rig([]);
  set(0);
  assert.deepEqual(await member.reconcile(), []);
});
