import assert from 'node:assert/strict';
import test from 'node:test';
import { Ip } from '../../../src/control/host/ip.js';
import { RouteSync } from '../../../src/control/host/routes.js';
import { FakeIp, FakeJournal, FakeTimers } from './fakes.js';

function rig() {
  const fake = new FakeIp();
  const ip = new Ip(fake, new FakeTimers());
  return { fake, ip, sync: new RouteSync(ip, 'flannel.1', '10.5.0.0/16') };
}

test('the first set lists, adds what is missing, removes what is stale', async () => {
  const { fake, sync } = rig();
  fake.routes.set('10.5.1.0/24', { dev: 'flannel.1', scope: 'link' });
  fake.routes.set('10.5.9.0/24', { dev: 'flannel.1', scope: 'link' });
  const report = await sync.set(['10.5.1.0/24', '10.5.2.0/24']);
  assert.deepEqual(report, { added: 1, removed: 1, problems: [] });
  assert.deepEqual(fake.lines, [
    'route show table main dev flannel.1 proto boot',
    'route add 10.5.2.0/24 dev flannel.1 proto boot scope link',
    'route del 10.5.9.0/24 dev flannel.1 proto boot metric 0',
  ]);
});

test('a later set compares in memory and costs only its change', async () => {
  const { fake, sync } = rig();
  await sync.set(['10.5.1.0/24']);
  fake.lines.length = 0;
  await sync.set(['10.5.1.0/24', '10.5.2.0/24']);
  await sync.set(['10.5.1.0/24', '10.5.2.0/24']);
  assert.deepEqual(fake.lines, ['route add 10.5.2.0/24 dev flannel.1 proto boot scope link']);
});

test("flannel's form is replaced; foreign routes stay", async () => {
  const { fake, sync } = rig();
  fake.routes.set('10.5.1.0/24', { dev: 'flannel.1', gateway: '10.5.1.0' });
  const foreign: [string, Record<string, unknown>][] = [
    ['172.16.0.0/12', { dev: 'flannel.1', scope: 'link' }],
    ['default', { dev: 'flannel.1', scope: 'link' }],
    ['10.5.7.0/24', { dev: 'flannel.1', scope: 'link', protocol: 'static' }],
    ['10.5.8.0/24', { dev: 'flannel.1', scope: 'link', metric: 7 }],
    ['10.5.6.0/24', { type: 'blackhole' }],
    ['10.5.5.0/24', { type: 'blackhole', metric: 7 }],
    ['10.5.4.0/24', { dev: 'eth0', gateway: '192.168.64.9' }],
    ['10.5.3.0/24', { dev: 'eth0', scope: 'link' }],
  ];
  for (const [dst, rest] of foreign) fake.routes.set(dst, rest);
  await sync.set(['10.5.1.0/24']);
  await sync.set([]);
  assert.deepEqual([...fake.routes], foreign);
});

test('a route outside the network that was installed here is ours', async () => {
  const { fake, sync } = rig();
  await sync.set(['10.99.1.0/24']);
  // Both at once: the list is read when the route is no longer desired.
  await Promise.all([sync.reconcile(), sync.set([])]);
  assert.deepEqual([...fake.routes], []);
});

test('changes that come while a batch runs are coalesced into the newest set', async () => {
  const { fake, sync } = rig();
  await sync.set([]);
  fake.lines.length = 0;
  fake.held = [];
  const first = sync.set(['10.5.1.0/24']);
  await new Promise(setImmediate);
  const others = [2, 3, 4, 5].map((n) => sync.set([`10.5.${n}.0/24`]));
  fake.release();
  const reports = await Promise.all([first, ...others]);
  assert.deepEqual([...fake.routes.keys()], ['10.5.5.0/24']);
  assert.equal(fake.lines.length, 3);
  for (const report of reports) assert.deepEqual(report.problems, []);
});

test('a thousand peers at once, then none', async () => {
  const { fake, sync } = rig();
  const peers = Array.from({ length: 1000 }, (_, i) => `10.5.${i >> 3}.${(i & 7) * 32}/27`);
  assert.deepEqual(await sync.set(peers), { added: 1000, removed: 0, problems: [] });
  assert.deepEqual([...fake.routes.keys()], peers);
  assert.deepEqual(await sync.set([]), { added: 0, removed: 1000, problems: [] });
  assert.equal(fake.routes.size, 0);
});

