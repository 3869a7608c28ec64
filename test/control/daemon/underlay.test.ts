import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import type { UnderlayWatch } from '../../../src/control/daemon/underlay.js';
import type { Selection } from '../../../src/control/host/interfaces.js';
import { CHOSEN, UnderlayHost } from './fakes/underlay.js';

let host: UnderlayHost;

beforeEach(() => {
  host = new UnderlayHost();
});

/** Looks until the address has been away long enough. */
async function settled(one: UnderlayWatch): Promise<void> {
  await one.reconcile();
  await host.clock.pass(1_000);
  await one.reconcile();
}

test('nothing happens while all is as it was, nor with another address or default route beside', async () => {
  const one = host.watch();
  host.links.push({ ifname: 'eth9', ifindex: 9, mtu: 9000, addresses: ['10.0.0.1'] });
  host.links[0]!.addresses.unshift('192.168.56.99');
  host.defaultDevice = 'eth9';
  for (let i = 0; i < 5; i += 1) await settled(one);
  assert.deepEqual([host.did, host.log.lines], [[], []]);
  assert.deepEqual(one.now, CHOSEN);
});

test('another address in its place: moved after a second, told in one line, and once', async () => {
  const one = host.watch({ iface: ['ens33'] });
  host.links[0]!.addresses = ['192.168.56.33'];
  await one.reconcile();
  assert.deepEqual(host.did, ['soon 1000']);
  assert.equal(one.present, false);
  await host.clock.pass(400);
  await one.reconcile();
  assert.deepEqual(host.did.splice(0), ['soon 1000', 'soon 600']);
  await host.clock.pass(600);
  await one.reconcile();
  assert.deepEqual(host.did, ['move 192.168.56.33 1450', 'moved 192.168.56.33']);
  await settled(one);
  assert.equal(host.did.length, 2);
  assert.ok(one.present);
  assert.deepEqual(host.log.lines, [
    'warn: underlay ens33: address 192.168.56.33 (was 192.168.56.11), moved there, ' +
      'the other hosts are told',
  ]);
});

test('an address that is back within the second: nothing is done, nothing said', async () => {
  const one = host.watch();
  host.links[0]!.addresses = [];
  await one.reconcile();
  host.links[0]!.addresses = ['192.168.56.11'];
  await settled(one);
  assert.deepEqual([host.did, host.log.lines, one.present], [['soon 1000'], [], true]);
  // The next time the second begins anew.
  host.links[0]!.addresses = ['192.168.56.33'];
  await host.clock.pass(3_000);
  await one.reconcile();
  assert.deepEqual(host.did, ['soon 1000', 'soon 1000']);
});

test('no address at all, or one for want of another: waits, with a reason; goes on when it is back', async () => {
  const one = host.watch();
  for (const addresses of [[], ['169.254.7.7']]) {
    host.links[0]!.addresses = addresses;
    await one.reconcile();
    await host.clock.pass(1_000);
    await assert.rejects(
      one.reconcile(),
      /the underlay address 192\.168\.56\.11 is gone from ens33; waiting for it or another/,
    );
    assert.equal(one.present, false);
    host.links[0]!.addresses = ['192.168.56.11'];
    await one.reconcile();
    assert.ok(one.present);
  }
  assert.deepEqual(
    host.did.filter((what) => !what.startsWith('soon')),
    [],
  );
});

test('who named the address waits for it, by -iface as by -public-ip', async () => {
  for (const selection of [{ iface: ['192.168.56.11'] }, { publicIp: '192.168.56.11' }]) {
    const one = host.watch(selection);
    host.links[0]!.addresses = ['192.168.56.33'];
    await one.reconcile();
    await host.clock.pass(1_000);
    await assert.rejects(one.reconcile(), /is gone from ens33/);
    host.links[0]!.addresses = ['192.168.56.11'];
    await one.reconcile();
    assert.ok(one.present);
  }
});

test('behind a NAT the public IP stays, the sockets move', async () => {
  const one = host.watch(
    { iface: ['ens33'], publicIp: '203.0.113.7' },
    { ...CHOSEN, publicIp: '203.0.113.7' },
  );
  host.links[0]!.addresses = ['192.168.56.33'];
  await settled(one);
  assert.deepEqual(host.did.slice(-2), ['move 192.168.56.33 1450', 'moved 203.0.113.7']);
  assert.doesNotMatch(host.log.lines[0]!, /the other hosts/);
});

test('the same address on another interface, or on one made anew, is no move', async () => {
  const one = host.watch({ iface: ['ens33'] });
  host.links = [
    { ifname: 'ens33', ifindex: 2, mtu: 1500, addresses: [] },
    { ifname: 'br0', ifindex: 6, mtu: 1500, addresses: ['192.168.56.11'] },
  ];
  await settled(one);
  assert.deepEqual([host.did.splice(0), one.now.name], [['renamed br0'], 'br0']);
  assert.deepEqual(host.log.lines, ['warn: underlay br0: br0 in place of ens33']);
  host.links = [{ ifname: 'br0', ifindex: 7, mtu: 1500, addresses: ['192.168.56.11'] }];
  await settled(one);
  assert.deepEqual([host.did, one.now.index, host.log.lines.length], [[], 7, 1]);
});

