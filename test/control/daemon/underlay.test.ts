import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { tunnelMtu } from '../../../src/control/daemon/mtu.js';
import { UnderlayWatch } from '../../../src/control/daemon/underlay.js';
import type { Interface, Selection } from '../../../src/control/host/interfaces.js';
import type { Ip } from '../../../src/control/host/ip.js';
import type { Runner } from '../../../src/control/host/runner.js';
import { FakeClock, Lines } from '../fakes.js';

interface Row {
  ifname: string;
  ifindex: number;
  mtu: number;
  /** With the length of its network where that counts: `10.0.0.1/32`. */
  addresses: string[];
  flags?: string[];
  master?: string;
}

let clock: FakeClock;
let log: Lines;
let links: Row[];
let defaultDevice: string;
let routeMtu: number;
/** What was done, in its order. */
let did: string[];
let refusal: string | undefined;

const CHOSEN = {
  name: 'ens33',
  index: 2,
  mtu: 1500,
  address: '192.168.56.11',
  publicIp: '192.168.56.11',
};

beforeEach(() => {
  clock = new FakeClock();
  log = new Lines();
  links = [{ ifname: 'ens33', ifindex: 2, mtu: 1500, addresses: ['192.168.56.11'] }];
  defaultDevice = 'ens33';
  routeMtu = 65535;
  did = [];
  refusal = undefined;
});

const rows = (name?: string) =>
  links
    .filter(({ ifname }) => name === undefined || ifname === name)
    .map(({ addresses, ...row }) => ({
      ...row,
      addr_info: addresses.map((text) => {
        const [local, length = '24'] = text.split('/');
        return { family: 'inet', local, prefixlen: Number(length) };
      }),
    }));

function watch(selection: Selection = {}, chosen: Interface = CHOSEN) {
  const ip = {
    query: async (line: string) => {
      const name = line.split(' ').at(-1);
      const found = rows(line.startsWith('addr show to ') ? undefined : name);
      if (found.length === 0) throw new Error(`Device "${line}" does not exist.`);
      return found;
    },
  } as unknown as Ip;
  const runner = {
    run: async (argv: readonly string[]) => {
      const answer = () => {
        if (argv.includes('-d')) return [{ linkinfo: { info_kind: 'vrf' } }];
        return argv.includes('route') ? [{ dst: 'default', dev: defaultDevice }] : rows();
      };
      const stdout = answer();
      return { code: 0, signal: null, stdout: JSON.stringify(stdout), stderr: '' };
    },
  } as unknown as Runner;
  const path = {
    name: 'flannel.1',
    place: { address: chosen.address, mtu: chosen.mtu - 50 },
    async move(place: { address: string; mtu: number; vrf?: string | undefined }) {
      if (refusal !== undefined) throw new Error(refusal);
      path.place = place;
      const within = place.vrf === undefined ? '' : ` in ${place.vrf}`;
      did.push(`move ${place.address} ${place.mtu}${within}`);
    },
  };
  return new UnderlayWatch({
    ...{ runner, ip, clock, log, selection, chosen, path },
    measure: async (now) => ({ ...now, mtu: Math.min(now.mtu, routeMtu) }),
    tunnelMtu: (now) => tunnelMtu(undefined, now),
    renamed: (name) => void did.push(`renamed ${name}`),
    moved: (publicIp) => void did.push(`moved ${publicIp}`),
    resized: async (mtu) => void did.push(`resized ${mtu}`),
    soon: (ms) => void did.push(`soon ${ms}`),
  });
}

/** Looks until the address has been away long enough. */
async function settled(one: UnderlayWatch): Promise<void> {
  await one.reconcile();
  await clock.pass(1_000);
  await one.reconcile();
}

test('nothing happens while all is as it was, nor with another address or default route beside', async () => {
  const one = watch();
  links.push({ ifname: 'eth9', ifindex: 9, mtu: 9000, addresses: ['10.0.0.1'] });
  links[0]!.addresses.unshift('192.168.56.99');
  defaultDevice = 'eth9';
  for (let i = 0; i < 5; i += 1) await settled(one);
  assert.deepEqual([did, log.lines], [[], []]);
  assert.deepEqual(one.now, CHOSEN);
});

test('another address in its place: moved after a second, told in one line, and once', async () => {
  const one = watch({ iface: ['ens33'] });
  links[0]!.addresses = ['192.168.56.33'];
  await one.reconcile();
  assert.deepEqual(did, ['soon 1000']);
  assert.equal(one.present, false);
  await clock.pass(400);
  await one.reconcile();
  assert.deepEqual(did.splice(0), ['soon 1000', 'soon 600']);
  await clock.pass(600);
  await one.reconcile();
  assert.deepEqual(did, ['move 192.168.56.33 1450', 'moved 192.168.56.33']);
  await settled(one);
  assert.equal(did.length, 2);
  assert.ok(one.present);
  assert.deepEqual(log.lines, [
    'warn: underlay ens33: address 192.168.56.33 (was 192.168.56.11), moved there, ' +
      'the other hosts are told',
  ]);
});

