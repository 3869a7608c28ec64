/**
 * Docker's engine, started after weft on a host that does not forward: it is the one to switch
 * forwarding on, so it closes FORWARD; containers talk over the overlay, strangers are not routed,
 * and what Docker switched on stays when weft goes.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import type { Running } from '../../src/lab/command.js';
import { Docker, type DockerContainer, dockerLacks } from '../../src/lab/docker.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { packImage } from '../../src/lab/image.js';
import { Lab } from '../../src/lab/lab.js';
import { CONFIG, PREFIX, startWeft } from './overlay.js';
import { eventually, statusOf } from './spoil.js';
import { addStranger, forwardingIn, forwards, isRouted, WITHOUT_DOCKER } from './strangers-way.js';

const lacks = dockerLacks() ?? labLacks({ programs: ['etcd', 'ping'], tun: true });
if (lacks === undefined && !Lab.inside()) {
  process.exit(await enterLab(undefined, { docker: true }));
}

const OPTIONS = '/run/flannel/docker';

describe('Docker started after weft', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let hosts: readonly [Host, Host];
  let stranger: Host;
  let wefts: readonly [Running, Running];
  let engines: readonly [Docker, Docker];
  let boxes: readonly [DockerContainer, DockerContainer];

  before(async () => {
    lab = await Lab.open();
    const network = await lab.network();
    etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    hosts = [
      await network.host('host1', { address: '192.168.56.11/24', forwarding: false }),
      await network.host('host2', { address: '192.168.56.12/24', forwarding: false }),
    ];
    stranger = await addStranger(network, hosts[0], etcd);
    wefts = [await startWeft(hosts[0], etcd), await startWeft(hosts[1], etcd)];
  });
  after(() => lab?.close());

  const weft = (host: Host, ...words: string[]) => host.run([process.execPath, WEFT, ...words]);
  const policy = async (host: Host): Promise<string> =>
    (await host.run(['iptables', '-S', 'FORWARD'])).stdout.split('\n')[0]!;
  const answers = async (from: DockerContainer, address: string): Promise<boolean> =>
    (await from.run(['ping', '-c', '1', '-W', '1', address], { mayFail: true })).code === 0;

  async function startDocker(host: Host): Promise<Docker> {
    await weft(host, 'docker-opts', '-c', '-d', OPTIONS);
    const [, options = ''] = /^DOCKER_OPTS="(.*)"$/m.exec(host.read(OPTIONS)!) ?? [];
    return await Docker.start(host, options.trim().split(/\s+/));
  }

  test('dockerd switches forwarding on and closes FORWARD; what weft had named is over', async () => {
    assert.match(forwardingIn(await statusOf(hosts[0])), WITHOUT_DOCKER);
    assert.equal(await policy(hosts[0]), '-P FORWARD ACCEPT');
    engines = [await startDocker(hosts[0]), await startDocker(hosts[1])];
    for (const host of hosts) {
      assert.equal(await policy(host), '-P FORWARD DROP');
      assert.equal(await forwards(host, 'ip_forward'), '1');
    }
    await eventually(
      async () => (await statusOf(hosts[0])).faults.length === 0,
      () => wefts[0].output,
    );
  });

  test('containers talk over the overlay, and a stranger is not routed', async () => {
    const folder = lab.directory('shared', 'images', 'busybox');
    await packImage(folder, { programs: ['busybox'] });
    const made: DockerContainer[] = [];
    for (const [i, engine] of engines.entries()) {
      await engine.import('/run/shared/images/busybox.tar', 'busybox', ['sh']);
      made.push(await engine.container(`box${i + 1}`, 'busybox'));
    }
    boxes = [made[0]!, made[1]!];
    await eventually(
      () => answers(boxes[0], boxes[1].address),
      () => wefts[0].output,
    );
    await eventually(
      () => answers(boxes[1], boxes[0].address),
      () => wefts[0].output,
    );
    assert.equal(await isRouted(stranger), false);
  });

  test('weft down takes nothing from Docker while weft runs', async () => {
    const down = [process.execPath, WEFT, 'down'];
    const { code, stdout, stderr } = await hosts[0].run(down, { mayFail: true });
    assert.deepEqual([code, stdout], [1, '']);
    assert.match(stderr, /weft still runs for flannel\.1/);
    assert.ok(hosts[0].read(OPTIONS));
  });

  test('weft down beside running containers: they keep the world, Docker its forwarding', async () => {
    for (const one of wefts) await one.stop();
    const { stdout } = await weft(hosts[0], 'down');
    assert.match(stdout, new RegExp(`The file ${OPTIONS} was removed\\.`));
    assert.equal(hosts[0].read(OPTIONS), undefined);
    await eventually(
      () => answers(boxes[0], etcd.address),
      () => 'the world is gone',
    );
    assert.equal(await forwards(hosts[0], 'ip_forward'), '1');
    assert.equal(await policy(hosts[0]), '-P FORWARD DROP');
    assert.equal(await isRouted(stranger), false);
    assert.match((await weft(hosts[0], 'down')).stdout, /weft has left nothing on this host/);
  });

  test('without a journal, as a weft in a container leaves it, what is there is named', async () => {
    fs.rmSync(hosts[1].path('/run/weft'), { recursive: true });
    const { stdout } = await weft(hosts[1], 'down');
    assert.match(stdout, /^Nothing was taken back: there is no journal in \/run\/weft/);
    for (const what of ['FLANNEL-FWD', 'WEFT-GUARD', '(rm /run/flannel/subnet.env)']) {
      assert.ok(stdout.includes(what), `${what} in ${stdout}`);
    }
    assert.ok(hosts[1].subnetFile());
  });
});
