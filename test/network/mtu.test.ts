/** Underlays and configurations with other numbers than the usual ones: MTU, VNI, port. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { ping, startWeft, tcpTransfer, weftFlags } from './overlay.js';

const lacks = labLacks({ programs: ['etcd', 'ping'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const CONFIG_KEY = '/docker-test/network/config';

describe('other numbers than the usual ones', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let hosts: [Host, Host];

  before(async () => {
    lab = await Lab.open();
    const network = await lab.network();
    etcd = await network.etcd();
    hosts = [
      await network.host('host1', { address: '192.168.56.11/24' }),
      await network.host('host2', { address: '192.168.56.12/24' }),
    ];
  });
  after(() => lab?.close());

  const configure = (backend: object) =>
    etcd.put(
      CONFIG_KEY,
      JSON.stringify({ Network: '10.10.0.0/16', Backend: { Type: 'vxlan', ...backend } }),
    );
  const setMtu = (host: Host, mtu: number) => host.ip(`link set ens33 mtu ${mtu}`);
  const deviceMtu = async (host: Host, device: string) => {
    const { stdout } = await host.run(['ip', '-o', 'link', 'show', device]);
    return Number(/ mtu (\d+) /.exec(stdout)?.[1]);
  };

  /** Starts weft on both hosts, pings across, stops; what they said. */
  const across = async (device: string): Promise<void> => {
    const wefts = [await startWeft(hosts[0], etcd), await startWeft(hosts[1], etcd)];
    await wefts[0]!.waitFor(/peer (joined|changed)/, 60_000);
    for (const host of hosts) assert.equal(await deviceMtu(host, device), 1450);
    const target = /FLANNEL_SUBNET=(\d+\.\d+\.\d+)/.exec(hosts[1].read('/run/flannel/subnet.env')!);
    await hosts[0].run(['ping', '-c', '2', '-i', '0.1', '-W', '2', `${target![1]}.0`]);
    for (const weft of wefts) assert.equal(await weft.stop(), 0);
  };

  test('Backend.MTU larger than the interface: told with both numbers, the smaller is taken', async () => {
    await configure({ MTU: 9000 });
    const weft = await startWeft(hosts[0], etcd);
    assert.match(weft.output, /W .*Backend\.MTU is 9000, but ens33 has an MTU of 1500; using 1500/);
    assert.match(hosts[0].read('/run/flannel/subnet.env')!, /^FLANNEL_MTU=1450$/m);
    assert.equal(await deviceMtu(hosts[0], 'flannel.1'), 1450);
    await weft.stop();

    await configure({ MTU: 1400 });
    const smaller = await startWeft(hosts[0], etcd);
    assert.doesNotMatch(smaller.output, /W .*MTU/);
    assert.match(hosts[0].read('/run/flannel/subnet.env')!, /^FLANNEL_MTU=1350$/m);
    await smaller.stop();
  });

  test('VNI 0, the highest VNI, another port: traffic passes', async () => {
    await configure({ VNI: 0 });
    await across('flannel.0');
    await configure({ VNI: 16_777_215 });
    await across('flannel16777215');
    await configure({ Port: 4789 });
    await across('flannel.1');
  });

  test('two networks on one host, each with its VNI and port', async () => {
    await configure({});
    await etcd.put(
      '/second/config',
      '{"Network":"10.20.0.0/16","Backend":{"Type":"vxlan","VNI":2,"Port":8473}}',
    );
    const one = await startWeft(hosts[0], etcd);
    const two = hosts[0].weft(
      ...weftFlags(etcd),
      '-etcd-prefix=/second',
      '-subnet-file=/run/flannel/second.env',
    );
    await two.waitFor(/ready: flannel\.2/, 60_000);
    assert.equal(await two.stop(), 0);
    assert.equal(await deviceMtu(hosts[0], 'flannel.1'), 1450);
    assert.equal(await one.stop(), 0);
  });

  test('an underlay of 1450 on one side: 1400 there, and 10 MB pass both ways', async () => {
    await configure({});
    await setMtu(hosts[0], 1450);
    const wefts = [await startWeft(hosts[0], etcd), await startWeft(hosts[1], etcd)];
    assert.match(hosts[0].read('/run/flannel/subnet.env')!, /^FLANNEL_MTU=1400$/m);
    assert.match(hosts[1].read('/run/flannel/subnet.env')!, /^FLANNEL_MTU=1450$/m);
    assert.equal(await deviceMtu(hosts[0], 'flannel.1'), 1400);
    const small = await hosts[0].container('small');
    const large = await hosts[1].container('large');
    await wefts[0]!.waitFor(/peer (joined|changed)/, 60_000);
    await ping(small, large);
    await tcpTransfer(small, large, 10_000_000);
    await tcpTransfer(large, small, 10_000_000);
    for (const weft of wefts) assert.equal(await weft.stop(), 0);
    await setMtu(hosts[0], 1500);
  });
});