test('an address that is back within the second: nothing is done, nothing said', async () => {
  const one = watch();
  links[0]!.addresses = [];
  await one.reconcile();
  links[0]!.addresses = ['192.168.56.11'];
  await settled(one);
  assert.deepEqual([did, log.lines, one.present], [['soon 1000'], [], true]);
  // The next time the second begins anew.
  links[0]!.addresses = ['192.168.56.33'];
  await clock.pass(3_000);
  await one.reconcile();
  assert.deepEqual(did, ['soon 1000', 'soon 1000']);
});

test('no address at all, or one for want of another: waits, with a reason; goes on when it is back', async () => {
  const one = watch();
  for (const addresses of [[], ['169.254.7.7']]) {
    links[0]!.addresses = addresses;
    await one.reconcile();
    await clock.pass(1_000);
    await assert.rejects(
      one.reconcile(),
      /the underlay address 192\.168\.56\.11 is gone from ens33; waiting for it or another/,
    );
    assert.equal(one.present, false);
    links[0]!.addresses = ['192.168.56.11'];
    await one.reconcile();
    assert.ok(one.present);
  }
  assert.deepEqual(
    did.filter((what) => !what.startsWith('soon')),
    [],
  );
});

test('who named the address waits for it, by -iface as by -public-ip', async () => {
  for (const selection of [{ iface: ['192.168.56.11'] }, { publicIp: '192.168.56.11' }]) {
    const one = watch(selection);
    links[0]!.addresses = ['192.168.56.33'];
    await one.reconcile();
    await clock.pass(1_000);
    await assert.rejects(one.reconcile(), /is gone from ens33/);
    links[0]!.addresses = ['192.168.56.11'];
    await one.reconcile();
    assert.ok(one.present);
  }
});

test('behind a NAT the public IP stays, the sockets move', async () => {
  const one = watch(
    { iface: ['ens33'], publicIp: '203.0.113.7' },
    { ...CHOSEN, publicIp: '203.0.113.7' },
  );
  links[0]!.addresses = ['192.168.56.33'];
  await settled(one);
  assert.deepEqual(did.slice(-2), ['move 192.168.56.33 1450', 'moved 203.0.113.7']);
  assert.doesNotMatch(log.lines[0]!, /the other hosts/);
});

/** Looks each second for so many; what each fault was, and how often. */
async function lookFor(one: UnderlayWatch, seconds: number): Promise<Map<string, number>> {
  const faults = new Map<string, number>();
  for (let i = 0; i < seconds; i += 1) {
    await clock.pass(1_000);
    const fault = await one.reconcile().then(
      () => '',
      (error: Error) => error.message,
    );
    if (fault !== '') faults.set(fault, (faults.get(fault) ?? 0) + 1);
  }
  return faults;
}

const moves = () => did.filter((what) => !what.startsWith('soon'));
const WLAN = { ifname: 'wlan0', ifindex: 5, mtu: 1400, addresses: ['192.168.1.5'] };

test('a flush of the address beside a second default route: waited out, a fault meanwhile', async () => {
  const one = watch();
  links.push(WLAN);
  await one.reconcile();
  links[0]!.addresses = [];
  defaultDevice = 'wlan0';
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
  links[0]!.addresses = ['192.168.56.11'];
  assert.equal((await lookFor(one, 60)).size, 0);
  assert.deepEqual([moves(), log.lines, one.present, one.now.name], [[], [], true, 'ens33']);
});

test('gone for long: the other interface with its MTU as a makeshift, and back when the address is', async () => {
  const one = watch();
  links.push(WLAN);
  await one.reconcile();
  links[0]!.addresses = [];
  defaultDevice = 'wlan0';
  await one.reconcile();
  await lookFor(one, 29);
  assert.deepEqual(moves(), []);
  const faults = await lookFor(one, 30);
  assert.deepEqual(moves(), [
    'move 192.168.1.5 1350',
    'renamed wlan0',
    'moved 192.168.1.5',
    'resized 1350',
  ]);
  assert.match(
    log.lines[0]!,
    /^warn: underlay wlan0: wlan0 in place of ens33, address 192\.168\.1\.5/,
  );
  assert.deepEqual(
    [...faults.keys()],
    [
      'the underlay address 192.168.56.11 is gone from ens33; at 192.168.1.5 on wlan0 until it is back',
    ],
  );
  assert.ok(one.present);
  did = [];
  // Back on a link without a carrier, or for a moment, is not back.
  Object.assign(links[0]!, { addresses: ['192.168.56.11'], flags: ['UP', 'NO-CARRIER'] });
  assert.equal((await lookFor(one, 10)).size, 1);
  links[0]!.flags = ['UP'];
  await lookFor(one, 2);
  links[0]!.addresses = [];
  await lookFor(one, 2);
  assert.deepEqual(moves(), []);
  links[0]!.addresses = ['192.168.56.11'];
  await lookFor(one, 3);
  assert.deepEqual(moves(), [
    'move 192.168.56.11 1450',
    'renamed ens33',
    'moved 192.168.56.11',
    'resized 1450',
  ]);
  assert.equal((await lookFor(one, 40)).size, 0);
  assert.deepEqual([log.lines.length, one.now.name], [2, 'ens33']);
});

