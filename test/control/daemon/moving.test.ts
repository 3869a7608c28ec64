/** A running daemon whose address moves, and whose device is taken away. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ELSEWHERE_MS } from '../../../src/control/daemon/underlay.js';
import type { HostGwStatus, Status } from '../../../src/operate/status/status.js';
import { settle } from '../fakes.js';
import { FakeHost, HOST_GW } from './fakes/fake-host.js';

const OWN = '10.10.64.0-24';
const MOVED = [
  'listen 192.168.56.33:8472',
  'stop lanes',
  'unlisten 192.168.56.11:8472',
  'start lanes, MTU 1450',
];

test('another address: sockets there, lanes on them, and the lease says so', async (t) => {
  const host = new FakeHost(t);
  const daemon = await host.started();
  host.take();
  host.readdress('192.168.56.33');
  await host.clock.pass(600);
  assert.equal(daemon.ready, false, 'nothing can come in');
  assert.deepEqual(host.take(), []);
  await host.clock.pass(1_500);
  assert.deepEqual(host.take(), MOVED);
  assert.match(host.store.entries.get(OWN)!.value, /"PublicIP":"192\.168\.56\.33"/);
  assert.equal(daemon.ready, true);
  const { underlay, device } = (await host.status('flannel.1')) as Status;
  assert.deepEqual([underlay.address, underlay.publicIp], ['192.168.56.33', '192.168.56.33']);
  assert.equal(device.mtu, 1450);
  assert.ok(host.store.reconnects > 0, 'old connections would go silent');
});

test('no address: it waits, and says so; back again: nothing has moved', async (t) => {
  const host = new FakeHost(t);
  const daemon = await host.started();
  host.take();
  const link = host.runner.link('ens33')!;
  link.addresses = [];
  await host.clock.pass(6_000);
  assert.equal(daemon.ready, false);
  const { faults } = (await host.status('flannel.1')) as Status;
  assert.match(faults.join(), /^the underlay address 192\.168\.56\.11 is gone from ens33; waiting/);
  link.addresses = ['192.168.56.11/24'];
  await host.clock.pass(3_000);
  assert.equal(daemon.ready, true);
  assert.deepEqual(host.take(), []);
});

test('another address whose port is taken: all stays as it was, until it is free', async (t) => {
  const host = new FakeHost(t);
  const daemon = await host.started();
  host.take();
  host.io.listening.push('192.168.56.33:8472');
  host.readdress('192.168.56.33');
  await host.clock.pass(6_000);
  assert.deepEqual(host.take(), []);
  assert.equal(daemon.ready, false);
  const { faults } = (await host.status('flannel.1')) as Status;
  assert.match(faults.join(), /^UDP port 8472 on 192\.168\.56\.33 is taken/);
  host.io.listening.splice(host.io.listening.indexOf('192.168.56.33:8472'), 1);
  await host.clock.pass(6_000);
  assert.deepEqual(host.take(), MOVED);
  assert.equal(daemon.ready, true);
});

test('another MTU: lanes, device and subnet.env have it, with the counters of before', async (t) => {
  const host = new FakeHost(t);
  await host.started();
  host.take();
  host.runner.link('ens33')!.mtu = 9000;
  await host.clock.pass(3_000);
  assert.deepEqual(host.take(), [
    'stop lanes',
    'ip link set dev flannel.1 mtu 8950',
    'start lanes, MTU 8950',
  ]);
  const [before, now] = host.io.lanes;
  assert.equal(now!.options.mtu, 8950);
  assert.equal(now!.counters, before!.counters);
  assert.match(host.subnetEnv, /^FLANNEL_MTU=8950$/m);
  assert.equal(((await host.status('flannel.1')) as Status).device.mtu, 8950);
});

test('Backend.MTU bounds it, whatever the underlay has', async (t) => {
  const host = new FakeHost(t);
  host.store.config = '{"Network":"10.10.0.0/16","Backend":{"Type":"vxlan","MTU":1400}}';
  await host.started();
  assert.equal(host.io.lanes[0]!.options.mtu, 1350);
  host.runner.link('ens33')!.mtu = 9000;
  await host.clock.pass(3_000);
  assert.equal(host.io.lanes.length, 1);
});

test('into a VRF: the sockets are opened anew in it, the lanes stand meanwhile', async (t) => {
  const host = new FakeHost(t);
  await host.started();
  host.take();
  host.runner.add('vrf1');
  host.runner.link('ens33')!.master = 'vrf1';
  await host.clock.pass(3_000);
  assert.deepEqual(host.take(), [
    'stop lanes',
    'unlisten 192.168.56.11:8472',
    'listen 192.168.56.11:8472 in vrf1',
    'start lanes, MTU 1450',
  ]);
});

test('host-gw moves, too: routes by another interface, another MTU for the containers', async (t) => {
  const host = new FakeHost(t);
  host.store.config = HOST_GW;
  host.peer('10.10.7.0-24', '192.168.56.12', 'host-gw');
  const daemon = await host.started();
  host.take();
  host.runner.delete('ens33');
  host.runner.add('eth0', { mtu: 1400, addresses: ['192.168.56.33/24'] });
  host.runner.routes.push({ dst: 'default', dev: 'eth0', flags: [] });
  await host.clock.pass(ELSEWHERE_MS + 6_000);
  assert.deepEqual(host.runner.routesBy('eth0'), ['10.10.7.0/24', 'default']);
  assert.match(host.store.entries.get(OWN)!.value, /"PublicIP":"192\.168\.56\.33"/);
  assert.match(host.subnetEnv, /^FLANNEL_MTU=1400$/m);
  assert.equal(daemon.ready, true);
  const { underlay, mtu } = (await host.status('host-gw')) as HostGwStatus;
  assert.deepEqual([underlay.interface, underlay.address, mtu], ['eth0', '192.168.56.33', 1400]);
});

test('a device that is taken away is made anew, with its routes, within a second', async (t) => {
  const host = new FakeHost(t);
  host.peer('10.10.7.0-24', '192.168.56.12');
  const daemon = await host.started();
  // In the middle between two looks.
  await host.clock.pass(10_000);
  host.take();
  host.io.takeAway('flannel.1');
  assert.equal(daemon.ready, false);
  assert.deepEqual(daemon.standing, []);
  await host.clock.pass(1_000);
  assert.deepEqual(
    host.take().filter((what) => what !== 'ip ended'),
    [
      'stop lanes',
      'close flannel.1',
      'open flannel.1',
      'ip link set dev flannel.1 mtu 1450',
      'ip link set dev flannel.1 txqueuelen 5000',
      'ip addr add 10.10.64.0/32 dev flannel.1',
      'ip link set dev flannel.1 up',
      'start lanes, MTU 1450',
      'ip route add 10.10.7.0/24 dev flannel.1 proto boot scope link',
    ],
  );
  assert.equal(daemon.ready, true);
  assert.equal(host.io.listening.length, 1, 'the sockets stay');
  assert.deepEqual(host.journal('flannel.1'), ['file', 'device']);
  assert.deepEqual(host.exits, []);
});

test('while its name is taken by another device, that one and its routes are left alone', async (t) => {
  const host = new FakeHost(t);
  host.peer('10.10.7.0-24', '192.168.56.12');
  const daemon = await host.started();
  host.io.takeAway('flannel.1');
  host.runner.add('flannel.1', { mtu: 1234 });
  await settle();
  host.take();
  await host.clock.pass(10_000);
  assert.deepEqual(
    host.take().filter((what) => what.startsWith('ip ') && what !== 'ip ended'),
    [],
  );
  assert.equal(host.runner.link('flannel.1')!.mtu, 1234);
  assert.equal(daemon.ready, false);
  const { faults, lanes } = (await host.status('flannel.1')) as Status;
  assert.match(faults.join(), /^there is a device flannel\.1 already/);
  assert.deepEqual(
    lanes.map(({ running }) => running),
    [false],
  );
  host.runner.delete('flannel.1');
  await host.clock.pass(6_000);
  assert.equal(daemon.ready, true);
  assert.deepEqual(host.runner.routesBy('flannel.1'), ['10.10.7.0/24']);
});