test('what is newer does not wait for the rest of a thousand', async () => {
  const { fake, sync } = rig();
  await sync.set([]);
  fake.lines.length = 0;
  fake.held = [];
  const first = sync.set(
    Array.from({ length: 1000 }, (_, i) => `10.5.${i >> 3}.${(i & 7) * 32}/27`),
  );
  await new Promise(setImmediate);
  const newer = sync.set(['10.5.200.0/24']);
  fake.release();
  await Promise.all([first, newer]);
  assert.deepEqual([...fake.routes.keys()], ['10.5.200.0/24']);
  const made = fake.lines.filter((line) => line.startsWith('route replace'));
  assert.ok(made.length < 500, `${made.length} were made`);
});

test('reconcile puts back what was flushed', async () => {
  const { fake, sync } = rig();
  await sync.set(['10.5.1.0/24', '10.5.2.0/24']);
  fake.routes.delete('10.5.1.0/24');
  assert.deepEqual(await sync.reconcile(), { added: 1, removed: 0, problems: [] });
  assert.equal(fake.routes.size, 2);
});

test('a route that is already gone is no problem', async () => {
  const { fake, sync } = rig();
  await sync.set(['10.5.1.0/24']);
  fake.routes.clear();
  assert.deepEqual(await sync.set([]), { added: 0, removed: 1, problems: [] });
});

test('a value that is no subnet is named and costs only itself', async () => {
  const { fake, sync } = rig();
  const report = await sync.set([
    '10.5.1.0/99',
    '0.0.0.0/0',
    '10.5.1.7/24',
    'x; reboot',
    '10.5.1.0/24',
  ]);
  assert.equal(report.problems.length, 4);
  assert.match(report.problems[0]!, /no route to "10.5.1.0\/99": that is not a subnet/);
  assert.deepEqual([...fake.routes.keys()], ['10.5.1.0/24']);
});

test('a refused route is tried once more with a new child, then reported; others go in', async () => {
  const { fake, sync } = rig();
  const line = 'route add 10.5.1.0/24 dev flannel.1 proto boot scope link';
  fake.refuse.set(line, 'RTNETLINK answers: No such device');
  const report = await sync.set(['10.5.1.0/24', '10.5.2.0/24']);
  assert.deepEqual(report.problems, [`ip ${line}: RTNETLINK answers: No such device`]);
  assert.deepEqual([...fake.routes.keys()], ['10.5.2.0/24']);
  assert.equal(fake.starts, 2);
  fake.refuse.clear();
  assert.deepEqual((await sync.set(['10.5.1.0/24', '10.5.2.0/24'])).problems, []);
  assert.equal(fake.routes.size, 2);
});

test('a route that was refused once only goes in by the second try', async () => {
  const { fake, sync } = rig();
  await sync.set([]);
  const line = 'route add 10.5.1.0/24 dev flannel.1 proto boot scope link';
  fake.refuse.set(line, 'RTNETLINK answers: No such device');
  fake.held = [];
  const done = sync.set(['10.5.1.0/24']);
  await new Promise(setImmediate);
  fake.release();
  queueMicrotask(() => fake.refuse.clear());
  assert.deepEqual(await done, { added: 1, removed: 0, problems: [] });
});

test('refused routes do not hold up a thousand others', async () => {
  const { fake, sync } = rig();
  const peers = Array.from({ length: 1000 }, (_, i) => `10.5.${i >> 3}.${(i & 7) * 32}/27`);
  for (const peer of peers.slice(0, 300)) {
    fake.refuse.set(`route add ${peer} dev flannel.1 proto boot scope link`, 'no');
  }
  const report = await sync.set(peers);
  assert.equal(report.problems.length, 300);
  assert.deepEqual([...fake.routes.keys()], peers.slice(300));
});

test('a route that went in while the child died is not forgotten', async () => {
  const { fake, sync } = rig();
  await sync.set([]);
  const bad = 'route add 10.5.2.0/24 dev flannel.1 proto boot scope link';
  fake.refuse.set(bad, 'end');
  const failed = await sync.set(['10.5.1.0/24', '10.5.2.0/24']);
  assert.match(failed.problems[0]!, /the routes are not up to date: ip ended/);
  assert.deepEqual([...fake.routes.keys()], ['10.5.1.0/24']);
  assert.deepEqual((await sync.set([])).problems, []);
  assert.equal(fake.routes.size, 0);
});

test('a child that dies is replaced without a problem', async () => {
  const { fake, ip, sync } = rig();
  await sync.set(['10.5.1.0/24']);
  ip.restart();
  assert.deepEqual((await sync.set(['10.5.2.0/24'])).problems, []);
  assert.deepEqual([...fake.routes.keys()], ['10.5.2.0/24']);
});