test('from a makeshift back to another address on the old interface, when a start would take it', async () => {
  const one = watch();
  links.push(WLAN);
  links[0]!.addresses = [];
  defaultDevice = 'wlan0';
  await lookFor(one, 40);
  assert.equal(one.now.name, 'wlan0');
  links[0]!.addresses = ['192.168.56.77'];
  assert.equal((await lookFor(one, 10)).size, 1, 'not while the default route is elsewhere');
  defaultDevice = 'ens33';
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
    links[0]!.addresses = ['192.168.56.11', ...(beside === undefined ? [] : [beside])];
    const one = watch({ iface: ['ens33'] });
    await one.reconcile();
    links[0]!.addresses = [...(beside === undefined ? [] : [beside]), ...newcomer];
    await one.reconcile();
    await lookFor(one, 20);
    assert.deepEqual(moves(), [], `${beside}`);
    const faults = await lookFor(one, 40);
    assert.match(moves()[0]!, /^move 192\.168\.56\.1(2|12) 1450$/);
    assert.equal(
      [...faults.keys()].some((fault) => /until it is back/.test(fault)),
      makeshift,
    );
    links[0]!.addresses.push('192.168.56.11');
    await lookFor(one, 5);
    assert.equal(one.now.address === '192.168.56.11', makeshift);
    did = [];
  }
});

test('addresses that come back one by one are waited for', async () => {
  const one = watch({ iface: ['ens33'] });
  links[0]!.addresses = [];
  await one.reconcile();
  await lookFor(one, 4);
  links[0]!.addresses = ['192.168.56.33'];
  await one.reconcile();
  await clock.pass(500);
  await one.reconcile();
  links[0]!.addresses = ['192.168.56.33', '192.168.56.11'];
  assert.equal((await lookFor(one, 40)).size, 0);
  assert.deepEqual(moves(), []);
});

test('whoever named an interface is never taken to another', async () => {
  const one = watch({ iface: ['ens33'] });
  links.push(WLAN);
  defaultDevice = 'wlan0';
  for (const gone of [() => (links[0]!.addresses = []), () => links.shift()]) {
    gone();
    const faults = await lookFor(one, 90);
    assert.deepEqual(
      [...faults.keys()],
      [
        'the underlay address 192.168.56.11 is gone from ens33; waiting for it or another in its place',
      ],
    );
  }
  assert.deepEqual(moves(), []);
  // Made anew, with another address.
  links.push({ ifname: 'ens33', ifindex: 9, mtu: 1500, addresses: ['192.168.56.33'] });
  await lookFor(one, 2);
  assert.deepEqual(moves(), ['move 192.168.56.33 1450', 'moved 192.168.56.33']);
});

test('the same address on another interface, or on one made anew, is no move', async () => {
  const one = watch({ iface: ['ens33'] });
  links = [
    { ifname: 'ens33', ifindex: 2, mtu: 1500, addresses: [] },
    { ifname: 'br0', ifindex: 6, mtu: 1500, addresses: ['192.168.56.11'] },
  ];
  await settled(one);
  assert.deepEqual([did.splice(0), one.now.name], [['renamed br0'], 'br0']);
  assert.deepEqual(log.lines, ['warn: underlay br0: br0 in place of ens33']);
  links = [{ ifname: 'br0', ifindex: 7, mtu: 1500, addresses: ['192.168.56.11'] }];
  await settled(one);
  assert.deepEqual([did, one.now.index, log.lines.length], [[], 7, 1]);
});

test('another MTU: the tunnel follows, and that containers do not is said', async () => {
  const one = watch();
  links[0]!.mtu = 1400;
  await one.reconcile();
  await one.reconcile();
  assert.deepEqual(did, ['move 192.168.56.11 1350', 'resized 1350']);
  assert.deepEqual(log.lines, [
    'warn: underlay ens33: MTU 1400 (was 1500), flannel.1 has 1350, ' +
      'containers keep theirs until they are started anew',
  ]);
});

