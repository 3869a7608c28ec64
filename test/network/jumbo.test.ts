/** An underlay whose MTU is the longest that there is: datagrams of any length, and none in a circle. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Status } from '../../src/operate/status/status.js';
import {
  CONFIG,
  NO_PROBES,
  PREFIX,
  ping,
  startWeft,
  TRAFFIC,
  tcpTransfer,
  udpSizes,
} from './overlay.js';
import { statusOf } from './spoil.js';

const lacks = labLacks({ programs: ['etcd', 'ping', 'bridge'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('an underlay of MTU 65535', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let host: Host;
  let near: Container;
  /** Behind another weft, and behind a kernel's VTEP. */
  const far: Container[] = [];

  before(async () => {
    lab = await Lab.open();
    const network = await lab.network({ mtu: 65_535 });
    const etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    host = await network.host('host1', { address: '192.168.56.11/24' });
    const other = await network.host('host2', { address: '192.168.56.12/24' });
    const third = await network.host('host3', { address: '192.168.56.13/24' });
    const peer = await third.kernelPeer({ subnet: '10.10.203.0/24' });
    await etcd.register(PREFIX, peer);
    await startWeft(host, etcd, NO_PROBES);
    await startWeft(other, etcd, NO_PROBES);
    for (const one of await etcd.peers(PREFIX)) {
      if (one.publicIp !== peer.publicIp) await peer.addPeer(one);
    }
    near = await host.container('near');
    far.push(await other.container('far'), await third.container('further'));
  });
  after(() => lab?.close());

  const status = async (): Promise<Status> => statusOf(host);

  test('the tunnel takes what a datagram can hold', async () => {
    assert.equal((await status()).device.mtu, 65_485);
  });

  test('packets of every kind of length pass, to weft and to a kernel', async () => {
    for (const to of far) {
      await ping(near, to);
      for (const size of [1472, 9000, 60_000, 65_400]) {
        await near.run(['ping', '-c', '2', '-i', '0.05', '-W', '2', '-s', `${size}`, to.address]);
      }
      await udpSizes(near, to, '0,1,1400,9000,32000,64000,64950-64960,65000,65400-65457');
      await tcpTransfer(near, to, 20_000_000);
    }
  });

  test('segments too long to share a send: each leaves once, and the lane goes on', async () => {
    const sizes = [64_954, 400];
    for (const to of far) {
      const before = (await status()).counters;
      for (let i = 0; i < 3; i += 1) {
        const count = to.start([process.execPath, TRAFFIC, 'udp-count', '40002', '2']);
        await count.waitFor(/listening/, 60_000);
        const total = String(64_954 + 400);
        await near.run([process.execPath, TRAFFIC, 'udp-gso', to.address, '40002', '64954', total]);
        const [, arrived] = await count.waitFor(/^([\d,]+ \w+)$/m, 60_000);
        assert.equal(arrived, `${sizes} right`);
      }
      const { counters, drops } = await status();
      assert.equal(counters.outbound_out_packets - before.outbound_out_packets, 6);
      assert.deepEqual(drops, {});
      await ping(near, to);
    }
  });
});
