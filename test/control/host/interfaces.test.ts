import assert from 'node:assert/strict';
import test from 'node:test';
import { HostError } from '../../../src/control/host/errors.js';
import { readPattern } from '../../../src/control/host/go-pattern.js';
import {
  chooseAddress,
  chooseInterface,
  findAddress,
  lookAgain,
  type Selection,
} from '../../../src/control/host/interfaces.js';
import type { Ip } from '../../../src/control/host/ip.js';
import { FakeRunner } from './fakes.js';

const inet = (local: string, more: object = {}) => ({ family: 'inet', local, ...more });
const LINKS = [
  {},
  { ifname: 'lo', ifindex: 1, mtu: 65536, addr_info: [inet('127.0.0.1')] },
  {
    ifname: 'ens33',
    ifindex: 2,
    mtu: 1500,
    addr_info: [
      inet('169.254.9.9'),
      inet('10.3.0.1', { deprecated: true }),
      inet('192.168.56.20', { dynamic: true }),
      inet('192.168.56.30', { secondary: true }),
      inet('192.168.56.11'),
      { family: 'inet6', local: 'fe80::1' },
    ],
  },
  { ifname: 'eth1', ifindex: 3, mtu: 9000, addr_info: [inet('10.0.0.7'), inet('10.0.0.8')] },
  { ifname: 'bare', ifindex: 4, mtu: 1500, addr_info: [] },
  { ifname: 'zero', ifindex: 5, mtu: 0, addr_info: [inet('10.9.0.1')] },
];
const ENS33 = { name: 'ens33', index: 2, mtu: 1500, address: '192.168.56.11' };

function choose(selection: Selection, routes: object[] = [{ dst: 'default', dev: 'ens33' }]) {
  const runner = new FakeRunner({
    'ip -j addr show': { stdout: JSON.stringify(LINKS) },
    'ip -j -4 route show default': { stdout: JSON.stringify(routes) },
    'ip -j -4 route get 10.0.0.99': {
      stdout: JSON.stringify([{ dst: '10.0.0.99', dev: 'eth1', prefsrc: '10.0.0.8' }]),
    },
    'ip -j -4 route get 10.0.0.7': {
      stdout: JSON.stringify([{ type: 'local', dst: '10.0.0.7', dev: 'lo', prefsrc: '10.0.0.7' }]),
    },
    'ip -j -4 route get 10.77.0.1': {
      code: 2,
      stderr: 'RTNETLINK answers: Network is unreachable',
    },
  });
  return chooseInterface(runner, selection);
}

test('the default route chooses, and its best address', async () => {
  assert.deepEqual(await choose({}), { ...ENS33, publicIp: '192.168.56.11' });
});

test('an unreachable default is passed over, a multipath one gives its first hop', async () => {
  const routes = [
    { type: 'unreachable', dst: 'default', metric: 5 },
    { dst: 'default', nexthops: [{ dev: 'eth1' }, { dev: 'ens33' }] },
  ];
  assert.equal((await choose({}, routes)).name, 'eth1');
});

test('-iface by name, by address, the first that matches', async () => {
  assert.equal((await choose({ iface: ['eth1'] })).address, '10.0.0.7');
  assert.equal((await choose({ iface: ['10.0.0.8'] })).address, '10.0.0.8');
  assert.equal((await choose({ iface: ['nope', '10.0.0.9', 'ens33', 'eth1'] })).name, 'ens33');
});

test('-iface that cannot be used is passed over for the next', async () => {
  assert.equal((await choose({ iface: ['lo', 'bare', 'zero', 'eth1'] })).name, 'eth1');
});

const patterns = (...texts: string[]) => texts.map(readPattern);

test('-iface-regex looks at addresses first, then at names, link by link', async () => {
  assert.equal((await choose({ ifaceRegex: patterns('0\\.8$') })).address, '10.0.0.8');
  assert.equal((await choose({ ifaceRegex: patterns('s33') })).address, '192.168.56.11');
  // In the order of preference within a link, and the loopback address never.
  assert.equal((await choose({ ifaceRegex: patterns('.') })).address, '192.168.56.11');
  assert.equal((await choose({ ifaceRegex: patterns('^[13]') })).address, '192.168.56.11');
  assert.equal((await choose({ ifaceRegex: patterns('^169') })).address, '169.254.9.9');
  assert.equal((await choose({ ifaceRegex: patterns('nope', 'eth', 'ens') })).name, 'eth1');
});

test('-iface, then -iface-regex, then -iface-can-reach', async () => {
  const reach = { canReach: '10.0.0.99' };
  assert.equal((await choose(reach)).address, '10.0.0.8');
  assert.equal((await choose({ iface: ['ens33'], ...reach })).name, 'ens33');
  assert.equal((await choose({ iface: ['nope'], ifaceRegex: patterns('^eth') })).name, 'eth1');
  assert.equal((await choose({ ifaceRegex: patterns('33'), ...reach })).name, 'ens33');
  const last = { iface: ['nope', 'bare'], ifaceRegex: patterns('^x'), ...reach };
  assert.equal((await choose(last)).address, '10.0.0.8');
});