test('an MTU that is too small is refused with a reason, and nothing moves', async () => {
  const one = watch();
  links[0]!.mtu = 100;
  await assert.rejects(one.reconcile(), /ens33 has an MTU of 100, and the tunnel needs 118/);
  assert.deepEqual(did, []);
  links[0]!.mtu = 1500;
  await one.reconcile();
  assert.deepEqual(did, []);
});

test('a move that fails is tried again', async () => {
  const one = watch();
  links[0]!.addresses = ['192.168.56.33'];
  refusal = 'UDP port 8472 is taken';
  await one.reconcile();
  await clock.pass(1_000);
  await assert.rejects(one.reconcile(), /is taken/);
  await assert.rejects(one.reconcile(), /is taken/);
  refusal = undefined;
  await one.reconcile();
  assert.deepEqual(did.slice(-2), ['move 192.168.56.33 1450', 'moved 192.168.56.33']);
  assert.equal(log.lines.length, 1);
});

const VIP = '192.168.56.112';
const NAMED: Selection = { iface: ['ens33'], publicIp: VIP };
const BOUND = { ...CHOSEN, address: VIP, publicIp: VIP };

test('a public IP on another interface than the named one is no move, whatever has it', async () => {
  const one = watch(NAMED, { ...BOUND, carrier: 'lo' });
  const lo = { ifname: 'lo', ifindex: 1, mtu: 65536, addresses: ['127.0.0.1', VIP] };
  const eth1 = { ifname: 'eth1', ifindex: 3, mtu: 9000, addresses: ['10.0.0.1'] };
  links.push(lo, eth1);
  for (let i = 0; i < 3; i += 1) await settled(one);
  lo.addresses.pop();
  eth1.addresses.push(VIP);
  await settled(one);
  assert.deepEqual([one.now.name, one.now.mtu, one.now.carrier], ['ens33', 1500, 'eth1']);
  eth1.addresses.pop();
  links[0]!.addresses.push(VIP);
  await settled(one);
  assert.deepEqual([one.now.name, one.now.carrier], ['ens33', undefined]);
  assert.deepEqual([did, log.lines], [[], []]);
  links[0]!.mtu = 1400;
  await one.reconcile();
  assert.deepEqual(did, [`move ${VIP} 1350`, 'resized 1350'], 'the MTU is that of the named one');
});

test('a public IP of this host that goes: as at a start without it, until it is back', async () => {
  const one = watch(NAMED, BOUND);
  links[0]!.addresses.push(VIP);
  await settled(one);
  links[0]!.addresses.pop();
  await settled(one);
  assert.deepEqual(did.splice(0).slice(1), ['move 192.168.56.11 1450', `moved ${VIP}`]);
  await settled(one);
  assert.deepEqual(did, []);
  links[0]!.addresses.push(VIP);
  await one.reconcile();
  assert.deepEqual(did, [`move ${VIP} 1450`, `moved ${VIP}`]);
  assert.doesNotMatch(log.lines.join(), /other hosts are told/);
});

test('a public IP that comes to this host after the start is moved to', async () => {
  const one = watch(NAMED, { ...CHOSEN, publicIp: VIP });
  await settled(one);
  assert.deepEqual(did, []);
  links.push({ ifname: 'lo', ifindex: 1, mtu: 65536, addresses: [VIP] });
  await one.reconcile();
  assert.deepEqual(did, [`move ${VIP} 1450`, `moved ${VIP}`]);
  assert.deepEqual([one.now.name, one.now.carrier], ['ens33', 'lo']);
  await settled(one);
  assert.equal(did.length, 2);
});

test('a route with a smaller MTU counts as the smaller MTU', async () => {
  const one = watch();
  routeMtu = 1400;
  await settled(one);
  assert.deepEqual(did, ['move 192.168.56.11 1350', 'resized 1350']);
  routeMtu = 9000;
  await settled(one);
  assert.deepEqual(did.slice(2), ['move 192.168.56.11 1450', 'resized 1450']);
});

test('an interface that enters a VRF or leaves it takes the sockets along', async () => {
  const one = watch();
  links[0]!.master = 'blue';
  await one.reconcile();
  await one.reconcile();
  assert.deepEqual(did.splice(0), ['move 192.168.56.11 1450 in blue', 'moved 192.168.56.11']);
  assert.deepEqual([one.now.vrf, one.present], ['blue', true]);
  assert.match(log.lines.at(-1)!, /^warn: underlay ens33: in the VRF blue$/);
  delete links[0]!.master;
  await one.reconcile();
  await one.reconcile();
  assert.deepEqual(did, ['move 192.168.56.11 1450', 'moved 192.168.56.11']);
  assert.match(log.lines.at(-1)!, /^warn: underlay ens33: in no VRF$/);
  assert.equal(log.lines.length, 2);
});
