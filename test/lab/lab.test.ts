/**
 * A lab from inside: two hosts with kernel VXLAN, a container each, etcd.
 *
 *   xbox1 ─ docker0 ─ alpha ─ ens33 ══ switch ══ ens33 ─ beta ─ docker0 ─ xbox3
 *                                        ╚══ etcd
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { CommandError } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import type { Host } from '../../src/lab/host.js';
import type { KernelPeer } from '../../src/lab/kernel-peer.js';
import { Lab } from '../../src/lab/lab.js';
import type { Network } from '../../src/lab/network.js';
import { TRANSFER } from '../../src/lab/transfer.js';

const lacks = labLacks({ programs: ['bridge', 'ping', 'etcd', 'ethtool'] });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const prefix = '/docker-test/network';

describe('a lab', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let network: Network;
  let etcd: Etcd;
  let alpha: Host;
  let beta: Host;
  let peers: KernelPeer[];
  let xbox1: Container;
  let xbox3: Container;

  before(async () => {
    lab = await Lab.open();
    network = await lab.network();
    etcd = await network.etcd();
    alpha = await network.host('alpha', { address: '192.168.56.11/24', offloads: false });
    beta = await network.host('beta', { address: '192.168.56.12/24' });
    peers = [
      await alpha.kernelPeer({ subnet: '10.10.1.0/24', mac: '02:00:00:00:00:0a' }),
      await beta.kernelPeer({ subnet: '10.10.2.0/24' }),
    ];
    xbox1 = await alpha.container('xbox1');
    xbox3 = await beta.container('xbox3', { address: '10.10.2.77' });
  });
  after(() => lab.close());

  test('hosts reach each other, and have names, routes and a /run of their own', async () => {
    await alpha.run(['ping', '-c', '1', '-W', '2', beta.address]);
    assert.equal((await alpha.run(['uname', '-n'])).stdout, 'alpha\n');
    const route = (await alpha.run(['ip', '-4', 'route', 'show', 'default'])).stdout;
    assert.match(route, /^default via 192\.168\.56\.1 dev ens33/);
    alpha.write('/run/weft/mark', 'alpha');
    assert.equal((await alpha.run(['cat', '/run/weft/mark'])).stdout, 'alpha');
    assert.notEqual((await beta.run(['cat', '/run/weft/mark'], { mayFail: true })).code, 0);
    await beta.run(['tee', '/run/shared/note'], { input: 'for all' });
    assert.equal((await alpha.run(['cat', '/run/shared/note'])).stdout, 'for all');
    assert.equal(alpha.read('/run/shared/nothing'), undefined);
  });

  test('kernel peers carry what containers send, once they know each other', async () => {
    const ping = ['ping', '-c', '1', '-W', '1', xbox3.address];
    assert.notEqual((await xbox1.run(ping, { mayFail: true })).code, 0);
    await peers[0]!.addPeer(peers[1]!);
    await peers[1]!.addPeer(peers[0]!);
    await xbox1.run(ping);
    await peers[0]!.removePeer(peers[1]!);
    assert.notEqual((await xbox1.run(ping, { mayFail: true })).code, 0);
    await peers[0]!.addPeer(peers[1]!);
  });

  test('a kernel peer is what flannel makes', async () => {
    // As JSON: what `ip` prints for people differs between Debian 12 and 13.
    const shown = (await alpha.run(['ip', '-d', '-j', 'link', 'show', 'flannel.1'])).stdout;
    const [{ mtu, address, linkinfo }] = JSON.parse(shown);
    const { id, local, link, port, learning } = linkinfo.info_data;
    assert.deepEqual([mtu, address], [1450, '02:00:00:00:00:0a']);
    assert.deepEqual(
      { id, local, link, port, learning },
      { id: 1, local: '192.168.56.11', link: 'ens33', port: 8472, learning: false },
    );
    const route = (await alpha.run(['ip', 'route', 'show', '10.10.2.0/24'])).stdout;
    assert.match(route, /via 10\.10\.2\.0 dev flannel\.1 onlink/);
    assert.equal(
      alpha.read('/run/flannel/subnet.env'),
      'FLANNEL_NETWORK=10.10.0.0/16\nFLANNEL_SUBNET=10.10.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n',
    );
  });

  test('containers are wired as subnet.env says', async () => {
    assert.equal(xbox1.address, '10.10.1.2');
    assert.equal(xbox3.gateway, '10.10.2.1');
    const link = JSON.parse((await xbox1.run(['ip', '-j', 'link', 'show', 'eth0'])).stdout);
    assert.equal(link[0].mtu, 1450);
    const bridge = JSON.parse((await alpha.run(['ip', '-j', 'link', 'show', 'docker0'])).stdout);
    assert.equal(bridge[0].mtu, 1450);
  });

  test('without offloads the wire carries packets of at most the MTU, with checksums', async () => {
    const features = (await alpha.run(['ethtool', '-k', 'ens33'])).stdout;
    assert.match(features, /tcp-segmentation-offload: off/);
    assert.match(features, /generic-segmentation-offload: off/);
    assert.match(features, /tx-checksumming: off/);
    assert.match(features, /generic-receive-offload: on/);
    const bare = (await beta.run(['ethtool', '-k', 'ens33'])).stdout;
    assert.match(bare, /tcp-segmentation-offload: on/);
  });

  test('etcd keeps what is put, and registers leases as flannel writes them', async () => {
    await etcd.put(`${prefix}/config`, '{}');
    assert.equal(await etcd.get(`${prefix}/config`), '{}');
    assert.equal(await etcd.get(`${prefix}/other`), undefined);
    for (const peer of peers) await etcd.register(prefix, peer);
    assert.deepEqual((await etcd.list(`${prefix}/subnets/`))[0], {
      key: `${prefix}/subnets/10.10.1.0-24`,
      value:
        '{"PublicIP":"192.168.56.11","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:0a"}}',
    });
    assert.deepEqual(
      await etcd.peers(prefix),
      peers.map(({ subnet, publicIp, mac }) => ({ subnet, publicIp, mac })),
    );
    await etcd.process.stop();
    await assert.rejects(etcd.get(`${prefix}/config`));
    await etcd.launch();
    assert.equal(await etcd.get(`${prefix}/config`), '{}');
    await etcd.delete(`${prefix}/config`);
    assert.equal(await etcd.get(`${prefix}/config`), undefined);
  });

  test('a failing command says what was run, its code and what it said', async () => {
    await assert.rejects(alpha.run(['ip', 'link', 'show', 'nowhere']), (error) => {
      assert.ok(error instanceof CommandError);
      assert.equal(error.code, 1);
      assert.match(error.message, /ip link show nowhere` failed with code 1: .*"nowhere"/);
      return true;
    });
    await assert.rejects(alpha.run(['sleep', '60'], { timeout: 100 }), /was not done after 100 ms/);
    await assert.rejects(
      alpha.ip('link set lo up', 'link set dev eth7 up'),
      /"link set dev eth7 up"` failed on alpha: Cannot find device "eth7"/,
    );
  });

  test('a running program is waited for, and stopped hard when it does not stop', async () => {
    const receiver = alpha.start([process.execPath, TRANSFER, 'receive', '9000']);
    await receiver.waitFor(/listening/, 5_000);
    const send = [process.execPath, TRANSFER, 'send', alpha.address, '9000', '3000000'];
    const sent = (await beta.run(send)).stdout;
    assert.match(sent, /^\{"bytes":3000000,"sha256":"[0-9a-f]{64}"\}\n$/);
    assert.equal(await receiver.exited, 0);
    assert.equal(receiver.output, `listening\n${sent}`);
    await assert.rejects(receiver.waitFor(/never/, 1_000), /ended with code 0 before it said/);
    const deaf = alpha.start([
      process.execPath,
      '-e',
      'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000); console.log("up")',
    ]);
    await deaf.waitFor(/up/, 5_000);
    await assert.rejects(deaf.waitFor(/never/, 50), /did not say \/never\/ within 50 ms/);
    assert.equal(await deaf.stop(100), 137);
  });

  test('a host that is closed does not answer any more, whatever daemon was left there', async () => {
    const gamma = await network.host('gamma', { address: '192.168.56.13/24' });
    await gamma.run(['sh', '-c', 'setsid sleep 1000 >/dev/null 2>&1 </dev/null &']);
    const answers = async () =>
      (await beta.run(['ping', '-c', '1', '-W', '1', '192.168.56.13'], { mayFail: true })).code ===
      0;
    assert.equal(await answers(), true);
    await gamma.close();
    // The kernel takes its time over a network namespace that nobody is in.
    for (let tries = 0; tries < 10 && (await answers()); tries += 1) await pause(100);
    assert.equal(await answers(), false);
  });

  test('names are used once', async () => {
    await assert.rejects(alpha.container('xbox3'), /has a "xbox3" already/);
  });
});
