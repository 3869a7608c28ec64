/** What becomes of a host's lease, as its operator sees it: release, loss, a start without etcd. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Network } from '../../src/lab/network.js';
import { readStatus } from '../../src/operate/status/socket.js';
import type { Status } from '../../src/operate/status/status.js';
import { until } from '../control/fakes.js';
import { CONFIG, PREFIX, ping, startWeft, weftFlags } from './overlay.js';

const lacks = labLacks({ programs: ['etcd', 'ping'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const SUBNETS = `${PREFIX}/subnets/`;
const APART = '/apart/network';

describe('the lease of a host', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let network: Network;
  let etcd: Etcd;
  let host1: Host;
  let host2: Host;
  let host3: Host;
  let eager: Running;
  let xbox1: Container;
  let xbox2: Container;
  const wefts: Running[] = [];

  before(async () => {
    lab = await Lab.open();
    network = await lab.network();
    etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    host1 = await network.host('host1', { address: '192.168.56.11/24' });
    host2 = await network.host('host2', { address: '192.168.56.12/24' });
    host3 = await network.host('host3', { address: '192.168.56.13/24' });
    // In a network of its own; looked at in the last test, since it takes its time.
    await etcd.put(`${APART}/config`, CONFIG);
    const margin = '-subnet-lease-renew-margin=1439';
    eager = await startWeft(host3, etcd, `-etcd-prefix=${APART}`, margin);
  });
  after(() => lab?.close());
  afterEach(async () => {
    for (const weft of wefts.splice(0)) await weft.stop();
  });

  const start = async (host: Host, ...flags: string[]): Promise<Running> => {
    const weft = await startWeft(host, etcd, ...flags);
    wefts.push(weft);
    return weft;
  };
  const release = (host: Host, ...flags: string[]) =>
    host.run([process.execPath, WEFT, 'release', ...weftFlags(etcd).slice(0, 2), ...flags], {
      mayFail: true,
    });
  const status = async (host: Host): Promise<Status> =>
    (await readStatus(host.path('/run/weft/flannel.1.sock'))) as Status;
  const keys = async () => (await etcd.list(SUBNETS)).map(({ key }) => key.slice(SUBNETS.length));

  test('release: refused while weft runs, then the key goes and the others forget', async () => {
    const weft = await start(host1);
    await start(host2);
    const [key] = (await status(host1)).lease.subnet.split('/');
    await until(async () => (await status(host2)).peers.length === 1);
    const refused = await release(host1);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /^weft release: weft is running \(process \d+\).*stop it first/);
    assert.equal((await keys()).length, 2);

    await weft.stop();
    const released = await release(host1);
    assert.deepEqual(
      [released.code, released.stdout, released.stderr],
      [0, `gave ${key}-24 back (public IP 192.168.56.11)\n`, ''],
    );
    await until(async () => (await status(host2)).peers.length === 0);
    const again = await release(host1, '-iface=ens33');
    assert.equal(again.code, 0);
    assert.match(again.stdout, /^no lease has the public IP 192.168.56.11 .*nothing to give back/);

    await etcd.put(`${SUBNETS}10.10.109.0-24`, '{"PublicIP":"192.168.56.11"}');
    const reserved = await release(host1, '-public-ip=192.168.56.11');
    assert.equal(reserved.code, 1);
    assert.match(reserved.stderr, /10.10.109.0-24 is a reservation for 192.168.56.11 and stays/);
    await etcd.delete(`${SUBNETS}10.10.109.0-24`);

    await etcd.process.stop();
    const away = await release(host1, '-public-ip=192.168.56.11');
    assert.equal(away.code, 1);
    assert.match(away.stderr, /^weft release: etcd does not answer, cannot list the leases/);
    await etcd.launch();
  });

  test('restarted while etcd is away, it forwards on the saved network and says so', async () => {
    const first = await start(host1);
    await start(host2);
    const before = await status(host1);
    xbox1 = await host1.container('xbox1');
    xbox2 = await host2.container('xbox2');
    await until(async () => (await status(host1)).peers.length === 1);
    await ping(xbox1, xbox2);
    await first.stop();
    await etcd.process.stop();

    const second = await start(host1);
    assert.match(second.output, /^W .*taking the config saved 20/m);
    assert.match(second.output, /^W .*forwarding on the network saved 20/m);
    const now = await status(host1);
    assert.deepEqual([now.device, now.lease.vtepMac], [before.device, before.lease.vtepMac]);
    assert.equal(now.peers.length, 1);
    assert.match(now.storeState.savedAt ?? '', /^20/);
    const { stdout } = await host1.run([process.execPath, WEFT, 'status'], { mayFail: true });
    assert.match(stdout, /AWAY for \d+ s; forwarding on the network saved 20/);
    await ping(xbox1, xbox2);

    await etcd.launch();
    await until(async () => (await status(host1)).storeState.awaySeconds === null);
    await until(async () => (await status(host1)).lease.id !== null);
    assert.equal((await status(host1)).storeState.savedAt, null);
    await ping(xbox1, xbox2);
  });

  test('moved while it forwards on the saved network: told to the others when etcd returns', async () => {
    const there = '192.168.56.61';
    for (const gone of [false, true]) {
      const first = await start(host1);
      const second = await start(host2);
      await until(async () => (await status(host1)).peers.length === 1);
      const { lease } = await status(host1);
      const key = `${SUBNETS}${lease.subnet.replace('/', '-')}`;
      await first.stop();
      // With the key gone as well, which the saved network does not know.
      if (gone) await etcd.delete(key);
      await etcd.process.stop();
      const saved = await start(host1);
      await host1.ip('address del 192.168.56.11/24 dev ens33');
      await host1.ip(`address add ${there}/24 dev ens33`);
      await until(async () => (await status(host1)).underlay.publicIp === there);
      const { lease: told, faults } = await status(host1);
      assert.equal(told.kind, 'untold');
      assert.match(faults.join(), /has another public IP.*; it gets 192\.168\.56\.61/);

      await etcd.launch();
      await until(async () => (await status(host2)).peers[0]?.publicIp === there, 20_000);
      const now = await status(host1);
      assert.deepEqual([now.lease.subnet, now.lease.kind], [lease.subnet, 'leased']);
      assert.ok((now.lease.expiresInSeconds ?? 0) > 80_000, 'and not for good');
      assert.deepEqual(now.faults, []);
      assert.match((await etcd.list(key))[0]?.value ?? '', /"PublicIP":"192\.168\.56\.61"/);
      await ping(xbox1, xbox2);

      await saved.stop();
      await second.stop();
      await host1.ip(`address del ${there}/24 dev ens33`);
      await host1.ip('address add 192.168.56.11/24 dev ens33');
    }
  });

  test('-on-lease-loss=reacquire: the key is written again, and traffic goes on', async () => {
    const weft = await start(host1, '-on-lease-loss=reacquire');
    await start(host2);
    await until(async () => (await status(host2)).peers.length === 1);
    await ping(xbox1, xbox2);
    const { subnet } = (await status(host1)).lease;
    const key = subnet.replace('/', '-');
    await etcd.delete(SUBNETS + key);
    await weft.waitFor(/our lease \S+ is in the store again/, 60_000);
    assert.ok((await keys()).includes(key));
    await until(async () => (await status(host2)).peers.length === 1);
    await ping(xbox1, xbox2);
    assert.equal(weft.code, undefined);

    await etcd.put(SUBNETS + key, '{"PublicIP":"192.168.56.77"}');
    assert.equal(await weft.exited, 1);
    assert.match(weft.output, /^E .*was taken by the host with public IP 192.168.56.77; a new/m);
    const next = await start(host1, '-on-lease-loss=reacquire');
    assert.match(next.output, /belongs to 192.168.56.77 now; 192.168.56.11 takes another/);
    assert.notEqual((await status(host1)).lease.subnet, subnet);
    await etcd.delete(SUBNETS + key);
  });

  test('stopped for a while, with the key gone meanwhile: noticed when it goes on', async () => {
    const weft = await start(host1);
    const { subnet } = (await status(host1)).lease;
    weft.kill('SIGSTOP');
    await etcd.delete(SUBNETS + subnet.replace('/', '-'));
    await etcd.compact();
    await sleep(3_000);
    weft.kill('SIGCONT');
    const code = await Promise.race([weft.exited, sleep(5_000, 'still there', { ref: false })]);
    assert.equal(code, 0, weft.tail(5));
    assert.match(weft.output, /our lease \S+ was removed from the store, or has run out/);
  });

  test('-subnet-lease-renew-margin=1439: renewed within a minute, with the same value', async () => {
    const { subnet } = (await status(host3)).lease;
    const key = `${APART}/subnets/${subnet.replace('/', '-')}`;
    const value = await etcd.get(key);
    await eager.waitFor(/lease \S+ renewed for 86400 s/, 70_000);
    assert.equal(await etcd.get(key), value);
    const { granted, remaining } = await etcd.timeToLive(key);
    assert.equal(granted, 86_400);
    assert.ok(remaining > 86_300);
    assert.equal(eager.code, undefined);
    assert.equal(await eager.stop(), 0);
  });
});
