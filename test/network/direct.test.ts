/**
 * DirectRouting: hosts on the underlay interface's own network are routed to without a tunnel,
 * the others by VXLAN; whatever the peers themselves do.
 *
 *   weft1 (.11)  weft2 (.12)  plain (.13, kernel, all by VXLAN)  direct (.14, kernel, routes)
 *     ╚═════════════╩══ 192.168.56.0/24 ══╩══════════════════════════╝
 *                             ║ router (the supervisor)
 *                      192.168.57.0/24 ══ far (.15, kernel, all by VXLAN)
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import type { Running } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import type { KernelPeer } from '../../src/lab/kernel-peer.js';
import { Lab } from '../../src/lab/lab.js';
import { leaseKey } from '../../src/lab/lease.js';
import type { Status } from '../../src/operate/status/status.js';
import { until } from '../control/fakes.js';
import { NO_PROBES, PREFIX, ping, startWeft, tcpTransfer } from './overlay.js';
import { statusOf } from './spoil.js';

const lacks = labLacks({ programs: ['etcd'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const config = (backend: object) =>
  JSON.stringify({ Network: '10.10.0.0/16', Backend: { Type: 'vxlan', ...backend } });

describe('direct routing', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let weft: Running;
  const hosts: Record<string, Host> = {};
  const kernel: Record<string, KernelPeer> = {};
  const boxes: Record<string, Container> = {};
  const NEAR = ['weft2', 'plain', 'direct'];
  const ALL = [...NEAR, 'far'];

  before(async () => {
    lab = await Lab.open();
    const [here, there] = [await lab.network(), await lab.network({ address: '192.168.57.1/24' })];
    await lab.forward();
    etcd = await here.etcd();
    await etcd.put(`${PREFIX}/config`, config({ DirectRouting: true }));
    for (const [i, name] of ['weft1', 'weft2', 'plain', 'direct'].entries()) {
      hosts[name] = await here.host(name, { address: `192.168.56.${11 + i}/24` });
    }
    hosts.far = await there.host('far', { address: '192.168.57.15/24' });
    for (const [i, name] of ['plain', 'direct', 'far'].entries()) {
      const peer = await hosts[name]!.kernelPeer({ subnet: `10.10.${203 + i}.0/24` });
      kernel[name] = peer;
      await etcd.register(PREFIX, peer);
    }
    weft = await startWeft(hosts.weft1!, etcd, NO_PROBES);
    await startWeft(hosts.weft2!, etcd, NO_PROBES);
    for (const other of await etcd.peers(PREFIX)) {
      for (const name of ['plain', 'far']) {
        if (other.publicIp !== kernel[name]!.publicIp) await kernel[name]!.addPeer(other);
      }
      if (other.publicIp === kernel.direct!.publicIp) continue;
      if (other.publicIp === kernel.far!.publicIp) await kernel.direct!.addPeer(other);
      else await hosts.direct!.ip(`route add ${other.subnet} via ${other.publicIp}`);
    }
    for (const name of ['weft1', ...ALL]) boxes[name] = await hosts[name]!.container(`box-${name}`);
    await until(async () => (await status()).peers.length === 4);
  });
  after(() => lab?.close());

  const status = async (host = hosts.weft1!): Promise<Status> => statusOf(host);
  /** The routes into the overlay's network, each as `10.10.203.0/24 …`. */
  const routes = async (host = hosts.weft1!): Promise<string[]> =>
    (await host.run(['ip', 'route', 'show', 'root', '10.10.0.0/16'])).stdout
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '' && !line.includes('docker0'))
      .sort();
  const down = () => hosts.weft1!.run([process.execPath, WEFT, 'down'], { mayFail: true });
  const subnetOf = async (name: string) =>
    (await etcd.peers(PREFIX)).find((peer) => peer.publicIp === hosts[name]!.address)!.subnet;
  const passed = async () => {
    const { counters } = await status();
    return [counters.outbound_in_packets, counters.inbound_in_packets] as const;
  };

  test('who is on the link has a route by its address, who is not the tunnel', async () => {
    const wanted = await Promise.all(
      NEAR.map(async (name) => `${await subnetOf(name)} via ${hosts[name]!.address} dev ens33`),
    );
    wanted.push('10.10.205.0/24 dev flannel.1 scope link');
    assert.deepEqual(await routes(), wanted.sort());
    const { peers, directRouting, backend } = await status();
    assert.deepEqual([backend, directRouting], ['vxlan', true]);
    assert.deepEqual(
      peers.filter(({ direct }) => !direct).map(({ publicIp }) => publicIp),
      ['192.168.57.15'],
    );
    const told = (await hosts.weft1!.run([process.execPath, WEFT, 'status'], { mayFail: true }))
      .stdout;
    assert.match(told, /^backend +vxlan with direct routing$/m);
    assert.match(told, /^ +10\.10\.204\.0\/24 +192\.168\.56\.14 +\S+ .* direct$/m);
  });

  for (const name of ALL) {
    test(`both ways with ${name}`, async () => {
      await ping(boxes.weft1!, boxes[name]!);
      await ping(boxes[name]!, boxes.weft1!);
      await tcpTransfer(boxes.weft1!, boxes[name]!, 2_000_000);
      await tcpTransfer(boxes[name]!, boxes.weft1!, 2_000_000);
    });
  }

  test('what is direct passes the lanes by; what comes by VXLAN all the same is taken', async () => {
    const before = await passed();
    await ping(boxes.weft1!, boxes.weft2!);
    await ping(boxes.weft1!, boxes.direct!);
    assert.deepEqual(await passed(), before);
    // A lane may not have counted the last one yet.
    const becomes = (out: number, back: number) =>
      until(async () => {
        const [outbound, inbound] = await passed();
        return outbound === before[0] + out && inbound === before[1] + back;
      });
    await ping(boxes.weft1!, boxes.plain!);
    await becomes(0, 3); // the answers came by VXLAN
    await ping(boxes.weft1!, boxes.far!);
    await becomes(3, 6);
  });

  test('the same where the host checks sources strictly', async () => {
    const strict = (value: number) =>
      hosts.weft1!.sysctl(
        `net.ipv4.conf.all.rp_filter=${value}`,
        `net.ipv4.conf.ens33.rp_filter=${value}`,
      );
    await strict(1);
    for (const name of ALL) await ping(boxes.weft1!, boxes[name]!);
    await strict(0);
  });

  test('a peer that moves and leaves takes its route along', async () => {
    const peer = { subnet: '10.10.220.0/24', publicIp: '192.168.56.99', mac: '02:00:00:00:00:99' };
    const now = async () => (await routes()).find((line) => line.startsWith('10.10.220'));
    await etcd.register(PREFIX, peer);
    await until(async () => (await now()) === '10.10.220.0/24 via 192.168.56.99 dev ens33');
    await etcd.register(PREFIX, { ...peer, publicIp: '192.168.57.99' });
    await until(async () => (await now()) === '10.10.220.0/24 dev flannel.1 scope link');
    await etcd.register(PREFIX, { ...peer, publicIp: '192.168.56.98' });
    await until(async () => (await now()) === '10.10.220.0/24 via 192.168.56.98 dev ens33');
    await etcd.delete(`${PREFIX}/subnets/${leaseKey(peer)}`);
    await until(async () => (await now()) === undefined);
  });

  test('SIGTERM leaves direct routes; a restart without it puts all into the tunnel', async () => {
    const gone = { subnet: '10.10.221.0/24', publicIp: '192.168.56.97', mac: '02:00:00:00:00:97' };
    await etcd.register(PREFIX, gone);
    await until(async () => (await routes()).some((line) => line.startsWith('10.10.221')));
    await hosts.weft1!.ip('route add 10.10.230.0/24 via 192.168.56.77');
    assert.equal(await weft.stop(), 0);
    const left = await routes();
    assert.equal(left.length, 5, left.join('\n'));
    assert.ok(left.every((line) => / via 192\.168\.56\.\d+ dev ens33$/.test(line)));
    await ping(boxes.weft1!, boxes.direct!); // without weft

    await etcd.delete(`${PREFIX}/subnets/${leaseKey(gone)}`);
    await etcd.put(`${PREFIX}/config`, config({}));
    weft = await startWeft(hosts.weft1!, etcd, NO_PROBES);
    const wanted = await Promise.all(
      ALL.map(async (name) => `${await subnetOf(name)} dev flannel.1 scope link`),
    );
    wanted.push('10.10.230.0/24 via 192.168.56.77 dev ens33');
    assert.deepEqual(await routes(), wanted.sort(), 'all that is left of ours is in the tunnel');
    for (const name of ALL) await ping(boxes.weft1!, boxes[name]!);
    await hosts.weft1!.ip('route del 10.10.230.0/24 via 192.168.56.77');
  });

  test('a restart with another VNI knows the direct routes of the one before', async () => {
    assert.equal(await weft.stop(), 0);
    await etcd.put(`${PREFIX}/config`, config({ DirectRouting: true }));
    weft = await startWeft(hosts.weft1!, etcd, NO_PROBES);
    assert.equal((await routes()).filter((line) => line.includes('via')).length, 3);
    weft.kill('SIGKILL');
    await weft.exited;
    const plain = { key: `${PREFIX}/subnets/${leaseKey(kernel.plain!)}` };
    await etcd.delete(plain.key);
    await etcd.put(`${PREFIX}/config`, config({ VNI: 2, Port: 4789 }));
    weft = await startWeft(hosts.weft1!, etcd, NO_PROBES);
    const now = await routes();
    assert.equal(now.length, 3, now.join('\n'));
    assert.ok(
      now.every((line) => line.endsWith('dev flannel.2 scope link')),
      now.join('\n'),
    );
  });

  test('weft down takes direct routes back, and no others', async () => {
    assert.equal(await weft.stop(), 0);
    await etcd.put(`${PREFIX}/config`, config({ DirectRouting: true }));
    weft = await startWeft(hosts.weft1!, etcd, NO_PROBES);
    await hosts.weft1!.ip('route add 10.10.230.0/24 via 192.168.56.77');
    weft.kill('SIGKILL');
    await weft.exited;
    assert.match((await down()).stdout, /2 routes were removed/);
    assert.deepEqual(await routes(), ['10.10.230.0/24 via 192.168.56.77 dev ens33']);
  });
});