/** On the link: 192.168.64.4 and .5; behind a gateway: 10.99.0.1; nowhere: all others. */
function near(fake: FakeIp): void {
  const eth0 = { dev: 'eth0', prefsrc: '192.168.64.3' };
  fake.ways.set('192.168.64.4', eth0);
  fake.ways.set('192.168.64.5', eth0);
  fake.ways.set('10.99.0.1', { ...eth0, gateway: '192.168.64.1' });
  fake.ways.set('10.99.0.2', { dev: 'eth1', prefsrc: '10.99.0.9' });
  fake.ways.set('10.99.0.3', { ...eth0, via: { family: 'inet6', host: 'fe80::1' } });
  fake.ways.set('192.168.64.3', { type: 'local', dev: 'lo' });
}

function directRig(tunnel: string | null, journal = new FakeJournal(), fake = new FakeIp()) {
  near(fake);
  const ip = new Ip(fake, new FakeTimers());
  const options = { underlay: 'eth0', journal };
  return { fake, journal, sync: new RouteSync(ip, tunnel, '10.5.0.0/16', options) };
}

const PEERS = [
  { subnet: '10.5.1.0/24', host: '192.168.64.4' },
  { subnet: '10.5.2.0/24', host: '10.99.0.1' },
  { subnet: '10.5.3.0/24', host: '10.99.0.2' },
  { subnet: '10.5.4.0/24', host: '10.99.0.3' },
  { subnet: '10.5.5.0/24', host: '10.77.0.1' },
  { subnet: '10.5.6.0/24', host: '192.168.64.3' },
];
const DIRECT = '10.5.1.0/24 via 192.168.64.4 dev eth0 proto boot metric 0';

test('hosts on the network of the underlay get a route by their address, others the tunnel', async () => {
  const { fake, sync, journal } = directRig('flannel.1');
  assert.deepEqual(await sync.set(PEERS), { added: 6, removed: 0, problems: [] });
  const [first, ...others] = fake.lines.filter((line) => line.startsWith('route add'));
  assert.equal(first, 'route add 10.5.1.0/24 via 192.168.64.4 dev eth0 proto boot');
  for (const line of others) assert.match(line, /dev flannel\.1 proto boot scope link$/);
  assert.deepEqual(journal.routes, [DIRECT]);
  assert.deepEqual(
    PEERS.map(({ subnet }) => sync.isDirect(subnet)),
    [true, false, false, false, false, false],
  );
});

test('which way a peer has is known while all is listed again, and while another route is refused', async () => {
  const { fake, sync } = directRig('flannel.1');
  const refused = 'route add 10.5.2.0/24 dev flannel.1 proto boot scope link';
  fake.refuse.set(refused, 'RTNETLINK answers: Network is down');
  assert.equal((await sync.set(PEERS)).problems.length, 1);
  assert.equal(sync.isDirect('10.5.1.0/24'), true);
  fake.refuse.delete(refused);
  const reconciled = sync.reconcile();
  assert.equal(sync.isDirect('10.5.1.0/24'), true);
  await reconciled;
  fake.ways.set('192.168.64.4', { dev: 'eth0', gateway: '192.168.64.1' });
  await sync.reconcile();
  assert.equal(sync.isDirect('10.5.1.0/24'), false);
});

test('each host is asked about once, and again when all is reconciled', async () => {
  const { fake, sync } = directRig('flannel.1');
  await sync.set(PEERS);
  fake.lines.length = 0;
  await sync.set([...PEERS, { subnet: '10.5.7.0/24', host: '192.168.64.5' }]);
  assert.deepEqual(fake.lines, [
    'route get 192.168.64.5',
    'route add 10.5.7.0/24 via 192.168.64.5 dev eth0 proto boot',
  ]);
  fake.ways.set('192.168.64.5', { dev: 'eth0', gateway: '192.168.64.1' });
  assert.deepEqual(await sync.reconcile(), { added: 1, removed: 0, problems: [] });
  assert.equal(fake.routes.get('10.5.7.0/24')?.dev, 'flannel.1');
  assert.equal(fake.routes.get('10.5.1.0/24')?.dev, 'eth0');
});

test('an answer that was on its way when all is reconciled is asked for again', async () => {
  const { fake, sync } = directRig('flannel.1');
  await sync.set([]);
  fake.held = [];
  const done = sync.set(PEERS.slice(0, 1));
  while (fake.held?.length === 0) await new Promise(setImmediate);
  fake.release();
  fake.ways.set('192.168.64.4', { dev: 'eth0', gateway: '192.168.64.1' });
  await Promise.all([done, sync.reconcile()]);
  assert.equal(fake.routes.get('10.5.1.0/24')?.dev, 'flannel.1');
});