test('nothing that was asked for can be used: each says why', async () => {
  const wanted = { iface: ['wlan0', 'bare'], ifaceRegex: patterns('^x', 'zero') };
  await assert.rejects(choose({ ...wanted, canReach: '10.77.0.1' }), (error: Error) => {
    assert.ok(error instanceof HostError);
    for (const part of [
      /^no interface matches -iface wlan0; the interface bare has no IPv4 address;/,
      /; no interface matches -iface-regex \^x; the interface zero has MTU 0;/,
      /; no route leads to -iface-can-reach 10\.77\.0\.1 \(.*Network is unreachable\); there are: e/,
    ]) {
      assert.match(error.message, part);
    }
    return true;
  });
  await assert.rejects(
    choose({ canReach: '10.0.0.7' }),
    /-iface-can-reach 10\.0\.0\.7 is an address of this host; give that of another/,
  );
  await assert.rejects(choose({ canReach: 'x' }), /-iface-can-reach x is not an IPv4 address/);
});

test('-public-ip alone selects the interface; beside -iface, an address of another is advertised', async () => {
  assert.deepEqual(await choose({ publicIp: '10.0.0.8' }), {
    name: 'eth1',
    index: 3,
    mtu: 9000,
    address: '10.0.0.8',
    publicIp: '10.0.0.8',
  });
  assert.deepEqual(await choose({ iface: ['ens33'], publicIp: '203.0.113.7' }), {
    ...ENS33,
    publicIp: '203.0.113.7',
  });
});

test('-public-ip beside -iface is listened on where this host has it, the interface stays', async () => {
  const iface = ['ens33'];
  const secondary = '192.168.56.30';
  assert.deepEqual(await choose({ iface, publicIp: secondary }), {
    ...ENS33,
    address: secondary,
    publicIp: secondary,
  });
  assert.deepEqual(await choose({ iface, publicIp: '10.0.0.8' }), {
    ...ENS33,
    address: '10.0.0.8',
    carrier: 'eth1',
    publicIp: '10.0.0.8',
  });
  // An interface without an address of its own will do.
  const bare = await choose({ iface: ['bare'], publicIp: '10.0.0.8' });
  assert.deepEqual([bare.name, bare.carrier, bare.address], ['bare', 'eth1', '10.0.0.8']);
  // Found in its own way, not by the address of the default route's choice.
  assert.deepEqual(
    (await choose({ ifaceRegex: patterns('eth'), publicIp: '10.0.0.7' })).carrier,
    undefined,
  );
});

test('a link in a VRF is told from one of a bridge', async () => {
  const member = (ifname: string, master: string, address: string) => {
    return { ifname, ifindex: 7, mtu: 1500, master, addr_info: [inet(address)] };
  };
  const kind = (info_kind: string) => ({ stdout: JSON.stringify([{ linkinfo: { info_kind } }]) });
  const links = [member('in-vrf', 'blue', '10.1.0.1'), member('port', 'br0', '10.2.0.1')];
  const runner = new FakeRunner({
    'ip -j addr show': { stdout: JSON.stringify(links) },
    'ip -j -d link show dev blue': kind('vrf'),
    'ip -j -d link show dev br0': kind('bridge'),
  });
  const within = await chooseInterface(runner, { iface: ['in-vrf'] });
  assert.deepEqual([within.vrf, within.master], ['blue', 'blue']);
  const port = await chooseInterface(runner, { iface: ['port'] });
  assert.deepEqual([port.vrf, port.master], [undefined, 'br0']);
  assert.equal(
    (await findAddress(runner, { ...port, name: 'gone', address: '10.1.0.1' }))?.vrf,
    'blue',
  );
});

test('a link that enters or leaves a VRF is looked up anew', async () => {
  let master: string | undefined;
  const ip = {
    query: async () => [
      {
        ...{ ifname: 'eth1', ifindex: 3, mtu: 9000, master },
        addr_info: [inet('10.0.0.8'), inet('10.0.0.7')],
      },
    ],
  } as unknown as Ip;
  const known = { name: 'eth1', index: 3, mtu: 9000, address: '10.0.0.7', publicIp: '10.0.0.7' };
  const within = { ...known, master: 'blue', vrf: 'blue' };
  assert.deepEqual(await lookAgain(ip, known), { here: known, beside: ['10.0.0.8'] });
  assert.equal(await lookAgain(ip, within), undefined);
  master = 'blue';
  assert.deepEqual((await lookAgain(ip, within))?.here, within);
  assert.equal(await lookAgain(ip, known), undefined);
});

