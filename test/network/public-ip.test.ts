/**
 * A public IP that is not the first address of the interface: a second one of it, one of another
 * interface, one on lo that routes lead to. Beside a kernel VTEP.
 *
 *   xbox1 ─ docker0 ─ host1 (weft) ─ ens33 ══ switch ══ ens33 ─ host2 (kernel) ─ docker0 ─ xbox2
 *                                                ╚══ etcd
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import type { Running } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import type { Host } from '../../src/lab/host.js';
import type { KernelPeer } from '../../src/lab/kernel-peer.js';
import { Lab } from '../../src/lab/lab.js';
import { CONFIG, PREFIX, ping, startWeft, weftFlags } from './overlay.js';
import { eventually, passes, show, statusOf, toldSince } from './spoil.js';

const lacks = labLacks({ programs: ['etcd', 'ping'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const PEER = '192.168.56.12';
const SECOND = '192.168.56.112';
const FAR = '192.168.99.1';

describe('a public IP that is another address of this host', {
  skip: lacks ?? false,
  timeout: 600_000,
}, () => {
  let lab: Lab;
  let etcd: Etcd;
  let host1: Host;
  let host2: Host;
  let peer: KernelPeer;
  let weft: Running;
  let xbox1: Container;
  let xbox2: Container;

  before(async () => {
    lab = await Lab.open();
    const network = await lab.network();
    etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    host1 = await network.host('host1', { address: '192.168.56.11/24' });
    host2 = await network.host('host2', { address: `${PEER}/24` });
    await host2.ip(`route add ${FAR}/32 via 192.168.56.11`);
    peer = await host2.kernelPeer({ subnet: '10.10.201.0/24' });
    await etcd.register(PREFIX, peer);
    xbox2 = await host2.container('xbox2');
    await host1.ip(
      'link add ens34 mtu 9000 type veth peer name ens35 mtu 9000',
      'link set ens34 up',
      'link set ens35 up',
    );
  });
  after(() => lab?.close());

  const start = async (publicIp: string): Promise<void> => {
    weft = await startWeft(host1, etcd, `-public-ip=${publicIp}`);
    const own = (await etcd.peers(PREFIX)).find((one) => one.publicIp === publicIp);
    assert.ok(own, 'the lease has the public IP');
    await peer.addPeer(own);
    xbox1 ??= await host1.container('xbox1');
  };
  const restarted = async (publicIp: string): Promise<void> => {
    const subnet = host1.subnetFile()!.subnet;
    assert.equal(await weft.stop(), 0);
    await start(publicIp);
    assert.equal(host1.subnetFile()!.subnet, subnet, 'the lease is kept');
  };
  const works = async (): Promise<void> => {
    await ping(xbox1, xbox2);
    await ping(xbox2, xbox1);
  };

  for (const [what, address, device, mtu] of [
    ['a second address of the interface', SECOND, 'ens33', '24'],
    ['an address of another interface', FAR, 'ens34', '24'],
    ['an address on lo', FAR, 'lo', '32'],
  ] as const) {
    test(`${what} is listened on and sent from, after a restart too`, async () => {
      await host1.ip(`address add ${address}/${mtu} dev ${device}`);
      if (weft === undefined) await start(address);
      else {
        await weft.stop();
        // Another host, as far as the store knows.
        for (const { key } of await etcd.list(`${PREFIX}/subnets/`)) {
          if (!key.endsWith('10.10.201.0-24')) await etcd.delete(key);
        }
        await host1.run(['rm', '-f', '/run/flannel/subnet.env']);
        await host1.ip('link del docker0');
        await start(address);
        xbox1 = await host1.container(`xbox-${device}`);
      }
      await works();
      const { underlay, device: tunnel, faults } = await statusOf(host1);
      assert.deepEqual(underlay, {
        ...{ interface: 'ens33', mtu: 1500, address, publicIp: address, port: 8472 },
      });
      assert.equal(tunnel.mtu, 1450);
      assert.deepEqual(faults, []);
      await restarted(address);
      await works();
      // Nothing moves, whatever is looked at meanwhile.
      const from = weft.output.length;
      await host1.ip('link add some type veth peer name other', 'link del some');
      await new Promise((resolve) => setTimeout(resolve, 3_500));
      assert.deepEqual(toldSince(weft, from), []);

      await host1.ip(`address del ${address}/${mtu} dev ${device}`);
      await weft.waitFor(/underlay ens33: address 192\.168\.56\.11 \(was .*moved there$/m, 60_000);
      await host1.ip(`address add ${address}/${mtu} dev ${device}`);
      await eventually(
        () => passes(xbox1, xbox2),
        () => weft.output,
      );
      await works();
      assert.equal((await statusOf(host1)).underlay.address, address);
      await host1.ip(`address del ${address}/${mtu} dev ${device}`);
    });
  }

  test('an interface that is lo itself has the MTU of the way out, and of its route', async () => {
    await weft.stop();
    await host1.ip(`address replace ${FAR}/32 dev lo`);
    const mtus = async () => {
      const tunnel = Number(/ mtu (\d+) /.exec(await show(host1, 'link show dev flannel.1'))?.[1]);
      return [tunnel, (await statusOf(host1)).underlay.mtu, host1.subnetFile()!.mtu];
    };
    const flags = weftFlags(etcd).filter((flag) => !flag.startsWith('-iface'));
    weft = host1.weft(...flags, `-iface=${FAR}`);
    await weft.waitFor(/ready: flannel/, 60_000);
    assert.deepEqual(await mtus(), [1450, 1500, 1450]);
    const own = (await etcd.peers(PREFIX)).find((one) => one.publicIp === FAR);
    await peer.addPeer(own!);
    await works();
    for (const [route, mtu] of [
      ['via 192.168.56.1 mtu 1400', 1400],
      ['via 192.168.56.1', 1500],
    ] as const) {
      await host1.ip(`route change default ${route}`);
      await eventually(
        async () => (await mtus()).join() === [mtu - 50, mtu, mtu - 50].join(),
        () => weft.output,
        20_000,
      );
    }
    await works();
  });

  test('a jumbo interface in front of a smaller route has the MTU of the route', async () => {
    await weft.stop();
    await host1.ip('link set ens33 mtu 9000', 'route change default via 192.168.56.1 mtu 1400');
    weft = await startWeft(host1, etcd);
    assert.match(weft.output, /underlay ens33, address 192\.168\.56\.11, MTU 1400/);
    assert.equal(host1.subnetFile()!.mtu, 1350);
    await host1.ip('link set ens33 mtu 1500', 'route change default via 192.168.56.1');
  });

  test('a public IP that this host does not have is only advertised', async () => {
    await weft.stop();
    weft = await startWeft(host1, etcd, '-public-ip=203.0.113.7');
    const { underlay } = await statusOf(host1);
    assert.deepEqual([underlay.address, underlay.publicIp], ['192.168.56.11', '203.0.113.7']);
  });
});
