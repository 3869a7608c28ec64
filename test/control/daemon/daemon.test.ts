/** A daemon that starts, runs and is asked, on a host that is not there. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { UNKNOWN_HEALTH } from '../../../src/operate/status/peer-health.js';
import { type HostGwStatus, isStarting, type Status } from '../../../src/operate/status/status.js';
import { settle } from '../fakes.js';
import { EARLIER, FakeHost, HOST_GW } from './fakes/fake-host.js';

const FIREWALL = {
  ...{ masquerade: true, fullyRandom: true, forward: true },
  ...{ guard: true, resyncMs: 5_000 },
};

test('vxlan: sockets and TUN, lease, device, lanes, then the routes, each in its turn', async (t) => {
  const host = new FakeHost(t);
  host.peer('10.10.7.0-24', '192.168.56.12');
  const daemon = await host.started();
  assert.deepEqual(host.take(), [
    'listen 192.168.56.11:8472',
    'open flannel.1',
    'ip link set dev flannel.1 mtu 1450',
    'ip link set dev flannel.1 txqueuelen 5000',
    'ip addr add 10.10.64.0/32 dev flannel.1',
    'ip link set dev flannel.1 up',
    'start lanes, MTU 1450',
    'ip route add 10.10.7.0/24 dev flannel.1 proto boot scope link',
  ]);
  const { vni, mtu, accept, peerSockets } = host.io.lanes[0]!.options;
  assert.deepEqual([vni, mtu, accept], [1, 1450, 'peers']);
  assert.ok(peerSockets! > 0);
  assert.equal(
    host.subnetEnv,
    'FLANNEL_NETWORK=10.10.0.0/16\nFLANNEL_SUBNET=10.10.64.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n',
  );
  assert.equal(
    host.io.routesAtStart,
    1,
    'what is for our own subnet is known from the first packet',
  );
  assert.ok(host.log.lines.includes('info: underlay ens33, address 192.168.56.11, MTU 1500'));
  assert.equal(daemon.ready, true);
  assert.deepEqual(daemon.look(), {
    ready: true,
    status: 'flannel.1 10.10.64.0/24, 1 peer',
    alive: true,
  });
});

test('vxlan: at the end all goes in the reverse order, and what others need stays', async (t) => {
  const host = new FakeHost(t);
  await host.started();
  host.take();
  await host.lifecycle.leave(0, 'got SIGTERM');
  assert.deepEqual(host.take(), [
    'ip monitor ended',
    'stop lanes',
    'unlisten 192.168.56.11:8472',
    'close flannel.1',
    'ip ended',
    'follow no more',
    'close the store',
  ]);
  assert.deepEqual(host.exits, [0]);
  assert.deepEqual([...host.store.entries.keys()], ['10.10.64.0-24'], 'the lease stays');
  assert.match(host.subnetEnv, /MTU=1450/, 'so does subnet.env');
  assert.deepEqual(host.journal('flannel.1'), ['file'], 'for weft down');
  assert.deepEqual(
    fs.readdirSync(host.folder).filter((name) => name.endsWith('.sock')),
    [],
  );
  assert.deepEqual(host.clock.waits, [], 'no timer is left');
});

test('host-gw: no socket, no TUN, no lane; the lease says so, routes go by the peers', async (t) => {
  const host = new FakeHost(t);
  host.store.config = HOST_GW;
  host.peer('10.10.7.0-24', '192.168.56.12', 'host-gw');
  const daemon = await host.started({ blackhole: true });
  assert.deepEqual(host.take().sort(), [
    'ip route add 10.10.7.0/24 via 192.168.56.12 dev ens33 proto boot',
    'ip route replace blackhole 10.10.64.0/24 proto boot metric 4294967295',
  ]);
  assert.match(host.subnetEnv, /^FLANNEL_MTU=1500$/m);
  assert.deepEqual(host.io.lanes, []);
  assert.equal(daemon.ready, true);
  const { backend, mtu, peers, lease } = (await host.status('host-gw')) as HostGwStatus;
  assert.deepEqual([backend, mtu, lease.subnet], ['host-gw', 1500, '10.10.64.0/24']);
  const health = UNKNOWN_HEALTH;
  const [publicIp, subnet] = ['192.168.56.12', '10.10.7.0/24'];
  assert.deepEqual(peers, [{ subnet, publicIp, direct: true, health }]);

  await host.lifecycle.leave(0, 'got SIGTERM');
  assert.deepEqual(host.take(), [
    'ip monitor ended',
    'ip ended',
    'follow no more',
    'close the store',
  ]);
  assert.deepEqual(host.journal('host-gw').sort(), ['file', 'routes']);
});

test('host-gw goes without a TUN to be had, and says that it alone does', async (t) => {
  const host = new FakeHost(t);
  host.store.config = HOST_GW;
  Object.assign(host, { tunFile: '/nowhere/tun' });
  await host.started();
  assert.equal(host.log.matching(/^warn: there is no TUN to be had here/).length, 1);
});

test('the firewall is set behind the lease and before any packet; the journal has it in that order', async (t) => {
  const host = new FakeHost(t);
  host.runner.absent = /^nft/;
  host.io.holdLanes = true;
  const started = host.daemon({ firewall: FIREWALL }).start();
  await settle();
  assert.equal(host.take().at(-1), 'start lanes, MTU 1450');
  assert.match(host.runner.iptables.save('nat'), /FLANNEL-POSTRTG/);
  assert.deepEqual(host.journal('flannel.1'), ['iptables', 'iptables', 'iptables', 'device']);
  assert.equal(host.subnetEnv, EARLIER, 'Docker may start once packets flow');
  host.io.letStart();
  await started;
  const kinds = ['iptables', 'iptables', 'iptables', 'device', 'file'];
  assert.deepEqual(host.journal('flannel.1'), kinds);
  assert.match(host.subnetEnv, /^FLANNEL_IPMASQ=true$/m);
});

test('what a flanneld left forwards until the rules are set, and gives its address on', async (t) => {
  const host = new FakeHost(t);
  host.runner.add('flannel.1', {
    vxlan: { id: 1, port: 8472 },
    address: '2a:2e:cc:73:34:04',
  });
  await host.started();
  assert.deepEqual(host.take().slice(0, 7), [
    'listen 192.168.56.11:0',
    'open weft.1',
    'unlisten 192.168.56.11:0',
    'close weft.1',
    'ip link del dev flannel.1',
    'listen 192.168.56.11:8472',
    'open flannel.1',
  ]);
  assert.match(host.store.entries.get('10.10.64.0-24')!.value, /"2a:2e:cc:73:34:04"/);
});

test('several lanes: as many queues and sockets; one where the kernel refuses them', async (t) => {
  const lanes = { lanes: 2, threads: 1, reason: 'asked for' } as const;
  const host = new FakeHost(t);
  await host.started({ lanes });
  assert.equal(host.io.lanes[0]!.count.lanes, 2);
  assert.equal(host.runner.link('flannel.1')!.queues, 2);

  const poor = new FakeHost(t);
  poor.io.oneLane = true;
  await poor.started({ lanes });
  assert.equal(poor.io.lanes[0]!.count.lanes, 1);
  assert.deepEqual(poor.take().slice(0, 4), [
    'listen 192.168.56.11:8472',
    'unlisten 192.168.56.11:8472',
    'listen 192.168.56.11:8472',
    'open flannel.1',
  ]);
});

test('status while it waits: for the config, and why; then for nothing', async (t) => {
  const host = new FakeHost(t);
  host.peer('10.10.7.0-24', '192.168.56.12');
  const config = host.store.config;
  host.store.config = undefined;
  const daemon = host.daemon();
  const started = daemon.start();
  await settle();
  const answer = await host.status('starting');
  assert.ok(isStarting(answer));
  assert.deepEqual([answer.pid, answer.version, answer.uptimeSeconds], [4711, '1.2.3', 0]);
  assert.match(
    answer.waitingFor,
    /^waiting for the network config: there is none at \/net\/config/,
  );
  assert.deepEqual(daemon.look(), { ready: false, status: answer.waitingFor, alive: true });
  assert.equal(daemon.ready, false);
  assert.deepEqual(daemon.standing, []);

  host.store.config = config;
  await host.clock.pass(1_000);
  await started;
  await host.clock.pass(1_000);
  const status = (await host.status('flannel.1')) as Status;
  assert.deepEqual([status.pid, status.uptimeSeconds, status.faults], [4711, 2, []]);
  assert.equal(status.pathsNotMeasured, 'no raw sockets here');
  await assert.rejects(host.status('starting'), { code: 'ENOENT' });
});

test('all code of this build is read before it is ready, and while it waits', async (t) => {
  const waiting = new FakeHost(t);
  const config = waiting.store.config;
  waiting.store.config = undefined;
  const started = waiting.daemon().start();
  await settle();
  assert.ok(waiting.io.threads > 0, "the lanes' threads begin beside the store's answer");
  assert.equal(waiting.echoIsRead, false, 'nothing that the store would have to wait for');
  await waiting.clock.pass(500);
  assert.equal(waiting.echoIsRead, true);
  waiting.store.config = config;
  await waiting.clock.pass(1_000);
  await started;

  const host = new FakeHost(t);
  await host.started();
  assert.equal(host.clock.now(), 0);
  assert.equal(host.echoIsRead, true);
});

test('status tells at which step a start is', async (t) => {
  const host = new FakeHost(t);
  host.io.holdLanes = true;
  const started = host.daemon().start();
  await settle();
  const answer = await host.status('flannel.1');
  assert.deepEqual(isStarting(answer) && answer.waitingFor, 'setting up the device');
  host.io.letStart();
  await started;

  const waiting = new FakeHost(t);
  waiting.store.list = async () => {
    throw new Error('a fault of the test');
  };
  const daemon = waiting.daemon();
  await assert.rejects(daemon.start(), /a fault of the test/);
  assert.equal(daemon.look().status, 'acquiring a lease from memory');
});

test('status names what cannot be put right, until it can', async (t) => {
  const host = new FakeHost(t);
  const daemon = await host.started();
  host.runner.refuse = { line: /^addr add/, why: 'RTNETLINK answers: Operation not permitted' };
  host.runner.link('flannel.1')!.addresses = [];
  await host.clock.pass(3_000);
  const { faults } = (await host.status('flannel.1')) as Status;
  assert.match(faults.join(), /^cannot set up flannel\.1: ip addr add .*not permitted$/);
  host.runner.refuse = undefined;
  await host.clock.pass(6_000);
  assert.deepEqual(((await host.status('flannel.1')) as Status).faults, []);
  assert.equal(daemon.ready, true);
});

test('status names a guard that cannot be set, a refused lease and a lane that stands still', async (t) => {
  const host = new FakeHost(t);
  host.store.put('10.10.9.0-24', 'garbage');
  const daemon = await host.started({
    firewall: { ...FIREWALL, masquerade: false, forward: false },
  });
  host.io.lanes[0]!.stuck = true;
  await host.clock.pass(5_000);
  const { faults } = (await host.status('flannel.1')) as Status;
  assert.match(faults[0]!, /^lane 0 has not turned for \d s$/);
  assert.match(faults[1]!, /^no guard: cannot run iptables/);
  assert.match(faults[2]!, /^lease 10\.10\.9\.0-24 is not used/);
  assert.deepEqual(daemon.standing, [faults[0]]);
  await host.clock.pass(4_000);
  // What the start could not do before what it has come to; what has words of its own in these alone.
  const told = host.log.matching(/no guard|is not used: [^;]*$|has not turned|ready: /);
  const words = [/^warn: lease .* is not used/, /^warn: no guard/, /^info: ready/, /^warn: lane 0/];
  assert.equal(told.length, words.length, told.join('\n'));
  for (const [i, line] of told.entries()) assert.match(line, words[i]!);
  assert.equal(daemon.ready, false);
  assert.equal(daemon.look().alive, false);
});

test('reload looks at host, store and paths at once', async (t) => {
  const host = new FakeHost(t);
  host.peer('10.10.7.0-24', '192.168.56.12');
  const daemon = await host.started();
  host.runner.routes.splice(0, host.runner.routes.length);
  host.take();
  await daemon.reload();
  assert.deepEqual(host.take(), ['ip route add 10.10.7.0/24 dev flannel.1 proto boot scope link']);
  assert.equal(host.store.reconnects, 1);
});

test('reload has the paths measured anew', async (t) => {
  const host = new FakeHost(t);
  host.echoLack = undefined;
  host.peer('10.10.7.0-24', '192.168.56.12');
  const daemon = await host.started();
  await host.clock.pass(10_000);
  const before = host.measured;
  assert.ok(before > 0);
  await host.clock.pass(10_000);
  assert.equal(host.measured, before);
  await daemon.reload();
  await host.clock.pass(2_000);
  assert.ok(host.measured > before);
  await host.lifecycle.leave(0, 'got SIGTERM');
  assert.ok(host.take().includes('close the prober'));
});

test('a reload before the start is done is no error, and changes nothing', async (t) => {
  const host = new FakeHost(t);
  host.store.config = undefined;
  const daemon = host.daemon();
  const started = daemon.start().catch(() => {});
  await settle();
  await daemon.reload();
  assert.equal(host.store.reconnects, 1, 'what waits for the store may go on by that');
  assert.deepEqual(host.take(), []);
  await host.lifecycle.leave(0, 'got SIGTERM');
  await started;
});

test('a start that is refused: what is wrong with this host is told before', async (t) => {
  const host = new FakeHost(t);
  host.io.startLanes = () => {
    throw new Error('no thread for the lanes');
  };
  const firewall = { ...FIREWALL, masquerade: false, forward: false };
  assert.match(await host.refused(host.daemon({ firewall })), /no thread for the lanes/);
  assert.equal(host.log.matching(/^warn: no guard: cannot run iptables/).length, 1);
});
