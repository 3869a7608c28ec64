import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Routing } from '../../../src/operate/findings/routing.js';
import { BRIDGE, FakeSubject, type Told, TUNNEL } from './subjects.js';

const OUTER = 'route get 192.168.56.11 from 192.168.56.12 iif ens33';
const OWN = 'route get 10.10.59.254';
const OUT = 'route get 10.10.59.254 from 10.10.58.254 iif docker0';
const IN = 'route get 10.10.58.254 from 10.10.59.254 iif flannel.1';
const MAIN = 'route show table main exact 10.10.59.0/24';
const RULES = [
  { priority: 0, src: 'all', table: 'local' },
  { priority: 32766, src: 'all', table: 'main' },
  { priority: 32767, src: 'all', table: 'default' },
];
const WELL = {
  'addr show to 10.10.58.0/24': [BRIDGE, TUNNEL],
  [OUTER]: [{ type: 'local', dst: '192.168.56.11', dev: 'lo', iif: 'ens33' }],
  [OWN]: [{ dst: '10.10.59.254', dev: 'flannel.1' }],
  [OUT]: [{ dst: '10.10.59.254', dev: 'flannel.1', iif: 'docker0' }],
  [IN]: [{ dst: '10.10.58.254', dev: 'docker0', iif: 'flannel.1' }],
  [MAIN]: [{ dst: '10.10.59.0/24', dev: 'flannel.1', scope: 'link' }],
  'rule show': RULES,
};
const conf = (device: string, key: string) => `sys/net/ipv4/conf/${device}/${key}`;
const PROC = { [conf('all', 'rp_filter')]: '0\n', [conf('docker0', 'forwarding')]: '1\n' };
const STRICT = { ...PROC, [conf('all', 'rp_filter')]: '1\n' };

type Test = { after(call: () => void): void };
const make = (t: Test, { ip = {}, proc = PROC, subject = {} }: Told = {}) =>
  new FakeSubject(t, { ip: { ...WELL, ...ip }, proc, subject });
const find = async (t: Test, told: Told = {}) => new Routing().look(make(t, told).subject);

test('all goes its way: nothing, and the rules are not even asked for', async (t) => {
  const host = make(t, { proc: STRICT });
  assert.deepEqual(await new Routing().look(host.subject), []);
  assert.deepEqual(host.asked, ['addr show to 10.10.58.0/24', OUTER, OWN, OUT, IN]);
});

test('a table of somebody else takes them: its rule, and a cure before it', async (t) => {
  const rule = { priority: 5270, src: 'all', table: '52' };
  const by = { dev: 'tun0', table: '52' };
  const ip = { [OWN]: [by], [OUT]: [by], [IN]: [by], 'rule show': [rule, ...RULES] };
  assert.deepEqual(await find(t, { ip }), [
    {
      code: 'policy-route',
      severity: 'error',
      scope: 'host',
      about: 'rule 5270: from all lookup 52',
      text:
        "packets between containers here and 10.10.59.0/24 do not take weft's routes: the rule " +
        '"5270: from all lookup 52" leads them to tun0, not to flannel.1',
      cure: 'ip rule add to 10.10.0.0/16 lookup main priority 5269',
    },
  ]);
});

test('one of two peers is led away: that is no fault of the whole host', async (t) => {
  const [peer] = make(t).subject.peers;
  const peers = [peer!, { ...peer!, publicIp: '192.168.56.13', subnet: '10.10.60.0/24' }];
  const rule = { priority: 9, src: 'all', dst: '10.10.59.0', dstlen: 24, table: '7' };
  const ip = { [OWN]: [{ dev: 'tun0', table: '7' }], 'rule show': [rule, ...RULES] };
  const [found] = await find(t, { ip, subject: { peers } });
  assert.equal(found!.scope, 'peer');
});

test('before the first rule there is no room: that one is to go', async (t) => {
  const rule = { priority: 0, src: 'all', iif: 'docker0', table: '52' };
  const ip = { [OUT]: [{ dev: 'tun0', table: '52' }], 'rule show': [rule, ...RULES] };
  const [found] = await find(t, { ip });
  assert.equal(found!.cure, 'ip rule del from all iif docker0 lookup 52 priority 0');
});

test('no rule leads to the main table', async (t) => {
  const unreachable = 'RTNETLINK answers: Network is unreachable';
  const rules = RULES.filter(({ table }) => table !== 'main');
  const ip = { [OWN]: unreachable, [OUT]: unreachable, [IN]: unreachable, 'rule show': rules };
  const found = await find(t, { ip });
  assert.deepEqual(
    found.map(({ about, cure }) => [about, cure]),
    [['ip rule', 'ip rule add lookup main priority 32766']],
  );
});

