import assert from 'node:assert/strict';
import test from 'node:test';
import { Ip } from '../../../src/control/host/ip.js';
import { RouteSync } from '../../../src/control/host/routes.js';
import { FakeIp, FakeTimers } from './fakes.js';

function rig() {
  const fake = new FakeIp();
  const ip = new Ip(fake, new FakeTimers());
  return { fake, ip, sync: new RouteSync(ip, 'flannel.1', '10.5.0.0/16') };
}

test('the first set lists, adds what is missing, removes what is stale', async () => {
  const { fake, sync } = rig();
  fake.routes.set('10.5.1.0/24', { scope: 'link' });
  fake.routes.set('10.5.9.0/24', { scope: 'link' });
  const report = await sync.set(['10.5.1.0/24', '10.5.2.0/24']);
  assert.deepEqual(report, { added: 1, removed: 1, problems: [] });
  assert.deepEqual(fake.lines, [
    'route show dev flannel.1',
    'route replace 10.5.2.0/24 dev flannel.1 proto boot scope link',
    'route del 10.5.9.0/24 dev flannel.1 proto boot metric 0',
  ]);
});

test('a later set compares in memory and costs only its change', async () => {
  const { fake, sync } = rig();
  await sync.set(['10.5.1.0/24']);
  fake.lines.length = 0;
  await sync.set(['10.5.1.0/24', '10.5.2.0/24']);
  await sync.set(['10.5.1.0/24', '10.5.2.0/24']);
  assert.deepEqual(fake.lines, ['route replace 10.5.2.0/24 dev flannel.1 proto boot scope link']);
});

test("flannel's form is replaced; foreign routes stay", async () => {
  const { fake, sync } = rig();
  fake.routes.set('10.5.1.0/24', { gateway: '10.5.1.0' });
  const foreign: [string, Record<string, unknown>][] = [
    ['172.16.0.0/12', { scope: 'link' }],
    ['default', { scope: 'link' }],
    ['10.5.7.0/24', { scope: 'link', protocol: 'static' }],
    ['10.5.8.0/24', { scope: 'link', metric: 7 }],
    ['10.5.6.0/24', { type: 'blackhole' }],
  ];
  for (const [dst, rest] of foreign) fake.routes.set(dst, rest);
  await sync.set(['10.5.1.0/24']);
  await sync.set([]);
  assert.deepEqual([...fake.routes], foreign);
});

test('a route outside the network that was installed here is ours', async () => {
  const { fake, sync } = rig();
  await sync.set(['10.99.1.0/24']);
  // Both at once: the list is read when the route is no longer desired.
  await Promise.all([sync.reconcile(), sync.set([])]);
  assert.deepEqual([...fake.routes], []);
});

test('changes that come while a batch runs are coalesced into the newest set', async () => {
  const { fake, sync } = rig();
  await sync.set([]);
  fake.lines.length = 0;
  fake.held = [];
  const first = sync.set(['10.5.1.0/24']);
  await new Promise(setImmediate);
  const others = [2, 3, 4, 5].map((n) => sync.set([`10.5.${n}.0/24`]));
  fake.release();
  const reports = await Promise.all([first, ...others]);
  assert.deepEqual([...fake.routes.keys()], ['10.5.5.0/24']);
  assert.equal(fake.lines.length, 3);
  for (const report of reports) assert.deepEqual(report.problems, []);
});

test('a thousand peers at once, then none', async () => {
  const { fake, sync } = rig();
  const peers = Array.from({ length: 1000 }, (_, i) => `10.5.${i >> 3}.${(i & 7) * 32}/27`);
  assert.deepEqual(await sync.set(peers), { added: 1000, removed: 0, problems: [] });
  assert.deepEqual([...fake.routes.keys()], peers);
  assert.deepEqual(await sync.set([]), { added: 0, removed: 1000, problems: [] });
  assert.equal(fake.routes.size, 0);
});

