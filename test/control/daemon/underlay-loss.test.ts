/** The underlay's address is lost for a while, or for long. */
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import type { UnderlayWatch } from '../../../src/control/daemon/underlay.js';
import { UnderlayHost } from './fakes/underlay.js';

let host: UnderlayHost;

beforeEach(() => {
  host = new UnderlayHost();
});

/** Looks each second for so many; what each fault was, and how often. */
async function lookFor(one: UnderlayWatch, seconds: number): Promise<Map<string, number>> {
  const faults = new Map<string, number>();
  for (let i = 0; i < seconds; i += 1) {
    await host.clock.pass(1_000);
    const fault = await one.reconcile().then(
      () => '',
      (error: Error) => error.message,
    );
    if (fault !== '') faults.set(fault, (faults.get(fault) ?? 0) + 1);
  }
  return faults;
}

const WLAN = { ifname: 'wlan0', ifindex: 5, mtu: 1400, addresses: ['192.168.1.5'] };

test('a flush of the address beside a second default route: waited out, a fault meanwhile', async () => {
  const one = host.watch();
  host.links.push(WLAN);
  await one.reconcile();
  host.links[0]!.addresses = [];
  host.defaultDevice = 'wlan0';
  await one.reconcile();
  const faults = await lookFor(one, 4);
  assert.deepEqual(
    [...faults],
    [
      [
        'the underlay address 192.168.56.11 is gone from ens33; waiting 30 s for it before ' +
          '192.168.1.5 on wlan0 is taken',
        4,
      ],
    ],
  );
  assert.equal(one.present, false);
  host.links[0]!.addresses = ['192.168.56.11'];
  assert.equal((await lookFor(one, 60)).size, 0);
  assert.deepEqual(
    [host.moves, host.log.lines, one.present, one.now.name],
    [[], [], true, 'ens33'],
  );
});

test('gone for long: the other interface with its MTU as a makeshift, and back when the address is', async () => {
  const one = host.watch();
  host.links.push(WLAN);
  await one.reconcile();
  host.links[0]!.addresses = [];
  host.defaultDevice = 'wlan0';
  await one.reconcile();
  await lookFor(one, 29);
  assert.deepEqual(host.moves, []);
  const faults = await lookFor(one, 30);
  assert.deepEqual(host.moves, [
    'move 192.168.1.5 1350',
    'renamed wlan0',
    'moved 192.168.1.5',
    'resized 1350',
  ]);
  assert.match(
    host.log.lines[0]!,
    /^warn: underlay wlan0: wlan0 in place of ens33, address 192\.168\.1\.5/,
  );
  assert.deepEqual(
    [...faults.keys()],
    [
      'the underlay address 192.168.56.11 is gone from ens33; at 192.168.1.5 on wlan0 until it is back',
    ],
  );
  assert.ok(one.present);
  host.did = [];
  // Back on a link without a carrier, or for a moment, is not back.
  Object.assign(host.links[0]!, { addresses: ['192.168.56.11'], flags: ['UP', 'NO-CARRIER'] });
  assert.equal((await lookFor(one, 10)).size, 1);
  host.links[0]!.flags = ['UP'];
  await lookFor(one, 2);
  host.links[0]!.addresses = [];
  await lookFor(one, 2);
  assert.deepEqual(host.moves, []);
  host.links[0]!.addresses = ['192.168.56.11'];
  await lookFor(one, 3);
  assert.deepEqual(host.moves, [
    'move 192.168.56.11 1450',
    'renamed ens33',
    'moved 192.168.56.11',
    'resized 1450',
  ]);
  assert.equal((await lookFor(one, 40)).size, 0);
  assert.deepEqual([host.log.lines.length, one.now.name], [2, 'ens33']);
});

test('from a makeshift back to another address on the old interface, when a start would take it', async () => {
  const one = host.watch();
  host.links.push(WLAN);
  host.links[0]!.addresses = [];
  host.defaultDevice = 'wlan0';
  await lookFor(one, 40);
  assert.equal(one.now.name, 'wlan0');
  host.links[0]!.addresses = ['192.168.56.77'];
  assert.equal((await lookFor(one, 10)).size, 1, 'not while the default route is elsewhere');
  host.defaultDevice = 'ens33';
  await lookFor(one, 4);
  assert.equal(one.now.address, '192.168.56.77');
  assert.equal((await lookFor(one, 10)).size, 0);
});

test('what was beside the address all along, or floats, does not come in its place at once', async () => {
  for (const [beside, newcomer, makeshift] of [
    ['192.168.56.112/32', [], true],
    ['192.168.56.12', [], false],
    [undefined, ['192.168.56.112/32'], true],
  ] as const) {
    host.links[0]!.addresses = ['192.168.56.11', ...(beside === undefined ? [] : [beside])];
    const one = host.watch({ iface: ['ens33'] });
    await one.reconcile();
    host.links[0]!.addresses = [...(beside === undefined ? [] : [beside]), ...newcomer];
    await one.reconcile();
    await lookFor(one, 20);
    assert.deepEqual(host.moves, [], `${beside}`);
    const faults = await lookFor(one, 40);
    assert.match(host.moves[0]!, /^move 192\.168\.56\.1(2|12) 1450$/);
    assert.equal(
      [...faults.keys()].some((fault) => /until it is back/.test(fault)),
      makeshift,
    );
    host.links[0]!.addresses.push('192.168.56.11');
    await lookFor(one, 5);
    assert.equal(one.now.address === '192.168.56.11', makeshift);
    host.did = [];
  }
});

test('addresses that come back one by one are waited for', async () => {
  const one = host.watch({ iface: ['ens33'] });
  host.links[0]!.addresses = [];
  await one.reconcile();
  await lookFor(one, 4);
  host.links[0]!.addresses = ['192.168.56.33'];
  await one.reconcile();
  await host.clock.pass(500);
  await one.reconcile();
  host.links[0]!.addresses = ['192.168.56.33', '192.168.56.11'];
  assert.equal((await lookFor(one, 40)).size, 0);
  assert.deepEqual(host.moves, []);
});

test('whoever named an interface is never taken to another', async () => {
  const one = host.watch({ iface: ['ens33'] });
  host.links.push(WLAN);
  host.defaultDevice = 'wlan0';
  for (const gone of [() => (host.links[0]!.addresses = []), () => host.links.shift()]) {
    gone();
    const faults = await lookFor(one, 90);
    assert.deepEqual(
      [...faults.keys()],
      [
        'the underlay address 192.168.56.11 is gone from ens33; waiting for it or another in its place',
      ],
    );
  }
  assert.deepEqual(host.moves, []);
  // Made anew, with another address.
  host.links.push({ ifname: 'ens33', ifindex: 9, mtu: 1500, addresses: ['192.168.56.33'] });
  await lookFor(one, 2);
  assert.deepEqual(host.moves, ['move 192.168.56.33 1450', 'moved 192.168.56.33']);
});
