/** What `weft release` takes for this host's own, and what a start knows of it afterwards. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd, KeyValue } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { openSite, PREFIX, startWeft, weftFlags } from './overlay.js';

const lacks = labLacks({ programs: ['etcd'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const OWN_IP = '192.168.56.11';

describe('weft release', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let host: Host;

  before(async () => {
    ({ lab, etcd, host } = await openSite());
  });
  after(() => lab?.close());

  const release = (...flags: string[]) =>
    host.run([process.execPath, WEFT, 'release', ...weftFlags(etcd).slice(0, 2), ...flags], {
      mayFail: true,
    });
  /** Starts and stops one, which leaves its lease and the saved network. */
  const runOnce = async () => {
    const weft = await startWeft(host, etcd);
    assert.equal(await weft.stop(), 0);
  };
  const saved = () =>
    fs.readdirSync(host.path('/run/weft')).filter((name) => name.endsWith('.saved'));
  const subnets = async () => (await etcd.peers(PREFIX)).map(({ subnet }) => subnet);

  test("another host's key with our public IP stays: its VTEP address is not ours", async () => {
    await runOnce();
    const [own] = await subnets();
    const mac = '02:00:00:00:00:99';
    await etcd.register(PREFIX, { subnet: '10.10.177.0/24', publicIp: OWN_IP, mac });
    const { code, stdout, stderr } = await release();
    assert.equal(code, 1);
    assert.equal(stdout, `gave ${own!.replace('/', '-')} back (public IP ${OWN_IP})\n`);
    assert.match(
      stderr,
      /^weft release: 10\.10\.177\.0-24 has our public IP .* but the VTEP address 02:00:00:00:00:99/,
    );
    assert.deepEqual(await subnets(), ['10.10.177.0/24']);
    await etcd.delete(`${PREFIX}/subnets/10.10.177.0-24`);
  });

  test('another public IP is given back whatever its VTEP address: nothing is known of it', async () => {
    await runOnce();
    const publicIp = '192.168.56.99';
    const mac = '02:00:00:00:00:99';
    await etcd.register(PREFIX, { subnet: '10.10.177.0/24', publicIp, mac });
    const { code, stdout } = await release(`-public-ip=${publicIp}`);
    assert.equal(code, 0);
    assert.equal(stdout, `gave 10.10.177.0-24 back (public IP ${publicIp})\n`);
    assert.equal((await subnets()).length, 1);
    assert.equal(saved().length, 1, 'our own network is still ours');
  });

  test("a clone does not give back its original's lease, which its saved network names", async () => {
    await runOnce();
    const file = `${host.path('/run/weft')}/${saved()[0]}`;
    const text = fs.readFileSync(file, 'utf8');
    const original = '192.168.56.99';
    fs.writeFileSync(
      file,
      text.replace(/"hostId":"[^"]+"/, '"hostId":"another"').replaceAll(OWN_IP, original),
    );
    const mac = JSON.parse(text).vtepMac as string;
    await etcd.register(PREFIX, { subnet: '10.10.178.0/24', publicIp: original, mac });
    const { code, stderr } = await release();
    assert.equal(code, 0);
    assert.match(stderr, /was saved on another host or in another network namespace: not used/);
    assert.deepEqual(await subnets(), ['10.10.178.0/24']);
    await etcd.delete(`${PREFIX}/subnets/10.10.178.0-24`);
    fs.rmSync(file);
  });

  test('a reservation stays, and the saved network with it', async () => {
    await runOnce();
    const [{ key, value }] = (await etcd.list(`${PREFIX}/subnets/`)) as [KeyValue];
    await etcd.put(key, value);
    const { code, stderr } = await release();
    assert.equal(code, 1);
    assert.match(stderr, /is a reservation for 192\.168\.56\.11 and stays/);
    assert.equal(saved().length, 1);
    await etcd.delete(key);
  });

  test('what was given back is not started on: without etcd, weft waits for its config', async () => {
    await runOnce();
    assert.equal(saved().length, 1);
    await etcd.process.stop();
    assert.equal((await release()).code, 1);
    assert.equal(saved().length, 1, 'nothing was given back');
    await etcd.launch();
    assert.equal((await release()).code, 0);
    assert.deepEqual(await subnets(), []);
    assert.deepEqual(saved(), []);

    await etcd.process.stop();
    const weft = host.weft(...weftFlags(etcd));
    await weft.waitFor(/waiting for the network config: etcd/, 60_000);
    assert.doesNotMatch(weft.output, /saved/);
    assert.equal(await weft.stop(), 0);
  });
});
