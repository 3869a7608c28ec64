/** What a running daemon looks after beside its device: peers, paths, others' doings, its lease. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import type { HostGwStatus, Status } from '../../../src/operate/status/status.js';
import { settle, until } from '../fakes.js';
import { plant } from '../host/fakes.js';
import { FakeHost, HOST_GW, VXLAN } from './fakes/fake-host.js';

const PEER = '192.168.56.12';
const DIRECT = '{"Network":"10.10.0.0/16","Backend":{"Type":"vxlan","DirectRouting":true}}';
const RULES = {
  ...{ masquerade: true, fullyRandom: true, forward: false },
  ...{ guard: true, resyncMs: 5_000 },
};

const faultsOf = async (host: FakeHost, name = 'flannel.1') =>
  ((await host.status(name)) as Status | HostGwStatus).faults.join('; ');

test('what changes is put right soon when it is announced, else within the period', async (t) => {
  const host = new FakeHost(t);
  host.peer('10.10.7.0-24', PEER);
  await host.started();
  await host.clock.pass(10_000);
  for (const [announced, within] of [
    [true, 600],
    [false, 3_000],
  ] as const) {
    host.runner.routes.splice(1);
    if (announced) host.runner.announce();
    else {
      await host.clock.pass(600);
      assert.deepEqual(host.runner.routesBy('flannel.1'), []);
    }
    await host.clock.pass(within);
    assert.deepEqual(host.runner.routesBy('flannel.1'), ['10.10.7.0/24']);
  }
});

test('the ways to the peers are asked for anew when something changed, else once a minute', async (t) => {
  const host = new FakeHost(t);
  host.peer('10.10.7.0-24', PEER);
  await host.started();
  const asked = () =>
    host.runner.asked.filter((line) => line.startsWith(`route get ${PEER}`)).length;
  await host.clock.pass(10_000);
  const before = asked();
  assert.ok(before > 0);
  await host.clock.pass(20_000);
  assert.equal(asked(), before);
  host.runner.announce();
  await host.clock.pass(3_000);
  assert.equal(asked(), before + 1);
  await host.clock.pass(60_000);
  assert.equal(asked(), before + 2);
});

test('a peer that no way leads to is a fault; none while our own address is gone', async (t) => {
  const host = new FakeHost(t);
  host.peer('10.10.7.0-24', PEER);
  await host.started({ underlay: { iface: ['ens33'] } });
  host.runner.routes.splice(0, 1);
  host.runner.announce();
  await host.clock.pass(5_000);
  assert.match(await faultsOf(host), /^nothing can be sent to the peer 192\.168\.56\.12/);

  const { addresses } = host.runner.link('ens33')!;
  host.runner.link('ens33')!.addresses = [];
  await host.clock.pass(1_000);
  host.runner.asked.splice(0);
  host.runner.announce();
  await host.clock.pass(5_000);
  assert.deepEqual(
    host.runner.asked.filter((line) => line.startsWith('route get')),
    [],
    'the kernel would refuse to answer for an address that it does not have',
  );
  host.runner.link('ens33')!.addresses = addresses;
});

test('a peer without a way is no line beside the loss of our own address, and one when that is over', async (t) => {
  const host = new FakeHost(t);
  host.peer('10.10.7.0-24', PEER);
  await host.started({ underlay: { iface: ['ens33'] } });
  const link = host.runner.link('ens33')!;
  const { addresses } = link;
  host.runner.routes.splice(0, 1);
  host.runner.announce();
  await host.clock.pass(2_000);
  assert.match(await faultsOf(host), /nothing can be sent to the peer/);
  link.addresses = [];
  host.runner.announce();
  await host.clock.pass(20_000);
  const peer = () => host.log.matching(/nothing can be sent/);
  const own = () => host.log.matching(/^(warn|info): .*underlay address .* is gone/);
  assert.deepEqual([peer(), own().length], [[], 1], host.log.lines.join('\n'));
  assert.match(own()[0]!, /^warn: /);
  link.addresses = addresses;
  host.runner.announce();
  await host.clock.pass(10_000);
  assert.match(own()[1]!, /^info: over: /);
  assert.equal(peer().length, 1);
  assert.match(peer()[0]!, /^warn: .*; do: ip route get 192\.168\.56\.12 /);
});

test('a lease with an address of this host is refused', async (t) => {
  const host = new FakeHost(t);
  host.runner.link('ens33')!.addresses.push('192.168.56.99/24');
  host.peer('10.10.7.0-24', '192.168.56.99');
  await host.started();
  assert.match(await faultsOf(host), /^lease 10\.10\.7\.0-24 is not used/);
  await host.clock.pass(20_000);
  assert.equal(host.log.matching(/lease 10\.10\.7\.0-24 is not used/).length, 1, 'said once');
});

test('it is not ready before the first peers are in force', async (t) => {
  const host = new FakeHost(t);
  const follow = host.store.follow.bind(host.store);
  let answer = () => {};
  host.store.follow = (listener) => {
    const following = follow({ snapshot() {}, changes: (batch) => listener.changes(batch) });
    answer = () => listener.snapshot(host.store.listing());
    return following;
  };
  const daemon = host.daemon();
  const started = daemon.start();
  await settle();
  assert.equal(daemon.ready, false);
  assert.equal(daemon.look().status, 'reading the peers from memory');
  answer();
  await started;
  assert.equal(daemon.ready, true);
});

test('the lease is renewed when its margin begins, not before', async (t) => {
  const host = new FakeHost(t);
  const renewals = () => host.store.keptAlive.length + host.store.written.length;
  // Ten minutes of the day are left, of which up to a tenth is taken off.
  await host.started({ renewMarginMs: 1430 * 60_000 });
  const before = renewals();
  await host.clock.pass(8 * 60_000);
  assert.equal(renewals(), before);
  await host.clock.pass(2 * 60_000);
  assert.ok(renewals() > before);
});

test('the network is saved for a start without the store, which then forwards', async (t) => {
  const host = new FakeHost(t);
  host.peer('10.10.7.0-24', PEER);
  await host.started();
  await host.clock.pass(5_000);
  assert.equal(fs.readdirSync(host.folder).filter((name) => name.endsWith('.saved')).length, 1);
  await host.lifecycle.leave(0, 'got SIGTERM');

  const next = new FakeHost(t);
  Object.assign(next, { folder: host.folder });
  next.store.away = true;
  await next.started();
  assert.deepEqual(next.runner.routesBy('flannel.1'), ['10.10.7.0/24']);
  assert.match(((await next.status('flannel.1')) as Status).storeState.savedAt ?? '', /^20/);
});

test('routes of an ended run with another backend are taken over, and go', async (t) => {
  const host = new FakeHost(t);
  const stale = '10.10.5.0/24 via 192.168.56.12 dev ens33 proto boot metric 0';
  const others = '10.99.5.0/24 via 192.168.56.12 dev ens33 proto boot metric 0';
  const owner = { pid: 815, startTime: '7' };
  const entries = [{ kind: 'routes', made: [stale, others] }];
  plant(host.folder, { 'host-gw.json': JSON.stringify({ version: 1, owner, entries }) });
  for (const dst of ['10.10.5.0/24', '10.99.5.0/24']) {
    host.runner.routes.push({ dst, dev: 'ens33', gateway: PEER, flags: [] });
  }
  await host.started();
  assert.deepEqual(host.runner.routesBy('ens33'), ['10.99.5.0/24', 'default']);
  assert.deepEqual(host.journal('host-gw'), ['routes'], 'what is not of this network stays');
});

test('the counters of the host are those since the start, of every device there was', async (t) => {
  const host = new FakeHost(t);
  const plantDrops = (udp: number, tun: number) =>
    plant(host.proc, {
      'net/snmp': `Udp: RcvbufErrors\nUdp: ${udp}\n`,
      'net/dev': `flannel.1: ${'0 '.repeat(11)}${tun} 0 0 0 0\n`,
    });
  plantDrops(100, 0);
  await host.started();
  plantDrops(107, 5);
  await host.clock.pass(1_000);
  plantDrops(107, 0);
  await host.clock.pass(1_000);
  const { udpRcvbufErrors, tunTxDrops } = ((await host.status('flannel.1')) as Status).host;
  assert.deepEqual([udpRcvbufErrors, tunTxDrops], [7, 5]);
});

test('the lanes are told the time', async (t) => {
  const host = new FakeHost(t);
  await host.started();
  await host.clock.pass(30_000);
  assert.equal(host.io.publisher!.rows.now, 31);
});

test('another process with a queue of several lanes is a fault; of one lane nothing is asked', async (t) => {
  const host = new FakeHost(t);
  const lanes = { lanes: 2, threads: 1, reason: 'asked for' } as const;
  await host.started({ lanes });
  host.runner.link('flannel.1')!.queues = 3;
  await host.clock.pass(20_000);
  // Who it is is read from real files, which takes its time.
  const fault = /has opened flannel\.1 too \(1 queue more than weft's\)/;
  await until(async () => fault.test(await faultsOf(host)));

  const one = new FakeHost(t);
  await one.started();
  one.runner.link('flannel.1')!.queues = 2;
  await one.clock.pass(20_000);
  assert.equal(await faultsOf(one), '');
});

test('direct routing: by the address of a neighbour, from any source, and guarded for all', async (t) => {
  const host = new FakeHost(t);
  host.store.config = DIRECT;
  host.runner.absent = /^nft/;
  const filter = { 'sys/net/ipv4/conf/flannel.1/rp_filter': '1\n' };
  plant(host.proc, filter);
  host.peer('10.10.7.0-24', PEER);
  await host.started({ firewall: RULES });
  assert.ok(
    host.take().includes('ip route add 10.10.7.0/24 via 192.168.56.12 dev ens33 proto boot'),
  );
  const file = `${host.proc}/sys/net/ipv4/conf/flannel.1/rp_filter`;
  assert.equal(fs.readFileSync(file, 'utf8'), '2\n');
  assert.match(host.runner.iptables.save('mangle'), /-d 10\.10\.0\.0\/16 .*-j RETURN/);

  const plain = new FakeHost(t);
  plain.store.config = VXLAN;
  plain.runner.absent = /^nft/;
  plant(plain.proc, filter);
  plain.peer('10.10.7.0-24', PEER);
  await plain.started({ firewall: RULES });
  assert.deepEqual(plain.runner.routesBy('flannel.1'), ['10.10.7.0/24']);
  const kept = `${plain.proc}/sys/net/ipv4/conf/flannel.1/rp_filter`;
  assert.equal(fs.readFileSync(kept, 'utf8'), '1\n');
  assert.match(plain.runner.iptables.save('mangle'), /-d 10\.10\.64\.0\/24 .*-j RETURN/);
});

test('direct routing in a VRF: none, with a warning', async (t) => {
  const host = new FakeHost(t);
  host.store.config = DIRECT;
  host.runner.add('vrf1');
  host.runner.link('ens33')!.master = 'vrf1';
  host.peer('10.10.7.0-24', PEER);
  await host.started();
  assert.deepEqual(host.runner.routesBy('flannel.1'), ['10.10.7.0/24']);
  assert.deepEqual(host.log.matching(/direct/), [
    'warn: no direct routes: what peers send directly would arrive in the VRF vrf1',
  ]);
});

test('host-gw: not ready without its address, nor without subnet.env; its faults are told', async (t) => {
  const host = new FakeHost(t);
  host.store.config = HOST_GW;
  host.runner.absent = /^nft/;
  const daemon = await host.started({ firewall: RULES });
  assert.equal(daemon.ready, true);
  host.runner.absent = /^(nft|iptables)/;
  await host.clock.pass(6_000);
  assert.match(await faultsOf(host, 'host-gw'), /^firewall rules cannot be looked after/);
  host.runner.absent = /^nft/;

  const { addresses } = host.runner.link('ens33')!;
  host.runner.link('ens33')!.addresses = [];
  await host.clock.pass(6_000);
  assert.equal(daemon.ready, false);
  host.runner.link('ens33')!.addresses = addresses;
  await host.clock.pass(6_000);
  assert.equal(daemon.ready, true);

  fs.rmSync(host.subnetFile);
  fs.mkdirSync(`${host.subnetFile}/x`, { recursive: true });
  await host.clock.pass(6_000);
  assert.equal(daemon.ready, false);
});
