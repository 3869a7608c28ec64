/** What is in the place of a route of ours: replaced only if an earlier run may have left it. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { Ip } from '../../../src/control/host/ip.js';
import { RouteSync } from '../../../src/control/host/routes.js';
import { FakeIp, FakeTimers } from './fakes.js';

function rig() {
  const fake = new FakeIp();
  const ip = new Ip(fake, new FakeTimers());
  return { fake, sync: new RouteSync(ip, 'flannel.1', '10.5.0.0/16', { uplink: 'eth0' }) };
}

const CONNECTED = { dev: 'br-x', scope: 'link', protocol: 'kernel', prefsrc: '10.5.93.1' };
const SUBNET = '10.5.93.0/24';

test('a network of another device is never displaced: no route while it is there, one when it goes', async () => {
  const { fake, sync } = rig();
  fake.routes.set(SUBNET, CONNECTED);
  await sync.leave(new Set([SUBNET]));
  assert.deepEqual(await sync.set([SUBNET, '10.5.2.0/24']), { added: 1, removed: 0, problems: [] });
  assert.deepEqual(fake.routes.get(SUBNET), CONNECTED);
  for (let i = 0; i < 3; i += 1) {
    assert.deepEqual(await sync.reconcile(), { added: 0, removed: 0, problems: [] });
  }
  fake.routes.delete(SUBNET);
  await sync.leave(new Set());
  assert.equal(fake.routes.get(SUBNET)?.dev, 'flannel.1', 'at once');
});

test('the peer leaves: nothing of the other device goes', async () => {
  const { fake, sync } = rig();
  fake.routes.set(SUBNET, CONNECTED);
  await sync.leave(new Set([SUBNET]));
  await sync.set([SUBNET]);
  await sync.set([]);
  await sync.reconcile();
  assert.deepEqual([...fake.routes], [[SUBNET, CONNECTED]]);
  assert.deepEqual(
    fake.lines.filter((line) => /replace|del/.test(line)),
    [],
  );
});

test('a device that comes to be in a subnet which has a route of ours: that one goes, named by its device', async () => {
  const { fake, sync } = rig();
  await sync.set([SUBNET]);
  fake.lines.length = 0;
  await sync.leave(new Set([SUBNET]));
  assert.deepEqual(fake.lines, [`route del ${SUBNET} dev flannel.1 proto boot metric 0`]);
  await sync.leave(new Set([SUBNET]));
  assert.equal(fake.lines.length, 1, 'nothing is asked while nothing changes');
});

test('a network that nobody told of yet: the kernel refuses, and it is named by its route', async () => {
  const { fake, sync } = rig();
  fake.routes.set(SUBNET, CONNECTED);
  const report = await sync.set([SUBNET, '10.5.2.0/24']);
  assert.deepEqual(report, { added: 1, removed: 0, problems: [] });
  assert.deepEqual([...sync.taken], [[SUBNET, `${SUBNET} dev br-x proto kernel metric 0`]]);
  assert.deepEqual(fake.routes.get(SUBNET), CONNECTED);
  assert.ok(!fake.lines.some((line) => line.includes('exact')), 'no look through all routes');
});

test("a VPN's route stays, is named while it is there, and ours comes when it goes", async () => {
  const { fake, sync } = rig();
  fake.routes.set(SUBNET, { dev: 'tun0', scope: 'link', protocol: 'static' });
  await sync.set([SUBNET]);
  for (let i = 0; i < 3; i += 1) {
    assert.deepEqual(await sync.reconcile(), { added: 0, removed: 0, problems: [] });
    assert.equal(sync.taken.get(SUBNET), `${SUBNET} dev tun0 proto static metric 0`);
  }
  fake.routes.delete(SUBNET);
  assert.equal((await sync.reconcile()).added, 1);
  assert.equal(sync.taken.size, 0);
});

test("a route of flannel's form is one that an earlier run left: replaced in one step", async () => {
  for (const [left, mayGo] of [
    [{ dev: 'eth0', gateway: '192.168.64.77' }, true],
    [{ dev: 'flannel.7', gateway: '10.5.93.0' }, true],
    [{ dev: 'flannel.7', gateway: '10.5.93.9' }, false],
    [{ dev: 'eth1', gateway: '192.168.64.77' }, false],
    [{ dev: 'eth0', scope: 'link' }, false],
    [{ dev: 'eth0', gateway: '192.168.64.77', protocol: 'static' }, false],
    [{ type: 'unreachable' }, false],
    [{ nexthops: [{ gateway: '192.168.64.5', dev: 'eth0' }] }, false],
  ] as [Record<string, unknown>, boolean][]) {
    const { fake, sync } = rig();
    fake.routes.set(SUBNET, left);
    assert.deepEqual((await sync.set([SUBNET])).problems, []);
    const now = fake.routes.get(SUBNET);
    if (mayGo) assert.deepEqual(now, { dev: 'flannel.1', scope: 'link' });
    else assert.deepEqual(now, left);
    assert.equal(sync.taken.size, mayGo ? 0 : 1);
    assert.deepEqual(
      fake.lines.filter((line) => line.startsWith('route del')),
      [],
    );
  }
});
