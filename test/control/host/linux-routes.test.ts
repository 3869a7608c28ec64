/** The kernel's routes against a real kernel. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import test from 'node:test';
import { configure } from '../../../src/control/host/device.js';
import { down } from '../../../src/control/host/down.js';
import { Journal, journalFile } from '../../../src/control/host/journal.js';
import { RouteSync } from '../../../src/control/host/routes.js';
import { systemRunner } from '../../../src/control/host/runner.js';
import { scratch } from './fakes.js';

import {
  disown,
  inNamespace,
  ip,
  makeTun,
  NETWORK,
  rig,
  routes,
  sysctl,
  WANTED,
} from './inside.js';

inNamespace('routes in a network namespace', import.meta.url, () => {
  test('routes: added, removed, repaired; foreign ones and other devices left', async (t) => {
    const child = rig(t);
    await configure(child, WANTED);
    ip('route add 10.10.200.0/24 via 10.10.200.0 dev flannel.1 onlink');
    ip('route add 10.10.201.0/24 dev flannel.1');
    const foreign = [
      '10.10.202.0/24 proto static scope link',
      '10.10.203.0/24 scope link metric 7',
      '172.16.0.0/12 scope link',
    ];
    for (const text of foreign) ip(`route add ${text} dev flannel.1`);
    ip('route add 10.10.204.0/24 via 192.168.64.9 dev eth0');

    const sync = new RouteSync(child, 'flannel.1', NETWORK);
    assert.deepEqual(await sync.set(['10.10.92.0/24', '10.10.200.0/24', '10.10.205.7/32']), {
      added: 3,
      removed: 1,
      problems: [],
    });
    const ours = [
      '10.10.92.0/24 scope link',
      '10.10.200.0/24 scope link',
      '10.10.205.7 scope link',
    ];
    assert.deepEqual(routes().sort(), [...ours, ...foreign].sort());
    assert.deepEqual(routes('eth0'), [
      '10.10.204.0/24 via 192.168.64.9',
      '192.168.64.0/24 proto kernel scope link src 192.168.64.3',
    ]);
    // What a flannel host shows: the .0 address is the source of host-to-container traffic.
    assert.match(ip('route get 10.10.92.5'), /dev flannel\.1 src 10\.10\.69\.0/);

    assert.deepEqual(await sync.reconcile(), { added: 0, removed: 0, problems: [] });
    ip('link set flannel.1 down');
    ip('link set flannel.1 up');
    assert.deepEqual(routes(), []);
    assert.deepEqual(await sync.reconcile(), { added: 3, removed: 0, problems: [] });
    assert.deepEqual(await sync.set([]), { added: 0, removed: 3, problems: [] });
    assert.deepEqual(routes(), []);
  });

  test('routes: a foreign route of another metric to the same subnet survives our removal', async (t) => {
    const child = rig(t);
    await configure(child, WANTED);
    ip('route add 10.10.92.0/24 dev flannel.1 metric 7');
    const sync = new RouteSync(child, 'flannel.1', NETWORK);
    await sync.set(['10.10.92.0/24']);
    assert.equal(routes().length, 2);
    await sync.set([]);
    assert.deepEqual(routes(), ['10.10.92.0/24 scope link metric 7']);
  });

  test('routes: weft down leaves a foreign route to the same subnet', async (t) => {
    const child = rig(t);
    const directory = scratch(t);
    await configure(child, WANTED);
    const journal = Journal.open('flannel.1', directory);
    const sync = new RouteSync(child, 'flannel.1', NETWORK, { underlay: 'eth0', journal });
    await sync.set([{ subnet: '10.10.92.0/24', host: '192.168.64.4' }]);
    const foreign = [
      '10.10.92.0/24 via 192.168.64.9 metric 7',
      '10.10.92.0/24 via 192.168.64.4 metric 8',
    ];
    for (const route of foreign) ip(`route add ${route} dev eth0`);
    t.after(() => {
      for (const route of foreign) ip(`route del ${route} dev eth0`);
    });
    const there = () => routes('eth0').filter((line) => line.startsWith('10.10.92.0/24'));
    assert.equal(there().length, 3);
    disown(journalFile('flannel.1', directory));
    const { did } = await down(systemRunner, 'flannel.1', directory);
    assert.match(did.join(), /1 route was removed\./);
    assert.deepEqual(there(), foreign);
  });

  test('routes: the device made anew under a running child', async (t) => {
    const child = rig(t);
    await configure(child, WANTED);
    const sync = new RouteSync(child, 'flannel.1', NETWORK);
    await sync.set(['10.10.92.0/24']);
    makeTun();
    ip('link set flannel.1 up');
    // The child still has the old index: it lists nothing and every change fails at first.
    assert.deepEqual(await sync.reconcile(), { added: 1, removed: 0, problems: [] });
    assert.deepEqual(routes(), ['10.10.92.0/24 scope link']);
    ip('link del flannel.1');
    assert.match((await sync.set(['10.10.93.0/24'])).problems[0]!, /Cannot find device/);
  });

  test('routes: a child killed from outside is replaced', async (t) => {
    const child = rig(t);
    await configure(child, WANTED);
    const sync = new RouteSync(child, 'flannel.1', NETWORK);
    await sync.set(['10.10.92.0/24']);
    const pid = fs
      .readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8')
      .trim()
      .split(' ')
      .find((p) => fs.readFileSync(`/proc/${p}/cmdline`, 'utf8').includes('-batch'));
    process.kill(Number(pid), 'SIGKILL');
    assert.deepEqual((await sync.set(['10.10.93.0/24'])).problems, []);
    assert.deepEqual(routes(), ['10.10.93.0/24 scope link']);
  });

  test('routes: a burst of 1000 peers while single changes come in', async (t) => {
    const child = rig(t);
    await configure(child, WANTED);
    const sync = new RouteSync(child, 'flannel.1', NETWORK);
    const peers = Array.from({ length: 1000 }, (_, i) => `10.10.${i >> 2}.${(i & 3) * 64}/26`);
    const waiting: Promise<{ problems: string[] }>[] = [];
    for (let n = 950; n <= 1000; n++) {
      waiting.push(sync.set(peers.slice(0, n)));
      if (n % 10 === 0) await new Promise(setImmediate);
    }
    for (const report of await Promise.all(waiting)) assert.deepEqual(report.problems, []);
    assert.equal(routes().length, 1000);
    const times: number[] = [];
    for (let i = 0; i < 41; i++) {
      const begin = performance.now();
      await sync.set(i % 2 === 0 ? peers.slice(0, 999) : peers);
      times.push(performance.now() - begin);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const median = times.sort((a, b) => a - b)[20]!;
    t.diagnostic(`one change beside 999 routes, median of 41: ${median.toFixed(2)} ms`);
    assert.equal(routes().length, 999);
  });

  test('routes: by the host where it is on the link, taken back by weft down', async (t) => {
    const child = rig(t);
    const directory = scratch(t);
    await configure(child, WANTED);
    ip('route add default via 192.168.64.1 dev eth0');
    t.after(() => ip('route del default via 192.168.64.1 dev eth0'));
    ip('route add 10.10.210.0/24 via 192.168.64.9 dev eth0');
    // In the place of ours: another's, by another gateway and by another device.
    ip('route add 10.10.92.0/24 via 192.168.64.9 dev eth0');
    ip('route add 10.10.93.0/24 via 192.168.64.9 dev eth0');
    const journal = Journal.open('flannel.1', directory);
    const options = { underlay: 'eth0', journal, blackhole: '10.10.69.0/24' };
    const sync = new RouteSync(child, 'flannel.1', NETWORK, options);
    const set = () =>
      sync.set([
        { subnet: '10.10.92.0/24', host: '192.168.64.4' },
        { subnet: '10.10.93.0/24', host: '10.55.0.1' },
        { subnet: '10.99.1.0/24', host: '192.168.64.5' },
        { subnet: '10.10.94.0/24', host: '192.168.64.3' },
      ]);
    assert.deepEqual(await set(), { added: 5, removed: 0, problems: [] });
    const direct = () => routes('eth0').filter((line) => / via 192\.168\.64\.[45]$/.test(line));
    assert.deepEqual(direct(), ['10.10.92.0/24 via 192.168.64.4', '10.99.1.0/24 via 192.168.64.5']);
    assert.deepEqual(routes(), ['10.10.93.0/24 scope link', '10.10.94.0/24 scope link']);

    // The link goes down and its routes with it; without any, hosts are behind the tunnel.
    ip('link set eth0 down');
    assert.deepEqual((await sync.reconcile()).problems, []);
    assert.equal(routes().length, 4);
    ip('link set eth0 up');
    ip('route add default via 192.168.64.1 dev eth0');
    ip('route add 10.10.210.0/24 via 192.168.64.9 dev eth0');
    assert.deepEqual((await sync.reconcile()).problems, []);
    assert.equal(direct().length, 2);
    assert.equal(routes().length, 2);
    assert.deepEqual(await sync.reconcile(), { added: 0, removed: 0, problems: [] });

    // A peer goes, another changes its host; then the process ends, and a new one takes over.
    await sync.set([{ subnet: '10.10.92.0/24', host: '192.168.64.7' }]);
    assert.deepEqual(
      journal.routes.map((name) => name.replace(/ proto.*/, '')),
      ['blackhole 10.10.69.0/24', '10.10.92.0/24 via 192.168.64.7 dev eth0'],
    );
    await set();
    const again = new RouteSync(child, 'flannel.1', NETWORK, { journal });
    assert.deepEqual(
      (await again.set([{ subnet: '10.10.92.0/24', host: '192.168.64.4' }])).problems,
      [],
    );
    assert.deepEqual(routes(), ['10.10.92.0/24 scope link']);
    assert.deepEqual(
      routes('eth0').filter((line) => line.startsWith('10.')),
      ['10.10.210.0/24 via 192.168.64.9'],
    );
    assert.deepEqual(journal.routes, []);

    const third = new RouteSync(child, 'flannel.1', NETWORK, options);
    await third.set([
      { subnet: '10.10.92.0/24', host: '192.168.64.4' },
      { subnet: '10.99.1.0/24', host: '192.168.64.5' },
    ]);
    ip('route del 10.10.92.0/24');
    disown(journalFile('flannel.1', directory));
    const { did, problems } = await down(systemRunner, 'flannel.1', directory);
    assert.deepEqual(problems, []);
    assert.match(did[0]!, /^2 routes were removed, 1 had gone\.$/);
    assert.deepEqual(ip('-4 route show type blackhole'), '');
    assert.deepEqual(
      routes('eth0').filter((line) => line.startsWith('10.')),
      ['10.10.210.0/24 via 192.168.64.9'],
    );
    ip('route del 10.10.210.0/24');
  });

  test('the blackhole never takes the place of docker0, whichever comes first', async (t) => {
    const child = rig(t);
    await configure(child, WANTED);
    const sync = new RouteSync(child, 'flannel.1', NETWORK, { blackhole: '10.10.69.0/24' });
    const bridge = () => {
      ip('link add docker0 type bridge');
      ip('addr add 10.10.69.1/24 dev docker0');
      ip('link set docker0 up');
    };
    const leads = () => {
      try {
        return /dev (\S+)/.exec(ip('route get 10.10.69.5'))?.[1];
      } catch (error) {
        return /RTNETLINK answers: (.*)/.exec(String(error))?.[1];
      }
    };
    ip('route add default via 192.168.64.1 dev eth0');
    t.after(() => ip('route del default via 192.168.64.1 dev eth0'));
    assert.equal(leads(), 'eth0');
    await sync.set([]);
    assert.equal(leads(), 'Invalid argument', 'thrown away');
    bridge();
    assert.equal(leads(), 'docker0');
    await sync.reconcile();
    assert.equal(leads(), 'docker0');
    ip('link set docker0 down');
    assert.equal(leads(), 'Invalid argument');
    ip('link del docker0');
    ip('route del blackhole 10.10.69.0/24');
    bridge();
    assert.deepEqual(await sync.reconcile(), { added: 1, removed: 0, problems: [] });
    assert.equal(leads(), 'docker0');
    ip('link del docker0');

    // flannel's has metric 0, and the kernel puts docker0's behind it.
    ip('route del blackhole 10.10.69.0/24');
    ip('route add blackhole 10.10.69.0/24');
    bridge();
    assert.equal(leads(), 'Invalid argument');
    ip('link del docker0');
    ip('route del blackhole 10.10.69.0/24');
  });

  test('the TUN takes packets of a peer that is routed by another device, if told to', async (t) => {
    const child = rig(t);
    sysctl('ipv4/ip_forward', 1);
    sysctl('ipv4/conf/all/rp_filter', 1);
    t.after(() => sysctl('ipv4/conf/all/rp_filter', 0));
    await configure(child, WANTED);
    ip('route add 10.10.92.0/24 via 192.168.64.4 dev eth0');
    t.after(() => ip('route del 10.10.92.0/24 via 192.168.64.4 dev eth0'));
    const arrives = () => ip('route get 10.10.69.0 from 10.10.92.5 iif flannel.1');
    assert.throws(arrives, /RTNETLINK/);
    await configure(child, { ...WANTED, anySource: true });
    assert.match(arrives(), /iif flannel\.1/);
  });

  test('strict rp_filter lets known peers in', async (t) => {
    const child = rig(t);
    await configure(child, WANTED);
    await new RouteSync(child, 'flannel.1', NETWORK).set(['10.10.92.0/24']);
    sysctl('ipv4/ip_forward', 1);
    sysctl('ipv4/conf/all/rp_filter', 1);
    t.after(() => sysctl('ipv4/conf/all/rp_filter', 0));
    // `iif` asks for the way of a packet that came in there, the source check included: to this
    // host, and on to a neighbour; from a peer's container, and from the peer itself (.0).
    for (const source of ['10.10.92.5', '10.10.92.0']) {
      for (const target of ['10.10.69.0', '192.168.64.9']) {
        assert.match(ip(`route get ${target} from ${source} iif flannel.1`), /iif flannel\.1/);
      }
    }
    assert.throws(() => ip('route get 10.10.69.0 from 10.10.93.5 iif flannel.1'), /RTNETLINK/);
  });
});
