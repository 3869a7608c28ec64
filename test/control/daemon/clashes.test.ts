import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Clashes } from '../../../src/control/daemon/clashes.js';
import { PeerSubnets } from '../../../src/control/host/clashes.js';
import type { Row } from '../../../src/control/host/route.js';
import { FakeClock } from '../fakes.js';

function rig() {
  const clock = new FakeClock();
  const rows: Row[] = [{ dst: '10.5.52.0/24', dev: 'docker0', protocol: 'kernel', scope: 'link' }];
  const asked: string[] = [];
  const left: string[] = [];
  const taken = new Map<string, string>();
  const peers = new Map([['10.5.93.0/24', '192.168.64.4']]);
  const host = { takesMs: 0, refusal: '', lack: '' };
  const ip = {
    async listAll([line = '']: readonly string[]) {
      asked.push(line);
      if (host.lack !== '') return new Map([[line, host.lack]]);
      if (line.endsWith('proto kernel'))
        return new Map([[line, rows.filter(({ protocol }) => protocol === 'kernel')]]);
      await clock.pass(host.takesMs);
      return new Map([[line, rows]]);
    },
    async change(lines: readonly string[]) {
      asked.push(...lines);
      if (host.refusal !== '') return lines.map((line) => ({ line, reason: host.refusal }));
      const gone = rows.findIndex(({ gateway, dst }) => {
        return gateway !== undefined && lines[0]?.includes(`${dst} via ${gateway} `);
      });
      if (gone >= 0) rows.splice(gone, 1);
      return [];
    },
  };
  const clashes = new Clashes({
    ...{ ip, clock },
    routes: {
      leave: async (local: ReadonlySet<string>) => void left.push([...local].join()),
      taken,
    },
    overlay: () => ({
      ...{ network: '10.5.0.0/16', own: '10.5.52.0/24', tunnel: 'flannel.1', uplink: 'eth0' },
      peers: new PeerSubnets(peers),
    }),
  });
  return { clock, rows, asked, left, taken, peers, host, clashes };
}

const textsOf = ({ faults }: Clashes) => faults.map(({ text }) => text);

const LEFT: Row = { dst: '10.5.52.0/24', gateway: '192.168.64.4', dev: 'eth0' };

test('a route of an earlier time that leads our subnet away is removed, in one phrase', async () => {
  const { rows, clashes, asked } = rig();
  rows.unshift(LEFT);
  const route = '10.5.52.0/24 via 192.168.64.4 dev eth0 proto boot metric 0';
  assert.deepEqual(await clashes.reconcile(), [
    `removed the route ${route} of an earlier time, which led our own subnet away`,
  ]);
  assert.ok(asked.includes(`route del ${route}`));
  assert.deepEqual(await clashes.reconcile(), []);
  assert.deepEqual(clashes.faults, []);
});

test('one that somebody puts back each time is only named then; one that cannot be removed, too', async () => {
  const { rows, clashes, host } = rig();
  let removed = 0;
  for (let i = 0; i < 10; i += 1) {
    if (!rows.includes(LEFT)) rows.unshift(LEFT);
    removed += (await clashes.reconcile()).length;
  }
  assert.equal(removed, 3);
  assert.match(
    textsOf(clashes).join(),
    /192\.168\.64\.4 dev eth0 .* away from this host: it is put back each time/,
  );
  rows.shift();
  await clashes.reconcile();
  assert.deepEqual(clashes.faults, []);

  host.refusal = 'Operation not permitted';
  rows.unshift({ ...LEFT, gateway: '192.168.64.5' });
  assert.deepEqual(await clashes.reconcile(), []);
  assert.match(textsOf(clashes).join(), /away from this host: Operation not permitted/);
});

