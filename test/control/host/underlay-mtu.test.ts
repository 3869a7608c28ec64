import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ip } from '../../../src/control/host/ip.js';
import { systemRunner } from '../../../src/control/host/runner.js';
import { underlayMtu } from '../../../src/control/host/underlay-mtu.js';
import { realTimers } from './fakes.js';
import { inNamespace, ip } from './inside.js';

const OVERLAY = '10.10.0.0/16';
const inet = (local: string) => [{ family: 'inet', local, prefixlen: 24 }];
const LINKS = [
  { ifname: 'lo', mtu: 65536, flags: ['LOOPBACK', 'UP'], addr_info: inet('192.0.2.1') },
  { ifname: 'eth0', mtu: 9000, flags: ['UP'], addr_info: inet('192.168.64.3') },
  { ifname: 'eth1', mtu: 1500, flags: ['UP'], addr_info: inet('192.168.65.3') },
  { ifname: 'down', mtu: 1000, flags: [], addr_info: inet('192.168.66.3') },
  { ifname: 'bare', mtu: 1000, flags: ['UP'], addr_info: [{ family: 'inet6', local: 'fe80::1' }] },
  { ifname: 'vip', mtu: 1200, flags: ['NOARP', 'UP'], addr_info: inet('192.0.2.2') },
  { ifname: 'flannel.1', mtu: 1450, flags: ['UP'], addr_info: inet('10.10.1.0') },
  { ifname: 'docker0', mtu: 1350, flags: ['UP'], addr_info: inet('10.10.1.1') },
];

const unreachable = 'RTNETLINK answers: Network is unreachable';

/** `asked` gets the lines about routes. */
function fake(answers: Record<string, object[] | string>, asked: string[] = []) {
  const query = async (line: string): Promise<unknown[]> => {
    const [, name] = /^addr show dev (.*)$/.exec(line) ?? [];
    if (name !== undefined) return LINKS.filter(({ ifname }) => ifname === name);
    const all: Record<string, object[] | string> = { 'addr show to 0.0.0.0/0': LINKS, ...answers };
    return (all[line] ?? []) as unknown[];
  };
  const queryAll = async (lines: readonly string[]) => {
    asked.push(...lines);
    return new Map(lines.map((line) => [line, answers[line] ?? unreachable]));
  };
  return { query, queryAll } as unknown as Ip;
}

const of = (name: string, answers: Record<string, object[] | string> = {}, asked?: string[]) => {
  const { mtu } = LINKS.find(({ ifname }) => ifname === name)!;
  const dummies = { 'addr show type dummy': [{}, { ifname: 'vip' }, {}] };
  return underlayMtu(fake({ ...dummies, ...answers }, asked), { name, mtu }, OVERLAY);
};

const DEFAULT = 'route get fibmatch 255.0.0.1 oif eth0';
const NETWORK = 'route get fibmatch 192.168.64.1 oif eth0';
const route = (more: object) => [{ dst: 'default', dev: 'eth0', ...more }];

test("the device's, where no route says less", async () => {
  assert.equal(await of('eth0'), 9000);
  assert.equal(await of('eth0', { [DEFAULT]: route({ metrics: [{ mtu: 65000 }] }) }), 9000);
  assert.equal(await of('eth0', { [DEFAULT]: route({ metrics: [{ advmss: 900 }] }) }), 9000);
});

test('the least that its own routes say: the default one or the network, not one to somewhere', async () => {
  const metrics = [{ mtu: 1400 }];
  assert.equal(await of('eth0', { [DEFAULT]: route({ metrics }) }), 1400);
  const network = route({ dst: '192.168.64.0/24', scope: 'link', metrics });
  assert.equal(await of('eth0', { [DEFAULT]: route({}), [NETWORK]: network }), 1400);
  const somewhere = route({ dst: '255.0.0.0/8', gateway: '192.168.64.1', metrics });
  assert.equal(await of('eth0', { [DEFAULT]: somewhere }), 9000);
  assert.equal(await of('eth0', { [DEFAULT]: route({ dev: 'eth1', metrics }) }), 9000);
  const both = { dev: undefined, nexthops: [{ dev: 'eth1' }, { dev: 'eth0' }] };
  assert.equal(await of('eth0', { [DEFAULT]: route({ ...both, metrics }) }), 1400);
});