test('what the main table itself leads elsewhere or lacks is told by others', async (t) => {
  const elsewhere = [{ dst: '10.10.59.254', dev: 'ens33' }];
  assert.deepEqual(await find(t, { ip: { [OWN]: elsewhere, [OUT]: elsewhere } }), []);
  const none = 'RTNETLINK answers: Network is unreachable';
  const wg = { priority: 32765, not: null, src: 'all', fwmark: '0xca6c', table: '51820' };
  const ip = { [OWN]: none, [OUT]: none, [MAIN]: [], 'rule show': [wg, ...RULES] };
  assert.deepEqual(await find(t, { ip }), []);
  // A blackhole in the place of ours.
  const hole = 'RTNETLINK answers: Invalid argument';
  const black = { [OWN]: hole, [OUT]: hole, [IN]: hole };
  assert.deepEqual(await find(t, { ip: black, proc: STRICT }), []);
});

test('a bridge that does not forward is told by the loop', async (t) => {
  const proc = { ...STRICT, [conf('docker0', 'forwarding')]: '0\n' };
  assert.deepEqual(
    await find(t, { ip: { [OUT]: 'RTNETLINK answers: No route to host' }, proc }),
    [],
  );
});

for (const words of ['Invalid cross-device link', 'Invalid argument']) {
  test(`rp_filter drops what comes out of the tunnel (${words})`, async (t) => {
    const ip = { [IN]: `RTNETLINK answers: ${words}` };
    const proc = { ...PROC, [conf('flannel.1', 'rp_filter')]: '1\n' };
    const [found, ...more] = await find(t, { ip, proc });
    assert.deepEqual(more, []);
    assert.deepEqual([found!.code, found!.severity, found!.scope], ['rp-filter', 'error', 'host']);
    assert.match(found!.text, /^flannel\.1 drops what .*all is 0, flannel\.1 is 1\)/);
    assert.equal(found!.cure, 'sysctl -w net/ipv4/conf/flannel.1/rp_filter=2');
  });
}

test('on the underlay: an error once something was dropped, until it is mended', async (t) => {
  const netstat = (n: number) => ({
    'net/netstat': `TcpExt: A IPReversePathFilter B\nTcpExt: 1 ${n} 2\nIpExt: C\nIpExt: 9\n`,
  });
  const host = make(t, { ip: { [OUTER]: 'RTNETLINK answers: Invalid argument' }, proc: STRICT });
  const check = new Routing();
  const severity = async () => (await check.look(host.subject)).map((one) => one.severity);
  host.write(netstat(5));
  assert.deepEqual(await severity(), ['warning']);
  host.write(netstat(6));
  assert.deepEqual(await severity(), ['error']);
  assert.deepEqual(await severity(), ['error']);
  host.ip[OUTER] = WELL[OUTER]!;
  assert.deepEqual(await severity(), []);
  host.ip[OUTER] = 'RTNETLINK answers: Invalid argument';
  assert.deepEqual(await severity(), ['warning']);
  host.write({ [conf('all', 'rp_filter')]: '0\n' });
  assert.deepEqual(await severity(), [], 'without a filter it is something else');
});

test('where a rule leads the way back elsewhere, the filter is not told beside it', async (t) => {
  const rule = { priority: 9, src: 'all', table: '52' };
  const dropped = 'RTNETLINK answers: Invalid cross-device link';
  const ip = {
    [OWN]: [{ dev: 'tun0', table: '52' }],
    [IN]: dropped,
    'rule show': [rule, ...RULES],
  };
  const found = await find(t, { ip, proc: STRICT });
  assert.deepEqual(
    found.map(({ code }) => code),
    ['policy-route'],
  );
});

test('a peer that is routed directly goes by the underlay; without a bridge only this host does', async (t) => {
  const [peer] = make(t).subject.peers;
  const subject = { peers: [{ ...peer!, direct: true }] };
  const direct = { dev: 'tun0', table: '52' };
  const inn = 'route get 10.10.58.254 from 10.10.59.254 iif ens33';
  const well = {
    [OWN]: [{ dev: 'ens33' }],
    [OUT]: [{ dev: 'ens33' }],
    [inn]: [{ dev: 'docker0' }],
  };
  assert.deepEqual(await find(t, { ip: well, subject }), []);
  const rules = { 'rule show': [{ priority: 9, src: 'all', table: '52' }, ...RULES] };
  const [found] = await find(t, { ip: { ...well, ...rules, [OWN]: [direct] }, subject });
  assert.match(found!.text, /leads them to tun0, not to ens33$/);
  const host = make(t, { ip: { 'addr show to 10.10.58.0/24': [TUNNEL] } });
  assert.deepEqual(await new Routing().look(host.subject), []);
  assert.deepEqual(host.asked.slice(1), [OUTER, OWN]);
});

test('of thousands of peers some hundred are asked for, from all over them', async (t) => {
  const peers = Array.from({ length: 5000 }, (_, i) => ({
    publicIp: `172.16.${i >> 8}.${i & 255}`,
    ...{ subnet: `10.${64 + (i >> 8)}.${i & 255}.0/24`, direct: false },
  }));
  const host = make(t, { subject: { peers } });
  await new Routing().look(host.subject);
  const own = host.asked.filter((line) => line.split(' ').length === 3);
  assert.ok(own.length >= 400 && own.length <= 500, `${own.length}`);
  assert.match(own.at(-1)!, /10\.83\./);
});