test('another MTU: the tunnel follows, and that containers do not is said', async () => {
  const one = host.watch();
  host.links[0]!.mtu = 1400;
  await one.reconcile();
  await one.reconcile();
  assert.deepEqual(host.did, ['move 192.168.56.11 1350', 'resized 1350']);
  assert.deepEqual(host.log.lines, [
    'warn: underlay ens33: MTU 1400 (was 1500), flannel.1 has 1350, ' +
      'containers keep theirs until they are started anew',
  ]);
});

test('an MTU that is too small is refused with a reason, and nothing moves', async () => {
  const one = host.watch();
  host.links[0]!.mtu = 100;
  await assert.rejects(one.reconcile(), /ens33 has an MTU of 100, and the tunnel needs 118/);
  assert.deepEqual(host.did, []);
  host.links[0]!.mtu = 1500;
  await one.reconcile();
  assert.deepEqual(host.did, []);
});

test('a move that fails is tried again', async () => {
  const one = host.watch();
  host.links[0]!.addresses = ['192.168.56.33'];
  host.refusal = 'UDP port 8472 is taken';
  await one.reconcile();
  await host.clock.pass(1_000);
  await assert.rejects(one.reconcile(), /is taken/);
  await assert.rejects(one.reconcile(), /is taken/);
  host.refusal = undefined;
  await one.reconcile();
  assert.deepEqual(host.did.slice(-2), ['move 192.168.56.33 1450', 'moved 192.168.56.33']);
  assert.equal(host.log.lines.length, 1);
});

const VIP = '192.168.56.112';
const NAMED: Selection = { iface: ['ens33'], publicIp: VIP };
const BOUND = { ...CHOSEN, address: VIP, publicIp: VIP };

test('a public IP on another interface than the named one is no move, whatever has it', async () => {
  const one = host.watch(NAMED, { ...BOUND, carrier: 'lo' });
  const lo = { ifname: 'lo', ifindex: 1, mtu: 65536, addresses: ['127.0.0.1', VIP] };
  const eth1 = { ifname: 'eth1', ifindex: 3, mtu: 9000, addresses: ['10.0.0.1'] };
  host.links.push(lo, eth1);
  for (let i = 0; i < 3; i += 1) await settled(one);
  lo.addresses.pop();
  eth1.addresses.push(VIP);
  await settled(one);
  assert.deepEqual([one.now.name, one.now.mtu, one.now.carrier], ['ens33', 1500, 'eth1']);
  eth1.addresses.pop();
  host.links[0]!.addresses.push(VIP);
  await settled(one);
  assert.deepEqual([one.now.name, one.now.carrier], ['ens33', undefined]);
  assert.deepEqual([host.did, host.log.lines], [[], []]);
  host.links[0]!.mtu = 1400;
  await one.reconcile();
  assert.deepEqual(
    host.did,
    [`move ${VIP} 1350`, 'resized 1350'],
    'the MTU is that of the named one',
  );
});

test('a public IP of this host that goes: as at a start without it, until it is back', async () => {
  const one = host.watch(NAMED, BOUND);
  host.links[0]!.addresses.push(VIP);
  await settled(one);
  host.links[0]!.addresses.pop();
  await settled(one);
  assert.deepEqual(host.did.splice(0).slice(1), ['move 192.168.56.11 1450', `moved ${VIP}`]);
  await settled(one);
  assert.deepEqual(host.did, []);
  host.links[0]!.addresses.push(VIP);
  await one.reconcile();
  assert.deepEqual(host.did, [`move ${VIP} 1450`, `moved ${VIP}`]);
  assert.doesNotMatch(host.log.lines.join(), /other hosts are told/);
});

test('a public IP that comes to this host after the start is moved to', async () => {
  const one = host.watch(NAMED, { ...CHOSEN, publicIp: VIP });
  await settled(one);
  assert.deepEqual(host.did, []);
  host.links.push({ ifname: 'lo', ifindex: 1, mtu: 65536, addresses: [VIP] });
  await one.reconcile();
  assert.deepEqual(host.did, [`move ${VIP} 1450`, `moved ${VIP}`]);
  assert.deepEqual([one.now.name, one.now.carrier], ['ens33', 'lo']);
  await settled(one);
  assert.equal(host.did.length, 2);
});

test('a route with a smaller MTU counts as the smaller MTU', async () => {
  const one = host.watch();
  host.routeMtu = 1400;
  await settled(one);
  assert.deepEqual(host.did, ['move 192.168.56.11 1350', 'resized 1350']);
  host.routeMtu = 9000;
  await settled(one);
  assert.deepEqual(host.did.slice(2), ['move 192.168.56.11 1450', 'resized 1450']);
});

test('an interface that enters a VRF or leaves it takes the sockets along', async () => {
  const one = host.watch();
  host.links[0]!.master = 'blue';
  await one.reconcile();
  await one.reconcile();
  assert.deepEqual(host.did.splice(0), ['move 192.168.56.11 1450 in blue', 'moved 192.168.56.11']);
  assert.deepEqual([one.now.vrf, one.present], ['blue', true]);
  assert.match(host.log.lines.at(-1)!, /^warn: underlay ens33: in the VRF blue$/);
  delete host.links[0]!.master;
  await one.reconcile();
  await one.reconcile();
  assert.deepEqual(host.did, ['move 192.168.56.11 1450', 'moved 192.168.56.11']);
  assert.match(host.log.lines.at(-1)!, /^warn: underlay ens33: in no VRF$/);
  assert.equal(host.log.lines.length, 2);
});