test('reconcile puts back what was flushed', async () => {
  const { fake, sync } = rig();
  await sync.set(['10.5.1.0/24', '10.5.2.0/24']);
  fake.routes.delete('10.5.1.0/24');
  assert.deepEqual(await sync.reconcile(), { added: 1, removed: 0, problems: [] });
  assert.equal(fake.routes.size, 2);
});

test('a route that is already gone is no problem', async () => {
  const { fake, sync } = rig();
  await sync.set(['10.5.1.0/24']);
  fake.routes.clear();
  assert.deepEqual(await sync.set([]), { added: 0, removed: 1, problems: [] });
});

test('a value that is no subnet is named and costs only itself', async () => {
  const { fake, sync } = rig();
  const report = await sync.set([
    '10.5.1.0/99',
    '0.0.0.0/0',
    '10.5.1.7/24',
    'x; reboot',
    '10.5.1.0/24',
  ]);
  assert.equal(report.problems.length, 4);
  assert.match(report.problems[0]!, /no route to "10.5.1.0\/99": that is not a subnet/);
  assert.deepEqual([...fake.routes.keys()], ['10.5.1.0/24']);
});

test('a refused route is tried once more with a new child, then reported; others go in', async () => {
  const { fake, sync } = rig();
  const line = 'route replace 10.5.1.0/24 dev flannel.1 proto boot scope link';
  fake.refuse.set(line, 'RTNETLINK answers: No such device');
  const report = await sync.set(['10.5.1.0/24', '10.5.2.0/24']);
  assert.deepEqual(report.problems, [`ip ${line}: RTNETLINK answers: No such device`]);
  assert.deepEqual([...fake.routes.keys()], ['10.5.2.0/24']);
  assert.equal(fake.starts, 2);
  fake.refuse.clear();
  assert.deepEqual((await sync.set(['10.5.1.0/24', '10.5.2.0/24'])).problems, []);
  assert.equal(fake.routes.size, 2);
});

test('a route that was refused once only goes in by the second try', async () => {
  const { fake, sync } = rig();
  await sync.set([]);
  const line = 'route replace 10.5.1.0/24 dev flannel.1 proto boot scope link';
  fake.refuse.set(line, 'RTNETLINK answers: No such device');
  fake.held = [];
  const done = sync.set(['10.5.1.0/24']);
  await new Promise(setImmediate);
  fake.release();
  queueMicrotask(() => fake.refuse.clear());
  assert.deepEqual(await done, { added: 1, removed: 0, problems: [] });
});

test('refused routes do not hold up a thousand others', async () => {
  const { fake, sync } = rig();
  const peers = Array.from({ length: 1000 }, (_, i) => `10.5.${i >> 3}.${(i & 7) * 32}/27`);
  for (const peer of peers.slice(0, 300)) {
    fake.refuse.set(`route replace ${peer} dev flannel.1 proto boot scope link`, 'no');
  }
  const report = await sync.set(peers);
  assert.equal(report.problems.length, 300);
  assert.deepEqual([...fake.routes.keys()], peers.slice(300));
});

test('a route that went in while the child died is not forgotten', async () => {
  const { fake, sync } = rig();
  await sync.set([]);
  const bad = 'route replace 10.5.2.0/24 dev flannel.1 proto boot scope link';
  fake.refuse.set(bad, 'end');
  const failed = await sync.set(['10.5.1.0/24', '10.5.2.0/24']);
  assert.match(failed.problems[0]!, /routes on flannel.1 are not up to date: ip ended/);
  assert.deepEqual([...fake.routes.keys()], ['10.5.1.0/24']);
  assert.deepEqual((await sync.set([])).problems, []);
  assert.equal(fake.routes.size, 0);
});

test('a child that dies is replaced without a problem', async () => {
  const { fake, ip, sync } = rig();
  await sync.set(['10.5.1.0/24']);
  ip.restart();
  assert.deepEqual((await sync.set(['10.5.2.0/24'])).problems, []);
  assert.deepEqual([...fake.routes.keys()], ['10.5.2.0/24']);
});