test('a host that throws packets for one unused network away: the default route is found by another', async () => {
  const blackhole = 'RTNETLINK answers: Invalid argument';
  const answers = {
    [DEFAULT]: blackhole,
    'route get fibmatch 203.0.113.1 oif eth0': route({ metrics: [{ mtu: 1400 }] }),
  };
  assert.equal(await of('eth0', answers), 1400);
});

test('routes are asked for one by one, and never listed', async () => {
  const asked: string[] = [];
  await of('eth0', {}, asked);
  await of('lo', {}, asked);
  assert.deepEqual(
    asked.filter((line) => !line.startsWith('route get fibmatch ')),
    [],
  );
  assert.ok(asked.includes(DEFAULT) && asked.includes(NETWORK));
});

test('what ip cannot tell is an error', async () => {
  const refused = { [DEFAULT]: 'Cannot find device "eth0"' };
  await assert.rejects(of('eth0', refused), /route get .*Cannot find device/);
});

test('in a VRF the routes of its table count', async () => {
  const routes = { 'route get fibmatch 255.0.0.1 vrf blue': route({ metrics: [{ mtu: 1400 }] }) };
  const within = { name: 'eth0', mtu: 9000, vrf: 'blue' };
  assert.equal(await underlayMtu(fake(routes), within, OVERLAY), 1400);
  assert.equal(await of('eth0', routes), 9000);
});

test("an address on lo or on a dummy: the default route's device, with the route's own", async () => {
  const way = 'route get fibmatch 255.0.0.1';
  for (const name of ['lo', 'vip']) {
    assert.equal(await of(name, { [way]: route({}) }), 9000, name);
    assert.equal(await of(name, { [way]: route({ metrics: [{ mtu: 1400 }] }) }), 1400, name);
  }
});

test("without a default route: the least of what could be meant, never the tunnel's or a bridge's", async () => {
  assert.equal(await of('lo'), 1500);
  assert.equal(await of('vip'), 1500);
  assert.equal(
    await underlayMtu(
      fake({ 'addr show to 0.0.0.0/0': [LINKS[0]!] }),
      { name: 'lo', mtu: 65536 },
      OVERLAY,
    ),
    1500,
  );
});

inNamespace('the MTU of an underlay in a network namespace', import.meta.url, () => {
  test('as this kernel and this ip tell of it', async (t) => {
    const child = new Ip(systemRunner, realTimers);
    t.after(() => child.close());
    const eth0 = () => underlayMtu(child, { name: 'eth0', mtu: 9000 }, OVERLAY);
    const lo = () => underlayMtu(child, { name: 'lo', mtu: 65536 }, OVERLAY);
    ip('link set eth0 mtu 9000');
    ip('addr add 192.0.2.1/32 dev lo');
    assert.deepEqual([await eth0(), await lo()], [9000, 9000]);
    ip('link set eth0 mtu 1300');
    assert.equal(await lo(), 1300);
    ip('link set eth0 mtu 9000');
    ip('route add default via 192.168.64.1 dev eth0 mtu 1400');
    assert.deepEqual([await eth0(), await lo()], [1400, 1400]);
    ip('route change default via 192.168.64.1 dev eth0');
    ip(
      'route change 192.168.64.0/24 dev eth0 proto kernel scope link src 192.168.64.3 mtu lock 1200',
    );
    assert.deepEqual([await eth0(), await lo()], [1200, 9000]);
    const [row] = await child.query('addr show dev lo');
    assert.match(JSON.stringify(row), /192\.0\.2\.1/, 'the child still tells addresses');
    await assert.rejects(underlayMtu(child, { name: 'none', mtu: 1500 }, OVERLAY), /none/);
  });
});
