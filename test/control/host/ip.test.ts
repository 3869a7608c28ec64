import assert from 'node:assert/strict';
import test from 'node:test';
import { Ip } from '../../../src/control/host/ip.js';
import type { Listener } from '../../../src/control/host/runner.js';
import { FakeIp, FakeTimers } from './fakes.js';

const add = (subnet: string) => `route replace ${subnet} dev flannel.1`;

test('changes go to one child, and a failing line is named with its reason', async () => {
  const fake = new FakeIp();
  fake.refuse.set(add('10.5.2.0/24'), 'RTNETLINK answers: File exists');
  const ip = new Ip(fake, new FakeTimers());
  assert.deepEqual(await ip.change([add('10.5.1.0/24')]), []);
  assert.deepEqual(await ip.change([add('10.5.1.0/24'), add('10.5.2.0/24'), add('10.5.3.0/24')]), [
    { line: add('10.5.2.0/24'), reason: 'RTNETLINK answers: File exists' },
  ]);
  assert.deepEqual([...fake.routes.keys()], ['10.5.1.0/24', '10.5.3.0/24']);
  assert.equal(fake.starts, 1);
});

test('batches asked for at once run one after the other', async () => {
  const fake = new FakeIp();
  const ip = new Ip(fake, new FakeTimers());
  const lines = ['10.5.1.0/24', '10.5.2.0/24', '10.5.3.0/24'].map(add);
  await Promise.all(lines.map((line) => ip.change([line])));
  assert.deepEqual(fake.lines, lines);
});

test('a query waits for the rest of its answer, which comes after the mark', async () => {
  const fake = new FakeIp();
  fake.routes.set('10.5.1.0/24', { dev: 'flannel.1' });
  const ip = new Ip(fake, new FakeTimers());
  assert.deepEqual(await ip.query('route show table main dev flannel.1 proto boot'), [
    { dst: '10.5.1.0/24', flags: [] },
  ]);
  fake.routes.clear();
  assert.deepEqual(await ip.query('route show table main dev flannel.1 proto boot'), []);
});

test('a refused query rejects with the words of ip', async () => {
  const fake = new FakeIp();
  fake.refuse.set('route show dev gone', 'Cannot find device "gone"');
  const ip = new Ip(fake, new FakeTimers());
  await assert.rejects(ip.query('route show dev gone'), /ip route show dev gone: Cannot find/);
});

test('a child that ends is told, and the next batch has a new one', async () => {
  const fake = new FakeIp();
  fake.refuse.set('bad', 'end');
  const ip = new Ip(fake, new FakeTimers());
  await assert.rejects(ip.change(['bad']), /ip ended \(code 255\)/);
  assert.deepEqual(await ip.change([add('10.5.1.0/24')]), []);
  assert.equal(fake.starts, 2);
});

test('a child that hangs is given up', async () => {
  const fake = new FakeIp();
  const timers = new FakeTimers();
  const ip = new Ip(fake, timers);
  fake.silent = true;
  const hanging = ip.change([add('10.5.1.0/24')]);
  await Promise.resolve();
  timers.ring();
  await assert.rejects(hanging, /did not answer within 10 s/);
  fake.silent = false;
  assert.deepEqual(await ip.change([add('10.5.1.0/24')]), []);
  assert.equal(timers.waiting.size, 0);
});

test('many listings: each line has its answer or its reason, whichever failed', async () => {
  const fake = new FakeIp();
  fake.ways.set('10.0.0.1', { dev: 'eth0' });
  fake.ways.set('10.0.0.3', { dev: 'eth1' });
  const ip = new Ip(fake, new FakeTimers());
  const get = (last: number) => `route get 10.0.0.${last}`;
  const answers = await ip.queryAll([1, 2, 3, 4].map(get));
  assert.deepEqual(answers.get(get(1)), [{ dst: '10.0.0.1', dev: 'eth0', flags: [] }]);
  assert.match(String(answers.get(get(2))), /Network is unreachable/);
  assert.deepEqual(answers.get(get(3)), [{ dst: '10.0.0.3', dev: 'eth1', flags: [] }]);
  assert.match(String(answers.get(get(4))), /Network is unreachable/);
  assert.equal((await ip.queryAll([get(2), get(4)])).size, 2);
  assert.equal((await ip.queryAll([])).size, 0);
  assert.equal(fake.starts, 1);
});

test('listings of a large table are made by a program each, for a while', async () => {
  const fake = new FakeIp();
  const timers = new FakeTimers();
  const ran: string[] = [];
  const answers = [
    { code: 0, signal: null, stdout: '[{"dst":"10.5.1.0/24"}]\n', stderr: '' },
    { code: 0, signal: null, stdout: '[ ]\n', stderr: '' },
    { code: 0, signal: null, stdout: '', stderr: '' },
    { code: 1, signal: null, stdout: '', stderr: 'Cannot find device "flannel.1"\n' },
  ];
  const runner = {
    start: (argv: readonly string[], listener: Listener) => {
      const child = fake.start(argv, listener);
      const write = (text: string) => {
        timers.ms += 21;
        child.write(text);
      };
      return { ...child, write };
    },
    run: async (argv: readonly string[]) => {
      ran.push(argv.join(' '));
      return answers[(ran.length - 1) % 4]!;
    },
  };
  const ip = new Ip(runner, timers);
  const line = 'route show table main dev flannel.1 proto boot';
  assert.deepEqual((await ip.listAll([line])).get(line), []);
  assert.deepEqual(ran, []);
  assert.deepEqual((await ip.listAll([line])).get(line), [{ dst: '10.5.1.0/24' }]);
  assert.deepEqual(ran, [`ip -j ${line}`]);
  assert.deepEqual((await ip.listAll([line])).get(line), []);
  assert.equal((await ip.listAll([line])).get(line), 'ip did not answer in JSON');
  assert.equal((await ip.listAll([line])).get(line), 'Cannot find device "flannel.1"');
  for (let i = 0; i < 96; i += 1) await ip.listAll([line]);
  assert.equal(ran.length, 100);
  await ip.listAll([line]);
  assert.equal(ran.length, 100, 'the table may be small again');
});

test('a listing of its own that is killed is an error, and none is made once it is closed', async () => {
  const timers = new FakeTimers();
  const fake = new FakeIp();
  const runner = {
    start: (argv: readonly string[], listener: Listener) => {
      timers.ms += 100;
      return fake.start(argv, listener);
    },
    run: async () => ({ code: null, signal: 'SIGKILL' as const, stdout: '', stderr: '' }),
  };
  const ip = new Ip(runner, timers);
  const line = 'route show table main dev flannel.1 proto boot';
  await ip.listAll([line]);
  await assert.rejects(ip.listAll([line]), /ip ended \(SIGKILL\)/);
  await ip.close();
  await assert.rejects(ip.listAll([line]), /ip is closed/);
});