test('the routes are told which networks are those of this host; each clash is a fault once', async () => {
  const { rows, clashes, left, taken, peers } = rig();
  rows.push({ dst: '10.5.93.0/24', dev: 'br-x', protocol: 'kernel', scope: 'link' });
  rows.push({ dst: '10.5.52.0', dev: 'flannel.1', protocol: 'kernel', scope: 'link' });
  for (let i = 0; i < 3; i += 1) await clashes.reconcile();
  assert.equal(left.at(-1), '10.5.52.0/24,10.5.93.0/24');
  assert.equal(clashes.faults.length, 1);
  assert.match(textsOf(clashes)[0]!, /the peer 192\.168\.64\.4 is the network of br-x/);
  peers.clear();
  await clashes.reconcile();
  assert.deepEqual(clashes.faults, []);

  peers.set('10.5.94.0/24', '192.168.64.5');
  taken.set('10.5.94.0/24', '10.5.94.0/24 dev tun0 proto static metric 0');
  taken.set('10.5.95.0/24', '10.5.95.0/24 dev tun0 proto static metric 0');
  await clashes.reconcile();
  assert.deepEqual(clashes.faults, [
    {
      about: 'subnet 10.5.94.0/24',
      text:
        "no route to the subnet 10.5.94.0/24 of the peer 192.168.64.5: another program's is in its " +
        'place (10.5.94.0/24 dev tun0 proto static metric 0)',
      cure: 'ip route del 10.5.94.0/24 dev tun0 proto static metric 0   (unless it is wanted)',
      loses: 'some',
    },
  ]);
});

test("an address of this host in a peer's subnet is named, if it is in no network", async () => {
  const { clashes } = rig();
  const at = (last: number) => (10 << 24) | (5 << 16) | (93 << 8) | last;
  clashes.changeAddresses([
    { address: at(7), length: 32, device: 'lo' },
    { address: at(8), length: 24, device: 'br-x' },
    { address: at(9), length: 32, device: 'flannel.1' },
    { address: (10 << 24) | (5 << 16) | (52 << 8) | 1, length: 32, device: 'veth1' },
  ]);
  await clashes.reconcile();
  assert.equal(clashes.faults.length, 1);
  assert.match(textsOf(clashes)[0]!, /^the address 10\.5\.93\.7\/32 of lo is in the subnet /);
});

test('where it takes long to look through all routes, it is done seldom', async () => {
  const { clashes, clock, asked, host } = rig();
  host.takesMs = 100;
  const looks = () => asked.filter((line) => line.includes('root')).length;
  for (let i = 0; i < 100; i += 1) {
    await clashes.reconcile();
    await clock.pass(3_000);
  }
  assert.ok(looks() >= 3 && looks() <= 4, `${looks()} looks in 300 s, the second after 100 s`);
  const networks = asked.filter((line) => line.endsWith('proto kernel')).length;
  assert.ok(networks > 60 && networks <= 100, `${networks} of the networks alone`);
});

test('routes that cannot be listed are an error in the words of ip', async () => {
  const { clashes, host } = rig();
  host.lack = 'RTNETLINK answers: Operation not permitted';
  await assert.rejects(clashes.reconcile(), /ip route show .*: RTNETLINK answers: Operation not/);
});

test('a great many clashes are a number', async () => {
  const { clashes, rows } = rig();
  for (let i = 0; i < 200; i += 1)
    rows.push({ dst: `10.5.93.${i}`, gateway: '10.9.9.9', dev: 'eth1' });
  await clashes.reconcile();
  assert.equal(clashes.faults.length, 11);
  assert.match(textsOf(clashes).at(-1)!, /^190 more clashes like that$/);
  assert.match(clashes.faults.at(-1)!.cure, /^ip route show root 10\.5\.0\.0\/16 /);
});

test('of several clashes those that lose most come first', async () => {
  const { clashes, rows } = rig();
  rows.push({ dst: '10.0.0.0/8', dev: 'eth1', protocol: 'kernel', scope: 'link' });
  rows.push({ dst: '10.5.93.128/25', dev: 'tun0' });
  rows.push({ dst: '10.5.52.0/24', dev: 'tun0' });
  await clashes.reconcile();
  assert.deepEqual(
    clashes.faults.map(({ loses }) => loses),
    ['all', 'some', 'none'],
  );
});