test('a host that moves takes its route along, in one step and in the journal', async () => {
  const { fake, sync, journal } = directRig('flannel.1');
  const at = (host: string) => sync.set([{ subnet: '10.5.1.0/24', host }]);
  await at('192.168.64.4');
  fake.lines.length = 0;
  assert.deepEqual(await at('192.168.64.5'), { added: 1, removed: 0, problems: [] });
  assert.deepEqual(journal.routes, [DIRECT.replace('64.4', '64.5')]);
  await at('10.99.0.1');
  assert.deepEqual(journal.routes, []);
  assert.deepEqual(
    fake.lines.filter((line) => line.startsWith('route del')),
    [],
  );
  await at('192.168.64.4');
  assert.deepEqual(journal.routes, [DIRECT]);
  assert.deepEqual(await sync.set([]), { added: 0, removed: 1, problems: [] });
  assert.deepEqual(journal.routes, []);
  assert.deepEqual([...fake.routes], []);
});

test('a route is in the journal before it is in the kernel', async () => {
  const { fake, sync, journal } = directRig('flannel.1');
  await sync.set([]);
  fake.held = [];
  const done = sync.set(PEERS.slice(0, 1));
  while (fake.held?.length === 0) await new Promise(setImmediate);
  fake.release();
  fake.held = [];
  while (fake.held?.length === 0) await new Promise(setImmediate);
  assert.equal(fake.routes.size, 0);
  assert.deepEqual(journal.routes, [DIRECT]);
  fake.release();
  await done;
  assert.equal(fake.routes.size, 1);
});

test('a journal that cannot be written: no route that could not be taken back', async () => {
  const { fake, sync, journal } = directRig('flannel.1');
  journal.record = () => {
    throw new Error('no space left');
  };
  const report = await sync.set(PEERS.slice(0, 1));
  assert.match(report.problems[0]!, /the routes are not up to date: no space left/);
  assert.equal(fake.routes.size, 0);
});

test('what an earlier run left is known by the journal: stale ones go, foreign ones stay', async () => {
  const before = directRig('flannel.1');
  await before.sync.set([
    { subnet: '10.5.1.0/24', host: '192.168.64.4' },
    { subnet: '10.5.8.0/24', host: '192.168.64.5' },
    { subnet: '10.88.0.0/24', host: '192.168.64.5' },
  ]);
  const { fake, journal } = before;
  assert.equal(journal.routes.length, 3);
  fake.routes.set('10.5.9.0/24', { dev: 'eth0', gateway: '192.168.64.4' });
  // Of those that the journal names, one is another's by now.
  fake.routes.set('10.5.8.0/24', { dev: 'eth0', gateway: '192.168.64.77' });

  // The same again, without direct routing.
  const ip = new Ip(fake, new FakeTimers());
  const sync = new RouteSync(ip, 'flannel.1', '10.5.0.0/16', { journal });
  const peers = [{ subnet: '10.5.1.0/24', host: '192.168.64.4' }];
  assert.deepEqual(await sync.set(peers), { added: 1, removed: 1, problems: [] });
  assert.deepEqual(
    [...fake.routes].map(([key, { dev }]) => `${key} ${dev}`),
    ['10.5.1.0/24 flannel.1', '10.5.8.0/24 eth0', '10.5.9.0/24 eth0'],
  );
  assert.deepEqual(journal.routes, []);
});

test('without a tunnel a host that is not on the network has no route, and is named', async () => {
  const { fake, sync, journal } = directRig(null);
  const report = await sync.set(PEERS);
  assert.deepEqual([report.added, report.removed], [1, 0]);
  assert.deepEqual([...fake.routes.keys()], ['10.5.1.0/24']);
  assert.deepEqual(
    report.problems,
    PEERS.slice(1).map(
      ({ subnet, host }) => `no route to ${subnet}: ${host} is not on the network of eth0`,
    ),
  );
  const writes = journal.writes;
  assert.deepEqual((await sync.reconcile()).problems, report.problems);
  assert.equal(journal.writes, writes);
  // The interface was down, and its routes went with it.
  fake.routes.clear();
  assert.equal((await sync.reconcile()).added, 1);
  assert.deepEqual(journal.routes, [DIRECT]);
});

test('an ip that dies while a host is asked about is no answer', async () => {
  const { fake, sync } = directRig('flannel.1');
  fake.refuse.set('route get 192.168.64.4', 'end');
  const report = await sync.set(PEERS.slice(0, 1));
  assert.match(report.problems[0]!, /ip ended/);
  assert.equal(fake.routes.size, 0);
});

test('a host that is no address is named', async () => {
  const { sync } = directRig('flannel.1');
  const report = await sync.set([{ subnet: '10.5.1.0/24', host: 'x; reboot' }]);
  assert.deepEqual(report.problems, ['no route to 10.5.1.0/24: "x; reboot" is not an address']);
});
