/** Devices and tables of the host in a state in which packets are lost, or containers cut off. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { run } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { until } from '../control/fakes.js';
import { cure, finds, findsOne, readyz, verdictOf } from './findings.js';
import { openSite, PREFIX, startWeft } from './overlay.js';

const lacks = labLacks({ programs: ['etcd', 'ping'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const PORT = 8998;

describe('devices and tables', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let host: Host;

  before(async () => {
    const site = await openSite();
    ({ lab, host } = site);
    const { etcd, network } = site;
    const other = await network.host('host2', { address: '192.168.56.12/24' });
    await etcd.register(PREFIX, await other.kernelPeer({ subnet: '10.10.201.0/24' }));
    await startWeft(host, etcd, `-healthz-port=${PORT}`);
    await host.container('xbox1');
    await finds(host, []);
  });
  after(() => lab?.close());

  const subnet = () => host.subnetFile()!.subnet;

  test('the underlay interface is down: broken, not ready, and up again by its cure', async () => {
    assert.equal(await readyz(host, PORT), 200);
    await host.ip('link set ens33 down');
    const found = await findsOne(host, 'underlay-down');
    assert.deepEqual([found.severity, found.scope, found.about], ['error', 'host', 'ens33']);
    assert.match(found.text, /^the underlay interface ens33 is down: nothing passes/);
    const { code, line } = await verdictOf(host);
    assert.equal(code, 1);
    assert.equal(line, `BROKEN    ${found.text}`);
    assert.equal(await readyz(host, PORT), 503);
    await cure(host, found);
    await finds(host, []);
    assert.equal(await readyz(host, PORT), 200);
    assert.equal((await verdictOf(host)).code, 0);
  });

  test('the underlay interface has no carrier', async () => {
    await run(['ip', 'link', 'set', 'host1', 'down']);
    const found = await findsOne(host, 'underlay-down');
    assert.match(found.text, /^the underlay interface ens33 has no carrier: nothing passes/);
    assert.match((await verdictOf(host)).line, /BROKEN/);
    await run(['ip', 'link', 'set', 'host1', 'up']);
    await finds(host, []);
  });

  test('the underlay address is gone', async () => {
    await host.ip('addr del 192.168.56.11/24 dev ens33');
    const found = await findsOne(host, 'underlay-lost');
    assert.deepEqual([found.severity, found.scope], ['error', 'host']);
    assert.match(
      (await verdictOf(host)).line,
      /^BROKEN +the underlay address 192\.168\.56\.11 is gone/,
    );
    assert.equal(await readyz(host, PORT), 503);
    await host.ip('addr add 192.168.56.11/24 dev ens33');
    await finds(host, []);
  });

  test('the bridge of the containers is down, and has too large an MTU', async () => {
    await host.ip('link set docker0 down');
    const down = await findsOne(host, 'bridge-down');
    assert.equal(down.severity, 'error');
    await cure(host, down);
    await finds(host, []);
    await host.ip('link set veth-xbox1 mtu 1500', 'link set docker0 mtu 1500');
    const large = await findsOne(host, 'bridge-mtu');
    assert.equal(large.severity, 'warning');
    assert.match(large.text, /^docker0 has MTU 1500, more than the 1450 that pass to other hosts/);
    assert.match(large.cure, /^start dockerd with --mtu=1450/);
    assert.equal((await verdictOf(host)).code, 0);
    await host.ip('link set veth-xbox1 mtu 1450', 'link set docker0 mtu 1450');
    await finds(host, []);
  });

  test("docker0 is in another network than this host's subnet, and nothing else is in it", async () => {
    await host.ip(`addr del ${subnet()} dev docker0`, 'addr add 172.17.0.1/16 dev docker0');
    const found = await findsOne(host, 'docker-bridge');
    assert.equal(found.severity, 'warning');
    assert.match(
      found.text,
      /^docker0 is 172\.17\.0\.1\/16, not in this host's subnet 10\.10\.\d+\.0\/24/,
    );
    assert.ok(found.cure.includes(`--bip=${subnet()} --mtu=1450`), found.cure);
    // Whatever has the subnet has the containers.
    await host.ip(
      'link add cni0 type bridge',
      `addr add ${subnet()} dev cni0`,
      'link set cni0 mtu 1450 up',
    );
    await finds(host, []);
    await host.ip(
      'link del cni0',
      'addr del 172.17.0.1/16 dev docker0',
      `addr add ${subnet()} dev docker0`,
    );
    await finds(host, []);
  });

  test('the table of connections is nearly full, then full', async () => {
    const folder = '/proc/sys/net/netfilter';
    const files = ['nf_conntrack_count', 'nf_conntrack_max'];
    host.write('/run/table/nf_conntrack_count', '97\n');
    host.write('/run/table/nf_conntrack_max', '100\n');
    for (const file of files) {
      await host.run(['mount', '-n', '--bind', `/run/table/${file}`, `${folder}/${file}`]);
    }
    const nearly = await findsOne(host, 'conntrack-full');
    assert.equal(nearly.severity, 'warning');
    host.write('/run/table/nf_conntrack_count', '100\n');
    const found = await until(async () => {
      const one = await findsOne(host, 'conntrack-full');
      return one.severity === 'error' && one;
    }, 30_000);
    assert.match(found.text, /is full \(100 of 100\): packets of new connections are dropped$/);
    assert.equal(found.cure, 'sysctl -w net.netfilter.nf_conntrack_max=200');
    for (const file of files) await host.run(['umount', '-n', `${folder}/${file}`]);
    await finds(host, []);
  });
});