test('errors are sentences that say what to give', async () => {
  await assert.rejects(choose({ publicIp: '203.0.113.7' }), /203\.0\.113\.7.*behind a NAT.*-iface/);
  await assert.rejects(choose({ publicIp: 'me' }), /-public-ip me is not an IPv4 address/);
  await assert.rejects(
    choose({ iface: ['wlan0'] }),
    /no interface matches -iface wlan0; there are: ens33 \(.*192\.168\.56\.11\).*bare \(no IPv4/,
  );
  await assert.rejects(choose({ iface: ['bare'] }), /bare has no IPv4 address/);
  await assert.rejects(choose({ iface: ['zero'] }), /zero has MTU 0/);
  await assert.rejects(choose({}, []), /no IPv4 default route.*name one with -iface/);
});

test('an ip without JSON is found out', async () => {
  const busy = new FakeRunner({
    'ip -j addr show': { code: 1, stderr: 'ip: invalid option -- j' },
  });
  await assert.rejects(chooseInterface(busy, {}), /ip addr show: ip: invalid option/);
  const odd = new FakeRunner({ 'ip -j addr show': { stdout: '1: lo: <LOOPBACK>' } });
  await assert.rejects(chooseInterface(odd, {}), /is it iproute2's ip/);
});

const net = (local: string, prefixlen: number, more: object = {}) =>
  inet(local, { prefixlen, ...more });

/** The choice on an interface with these addresses: the first, then the others. */
async function among(addr_info: object[], selection: Selection = { iface: ['eth0'] }) {
  const links = [{ ifname: 'eth0', ifindex: 2, mtu: 1500, addr_info }];
  const stdout = JSON.stringify(links);
  const runner = new FakeRunner({ 'ip -j addr show': { stdout } });
  const { at, others, floating } = await chooseAddress(runner, selection);
  return `${at.address}${floating ? ' floating' : ''} | ${others.map(({ address }) => address).join(' ')}`;
}

test('an address without a network comes behind those with one, however they came about', async () => {
  const vips = [net('10.0.0.112', 32), net('10.0.0.113', 32)];
  const real = net('10.0.0.11', 24, { dynamic: true });
  assert.equal(await among([...vips, real]), '10.0.0.11 | 10.0.0.112 10.0.0.113');
  const second = net('10.0.0.12', 24, { dynamic: true, secondary: true });
  assert.equal(await among([vips[0]!, second, real]), '10.0.0.11 | 10.0.0.12 10.0.0.112');
  // What a host gave itself is no network to be reached in.
  assert.equal(
    await among([net('169.254.1.1', 16), vips[0]!]),
    '10.0.0.112 floating | 169.254.1.1',
  );
  // Where a cloud gives nothing else, it is the host's own; and on a point-to-point link, too.
  assert.equal(await among([net('10.0.0.5', 32, { dynamic: true })]), '10.0.0.5 floating | ');
  const pointToPoint = net('10.0.0.6', 32, { address: '10.0.0.7' });
  assert.equal(await among([real, pointToPoint]), '10.0.0.6 | 10.0.0.11');
  const away = [
    net('10.0.0.8', 24, { deprecated: true }),
    net('10.0.0.9', 24, { tentative: true }),
  ];
  assert.equal(await among([...away, vips[0]!]), '10.0.0.112 floating | ');
});

test('the address of our lease goes before all others of an interface, but is no other selection', async () => {
  const addresses = [net('10.0.0.11', 24), net('10.0.0.112', 32, { secondary: true })];
  const leased = '10.0.0.112';
  const on = (selection: Selection) => among(addresses, { leased, ...selection });
  assert.equal(await on({ iface: ['eth0'] }), '10.0.0.112 floating | 10.0.0.11');
  assert.equal(await on({ ifaceRegex: patterns('^10') }), '10.0.0.112 floating | 10.0.0.11');
  assert.equal(await on({ ifaceRegex: patterns('11$') }), '10.0.0.11 | ');
  assert.equal(await on({ iface: ['10.0.0.11'] }), '10.0.0.11 | ');
  assert.equal(await on({ iface: ['eth0'], publicIp: '10.0.0.11' }), '10.0.0.11 | ');
  assert.equal(await on({ publicIp: '10.0.0.11' }), '10.0.0.11 | ');
  assert.equal(
    await among(addresses, { iface: ['eth0'], leased: '10.0.0.99' }),
    '10.0.0.11 | 10.0.0.112',
  );
});

test('an address is found where it is, or only on a link that carries', async () => {
  const known = { name: 'eth0', index: 2, mtu: 1500, address: '10.0.0.11', publicIp: '10.0.0.11' };
  for (const [flags, carries] of [
    [['UP', 'LOWER_UP'], true],
    [['UP', 'NO-CARRIER'], false],
    [['BROADCAST'], false],
  ] as const) {
    const link = {
      ifname: 'eth0',
      ifindex: 2,
      mtu: 1500,
      flags,
      addr_info: [net('10.0.0.11', 24)],
    };
    const runner = new FakeRunner({ 'ip -j addr show': { stdout: JSON.stringify([link]) } });
    assert.deepEqual(await findAddress(runner, known), known);
    assert.deepEqual(await findAddress(runner, known, true), carries ? known : undefined);
  }
});
