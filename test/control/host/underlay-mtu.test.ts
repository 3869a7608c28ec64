import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ip } from '../../../src/control/host/ip.js';
import { systemRunner } from '../../../src/control/host/runner.js';
import { underlayMtu } from '../../../src/control/host/underlay-mtu.js';
import { realTimers } from './fakes.js';
import { inNamespace, ip } from './inside.js';

const OVERLAY = '10.10.0.0/16';
const inet = (local: string) => [{ family: 'inet', local }];
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

function fake(answers: Record<string, object[]>) {
  const query = async (line: string): Promise<unknown[]> => {
    const [, name] = /^addr show dev (.*)$/.exec(line) ?? [];
    if (name !== undefined) return LINKS.filter(({ ifname }) => ifname === name);
    const all: Record<string, object[]> = { 'addr show to 0.0.0.0/0': LINKS, ...answers };
    return all[line] ?? [];
  };
  return { query } as unknown as Ip;
}

const of = (name: string, answers: Record<string, object[]> = {}) => {
  const { mtu } = LINKS.find(({ ifname }) => ifname === name)!;
  const dummies = { 'addr show type dummy': [{}, { ifname: 'vip' }, {}] };
  return underlayMtu(fake({ ...dummies, ...answers }), { name, mtu }, OVERLAY);
};

const EXAMPLE = 'route show table main dev eth0';

test("the device's, where no route says less", async () => {
  assert.equal(await of('eth0'), 9000);
  assert.equal(
    await of('eth0', { [EXAMPLE]: [{ dst: 'default', metrics: [{ mtu: 65000 }] }] }),
    9000,
  );
  assert.equal(
    await of('eth0', { [EXAMPLE]: [{ dst: 'default', metrics: [{ advmss: 900 }] }] }),
    9000,
  );
});

test('the least that its own routes say: the default one or the network, not one to somewhere', async () => {
  const metrics = [{ mtu: 1400 }];
  assert.equal(await of('eth0', { [EXAMPLE]: [{ dst: 'default', metrics }] }), 1400);
  const network = { dst: '192.168.64.0/24', scope: 'link', metrics };
  assert.equal(await of('eth0', { [EXAMPLE]: [{ dst: 'default' }, network] }), 1400);
  const somewhere = { dst: '10.9.0.0/24', gateway: '192.168.64.1', metrics };
  assert.equal(await of('eth0', { [EXAMPLE]: [somewhere] }), 9000);
});

test('in a VRF the routes of its table count', async () => {
  const routes = { 'route show vrf blue dev eth0': [{ dst: 'default', metrics: [{ mtu: 1400 }] }] };
  const within = { name: 'eth0', mtu: 9000, vrf: 'blue' };
  assert.equal(await underlayMtu(fake(routes), within, OVERLAY), 1400);
  assert.equal(await of('eth0', routes), 9000);
});

test("an address on lo or on a dummy: the default route's device, with the route's own", async () => {
  for (const name of ['lo', 'vip']) {
    const way = [{ type: 'unreachable' }, { dev: 'eth0' }, { dev: 'eth1', metric: 900 }];
    assert.equal(await of(name, { 'route show table main default': way }), 9000, name);
    const less = [{ dev: 'eth0', metrics: [{ mtu: 1400 }] }];
    assert.equal(await of(name, { 'route show table main default': less }), 1400, name);
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
