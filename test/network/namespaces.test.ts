/**
 * Wefts in several network namespaces that share one /run/weft, and in several process namespaces,
 * where each is process 1: state, status and clearing up go by the network namespace.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import type { Running } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Status } from '../../src/operate/status/status.js';
import { CONFIG, PREFIX, weftFlags } from './overlay.js';

const lacks = labLacks({ programs: ['etcd'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

/** Process 1 of its own, as a container's. */
const CONTAINER = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'];
const COMMAND = [process.execPath, WEFT];

describe('wefts that share /run/weft', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let one: Host;
  let two: Host;
  /** The folder that both see as /run/weft, by its path here. */
  let shared: string;
  let first: Running;
  let second: Running;

  before(async () => {
    lab = await Lab.open();
    const network = await lab.network();
    etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    one = await network.host('host1', { address: '192.168.56.11/24' });
    two = await network.host('host2', { address: '192.168.56.12/24' });
    shared = `${lab.shared}/weft`;
    fs.mkdirSync(shared);
    for (const host of [one, two]) {
      fs.mkdirSync(host.path('/run/weft'));
      await host.run(['mount', '--bind', '/run/shared/weft', '/run/weft']);
    }
    first = await start(one);
    second = await start(two);
  });
  after(() => lab?.close());

  const up = (host: Host, ...flags: string[]): Running =>
    host.start([...CONTAINER, ...COMMAND, 'up', ...weftFlags(etcd), ...flags], { name: 'weft up' });
  const start = async (host: Host, ...flags: string[]): Promise<Running> => {
    const weft = up(host, ...flags);
    await weft.waitFor(/ready: flannel/, 60_000);
    return weft;
  };
  const kill = async (weft: Running) => {
    weft.kill('SIGKILL');
    await weft.exited;
  };
  const weft = (host: Host, ...args: string[]) =>
    host.run([...COMMAND, ...args], { mayFail: true });
  const status = async (host: Host) =>
    JSON.parse((await weft(host, 'status', '--json')).stdout) as Status;
  const number = async (host: Host) =>
    /\d+/.exec((await host.run(['readlink', '/proc/self/ns/net'])).stdout)![0];
  /** Without the captures and saved networks. */
  const files = (folder: string) =>
    fs
      .readdirSync(folder)
      .filter((name) => /json$|sock$/.test(name))
      .sort();

  test('both run for flannel.1, and status is that of the namespace where it is asked', async () => {
    const [here, there] = [await status(one), await status(two)];
    assert.deepEqual([here.pid, there.pid], [1, 1]);
    assert.equal(here.underlay.address, '192.168.56.11');
    assert.equal(there.underlay.address, '192.168.56.12');
    assert.deepEqual([here.faults, there.faults], [[], []]);
  });

  test('the first has the folder itself, the other one a folder in it; the saved network too', async () => {
    const own = `${shared}/net-${await number(two)}`;
    assert.deepEqual(files(shared), ['flannel.1.json', 'flannel.1.sock']);
    assert.deepEqual(files(own), ['flannel.1.json', 'flannel.1.sock']);
    const saved = (folder: string) => {
      const [name] = fs.readdirSync(folder).filter((file) => file.endsWith('.saved'));
      return JSON.parse(fs.readFileSync(`${folder}/${name}`, 'utf8')).publicIp;
    };
    for (let i = 0; i < 50 && !fs.readdirSync(own).some((f) => f.endsWith('.saved')); i += 1) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.deepEqual([saved(shared), saved(own)], ['192.168.56.11', '192.168.56.12']);
  });

  test('status names the one in the other namespace', async () => {
    assert.match(
      (await weft(one, 'status')).stdout,
      new RegExp(
        `^weft also runs in 1 other network namespace: net:\\[${await number(two)}\\] \\(flannel\\.1\\)`,
        'm',
      ),
    );
    assert.match(
      (await weft(two, 'status')).stdout,
      new RegExp(`: net:\\[${await number(one)}\\] \\(flannel\\.1\\); `),
    );
  });

  test('another container of the same network namespace is refused, and disturbs nobody', async () => {
    const third = up(one, '-subnet-file=/run/other.env');
    assert.equal(await third.exited, 1);
    assert.match(
      third.output,
      /E .*flannel\.1 is in use by the running weft with process id 1 in another container; stop/,
    );
    assert.equal((await status(one)).underlay.address, '192.168.56.11');
    assert.deepEqual(files(shared), ['flannel.1.json', 'flannel.1.sock']);
  });

  test('down is refused for a weft of another process namespace', async () => {
    const { code, stderr } = await weft(one, 'down');
    assert.equal(code, 1);
    assert.match(stderr, /weft still runs for flannel\.1 as process 1 in another container/);
  });

  test('down in one leaves the other as it is', async () => {
    await kill(second);
    const own = `${shared}/net-${await number(two)}`;
    const before = fs.readFileSync(`${shared}/flannel.1.json`, 'utf8');
    assert.match((await weft(two, 'status')).stderr, /the weft of flannel\.1 does not answer/);
    const { code, stdout } = await weft(two, 'down');
    assert.equal(code, 0);
    assert.match(stdout, /subnet\.env was removed/);
    assert.equal(fs.existsSync(own), false);
    assert.equal(fs.readFileSync(`${shared}/flannel.1.json`, 'utf8'), before);
    assert.equal(two.read('/run/flannel/subnet.env'), undefined);
    assert.ok(one.subnetFile() !== undefined);
    assert.match((await one.run(['ip', '-br', 'link'])).stdout, /flannel\.1 /);
    const again = await weft(two, 'down');
    assert.match(
      again.stdout,
      /left nothing in this network namespace; it runs in net:\[\d+\] \(flannel\.1\)/,
    );
    assert.match((await weft(two, 'status')).stderr, /no weft runs in this network namespace/);
  });

  test('after kill -9 the next one goes on in the same folder', async () => {
    second = await start(two);
    await kill(second);
    second = await start(two);
    assert.deepEqual(files(`${shared}/net-${await number(two)}`), [
      'flannel.1.json',
      'flannel.1.sock',
    ]);
    assert.equal((await status(two)).underlay.address, '192.168.56.12');
  });

  test('one file for two subnets is refused, with the flag', async () => {
    await kill(first);
    await kill(second);
    first = await start(one, '-subnet-file=/run/shared/subnet.env');
    const clash = up(two, '-subnet-file=/run/shared/subnet.env');
    assert.equal(await clash.exited, 1);
    assert.match(
      clash.output,
      /E .*subnet\.env is written by the weft of flannel\.1 in .*net:\[\d+\].*-subnet-file/,
    );
    second = await start(two);
  });

  test('-run-dir, from the environment too, says where', async () => {
    await kill(second);
    second = two.start(
      [...CONTAINER, ...COMMAND, 'up', ...weftFlags(etcd), '-subnet-file=/run/flannel/subnet.env'],
      { name: 'weft up', env: { RUNTIME_DIRECTORY: '/run/flannel:/run/weft-two' } },
    );
    await second.waitFor(/ready: flannel/, 60_000);
    assert.deepEqual(files(two.path('/run/weft-two')), ['flannel.1.json', 'flannel.1.sock']);
    assert.match((await weft(two, 'status', '-run-dir=/run/weft-two')).stdout, /192\.168\.56\.12/);
    await kill(second);
    const down = await weft(two, 'down', '-run-dir', '/run/weft-two');
    assert.match(down.stdout, /journal \/run\/weft-two\/flannel\.1\.json was removed/);
  });
});
