import assert from 'node:assert/strict';
import test from 'node:test';
import { findWays } from '../../../src/control/host/ways.js';

const SOURCE = '192.168.56.11';
const NETWORK_UNREACHABLE = 'RTNETLINK answers: Network is unreachable';

/** An `ip` that answers lines from a table, as iproute2 6.1 does. */
function fakeIp(answers: Record<string, unknown[] | string>) {
  const asked: string[] = [];
  let restarts = 0;
  return {
    asked,
    restarts: () => restarts,
    restart: () => {
      restarts += 1;
    },
    queryAll: async (lines: readonly string[]) => {
      asked.push(...lines);
      const answer = (line: string) => answers[line] ?? NETWORK_UNREACHABLE;
      return new Map(lines.map((line) => [line, answer(line)]));
    },
  };
}

const ETH0 = { 'addr show dev eth0': [{ ifname: 'eth0', mtu: 1500 }] };
const get = (address: string, more = '') => `route get ${address} from ${SOURCE}${more}`;

async function wayTo(address: string, answers: Record<string, unknown[] | string>) {
  const ip = fakeIp({ ...ETH0, ...answers });
  const ways = await findWays(ip, [address], { source: SOURCE, tunnel: 'flannel.1' });
  return ways.get(address);
}

test('without an MTU of the route that of the device counts; the smaller of two otherwise', async () => {
  const row = { dst: '10.0.0.2', gateway: '192.168.56.1', dev: 'eth0', flags: [] };
  const byDevice = { device: 'eth0', mtu: 1500, from: 'device' };
  assert.deepEqual(await wayTo('10.0.0.2', { [get('10.0.0.2')]: [row] }), byDevice);
  for (const [mtu, way] of [
    [1400, { device: 'eth0', mtu: 1400, from: 'route' }],
    [1500, byDevice],
    [9000, byDevice],
  ] as const) {
    const answers = { [get('10.0.0.2')]: [{ ...row, metrics: [{ mtu }] }] };
    assert.deepEqual(await wayTo('10.0.0.2', answers), way, String(mtu));
  }
});

test('an MTU that was learnt from ICMP is not that of the route', async () => {
  const learnt = { dev: 'eth0', expires: 599, metrics: [{ mtu: 552 }] };
  const plain = `route get fibmatch 10.0.0.2 from ${SOURCE}`;
  for (const [metrics, way] of [
    [{}, { device: 'eth0', mtu: 1500, from: 'device' }],
    [{ metrics: [{ mtu: 1400 }] }, { device: 'eth0', mtu: 1400, from: 'route' }],
  ] as const) {
    const answers = { [get('10.0.0.2')]: [learnt], [plain]: [{ dev: 'eth0', ...metrics }] };
    assert.deepEqual(await wayTo('10.0.0.2', answers), way);
  }
});

test('each way that leads nowhere has its reason', async () => {
  const rows: [unknown[] | string, RegExp][] = [
    [NETWORK_UNREACHABLE, /^no route leads there$/],
    ['RTNETLINK answers: No route to host', /^an unreachable route/],
    ['RTNETLINK answers: Permission denied', /^a prohibit route/],
    ['RTNETLINK answers: Invalid argument', /^a blackhole route/],
    ['something new', /^something new$/],
    [[{ type: 'local', dev: 'lo' }], /an address of this host/],
    [[{ type: 'broadcast', dev: 'eth0' }], /a broadcast address/],
    [[{ dev: 'flannel.1' }], /into flannel\.1, the tunnel itself/],
    [[{ dev: 'eth7' }], /eth7, which cannot be looked at/],
    [[], /no route/],
  ];
  for (const [answer, reason] of rows) {
    assert.match(String(await wayTo('10.0.0.2', { [get('10.0.0.2')]: answer })), reason);
  }
});

test('a device that the running ip knows by another name: the next look is by a new one', async () => {
  const ip = fakeIp({ ...ETH0, [get('10.0.0.2')]: [{ dev: 'old0' }] });
  await findWays(ip, ['10.0.0.2'], { source: SOURCE, tunnel: 'flannel.1' });
  assert.equal(ip.restarts(), 1);
});

test('5,000 peers behind one device: one question each, and one about the device', async () => {
  const addresses = Array.from({ length: 5000 }, (_, i) => `10.1.${i >> 8}.${i & 255}`);
  const answers = Object.fromEntries(addresses.map((a) => [get(a), [{ dev: 'eth0' }]]));
  const ip = fakeIp({ ...ETH0, ...answers });
  const ways = await findWays(ip, addresses, { source: SOURCE, tunnel: 'flannel.1' });
  assert.equal(ways.size, 5000);
  assert.equal(ip.asked.length, 5001);
});

test('in a VRF its routes are asked', async () => {
  const ip = fakeIp({ ...ETH0, [get('10.0.0.2', ' vrf blue')]: [{ dev: 'eth0' }] });
  const options = { source: SOURCE, tunnel: 'flannel.1', vrf: 'blue' };
  const ways = await findWays(ip, ['10.0.0.2'], options);
  assert.deepEqual(ways.get('10.0.0.2'), { device: 'eth0', mtu: 1500, from: 'device' });
});
