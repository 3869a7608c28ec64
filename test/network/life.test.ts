/**
 * A weft's life on a host: what it writes, what stays, what goes; how it starts where
 * something is wrong.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Network } from '../../src/lab/network.js';
import type { Status } from '../../src/operate/status/status.js';
import { CONFIG, PREFIX, startWeft, weftFlags } from './overlay.js';
import { statusOf } from './spoil.js';

const lacks = labLacks({ programs: ['etcd', 'iperf3', 'setpriv'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('weft up on a host', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let network: Network;
  let etcd: Etcd;
  let host1: Host;
  let host2: Host;

  before(async () => {
    lab = await Lab.open();
    network = await lab.network();
    etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    host1 = await network.host('host1', { address: '192.168.56.11/24' });
    host2 = await network.host('host2', { address: '192.168.56.12/24' });
  });
  after(() => lab?.close());

  const status = async (host: Host): Promise<Status> => statusOf(host);

  /** Runs `weft up` that is expected to end by itself; its code and what it said. */
  const refused = async (host: Host, ...flags: string[]): Promise<[number, string]> => {
    const weft = host.weft(...flags);
    const code = await Promise.race([weft.exited, sleep(5_000, undefined)]);
    assert.notEqual(code, undefined, `still running:\n${weft.output}`);
    return [code!, weft.output];
  };

  const nothingLeft = async (host: Host): Promise<void> => {
    const links = (await host.run(['ip', '-br', 'link'])).stdout;
    assert.doesNotMatch(links, /flannel/);
    assert.doesNotMatch((await host.run(['ip', 'route'])).stdout, /flannel/);
    assert.doesNotMatch((await host.run(['cat', '/proc/net/udp'])).stdout, /:2118 /);
  };

  test('key, value, 24 h lease and subnet.env are just what flannel writes', async () => {
    const weft = await startWeft(host1, etcd);
    const [entry, ...others] = await etcd.list(`${PREFIX}/subnets/`);
    assert.deepEqual(others, []);
    const { subnet, vtepMac } = (await status(host1)).lease;
    const [a, b, c] = subnet.split('.');
    assert.equal(entry!.key, `${PREFIX}/subnets/${a}.${b}.${c}.0-24`);
    assert.equal(
      entry!.value,
      `{"PublicIP":"192.168.56.11","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${vtepMac}"}}`,
    );
    const ttl = await etcd.timeToLive(`${PREFIX}/subnets/${a}.${b}.${c}.0-24`);
    assert.equal(ttl.granted, 86_400);
    assert.ok(ttl.remaining > 86_390, `remaining ${ttl.remaining}`);
    assert.equal(
      host1.read('/run/flannel/subnet.env'),
      `FLANNEL_NETWORK=10.10.0.0/16\nFLANNEL_SUBNET=${a}.${b}.${c}.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n`,
    );
    assert.equal(fs.statSync(host1.path('/run/flannel/subnet.env')).mode & 0o777, 0o644);

    const addr = (await host1.run(['ip', '-4', 'addr', 'show', 'flannel.1'])).stdout;
    assert.match(
      addr,
      new RegExp(`mtu 1450 .*[\\s\\S]*inet ${a}\\.${b}\\.${c}\\.0/32 scope global`),
    );
    assert.equal(await weft.stop(), 0);
  });

  test('SIGTERM keeps lease and subnet.env; a restart keeps subnet and VtepMAC', async () => {
    const before = await etcd.list(`${PREFIX}/subnets/`);
    const file = host1.read('/run/flannel/subnet.env');
    await nothingLeft(host1);
    const weft = await startWeft(host1, etcd);
    assert.deepEqual(await etcd.list(`${PREFIX}/subnets/`), before);
    assert.equal(host1.read('/run/flannel/subnet.env'), file);
    assert.equal(await weft.stop(), 0);
  });

  test('after SIGKILL, weft down takes back what is left, and only that', async () => {
    const weft = await startWeft(host1, etcd);
    const refusal = await host1.run([process.execPath, WEFT, 'down'], { mayFail: true });
    assert.equal(refusal.code, 1);
    assert.match(refusal.stderr, /still runs/);
    weft.kill('SIGKILL');
    await weft.exited;
    const dead = await host1.run([process.execPath, WEFT, 'status'], { mayFail: true });
    assert.equal(dead.code, 1);
    assert.match(dead.stderr, /does not answer.*weft down/);
    const { stdout } = await host1.run([process.execPath, WEFT, 'down']);
    assert.match(stdout, /subnet\.env was removed/);
    await nothingLeft(host1);
    assert.equal(host1.read('/run/flannel/subnet.env'), undefined);
    assert.deepEqual(fs.readdirSync(host1.path('/run/weft')), []);
    const again = await host1.run([process.execPath, WEFT, 'down']);
    assert.match(again.stdout, /Nothing to take back/);
  });

  test('a weft that was killed and never reaped, as in a container, holds nothing: start, weft down', async () => {
    // The shell becomes a program that knows of no child, as many a process 1 of a container.
    const line = '"$@" & exec sleep 1000';
    const argv = [process.execPath, WEFT, 'up', ...weftFlags(etcd)];
    const killed = async () => {
      const parent = host1.start(['sh', '-c', line, 'sh', ...argv]);
      await parent.waitFor(/ready: flannel/, 10_000);
      const { pid } = JSON.parse(host1.read('/run/weft/flannel.1.json')!).owner;
      process.kill(pid, 'SIGKILL');
      const ended = async () => {
        const state = await host1.run(['cat', `/proc/${pid}/stat`]);
        return /\) Z /.test(state.stdout);
      };
      for (let look = 0; look < 100 && !(await ended()); look += 1) await sleep(50);
      assert.ok(await ended());
      return parent;
    };
    const first = await killed();
    const weft = await startWeft(host1, etcd);
    assert.equal(await weft.stop(), 0);
    await first.stop();
    const second = await killed();
    const { stderr } = await host1.run([process.execPath, WEFT, 'status'], { mayFail: true });
    assert.match(stderr, /does not answer.*weft down/);
    const { stdout } = await host1.run([process.execPath, WEFT, 'down']);
    assert.match(stdout, /subnet\.env was removed/);
    await second.stop();
    await nothingLeft(host1);
  });

  test('a peer that joins, moves and leaves: routes follow', async () => {
    const weft = await startWeft(host1, etcd);
    const peer = {
      subnet: '10.10.220.0/24',
      publicIp: '192.168.56.99',
      mac: '02:00:00:00:00:99',
    };
    await etcd.register(PREFIX, peer);
    await weft.waitFor(/peer joined: 10\.10\.220\.0\/24 at 192\.168\.56\.99/, 60_000);
    await sleep(50);
    const route = async () =>
      (await host1.run(['ip', 'route', 'show', '10.10.220.0/24'])).stdout.trim();
    assert.match(await route(), /^10\.10\.220\.0\/24 dev flannel\.1/);
    await etcd.register(PREFIX, { ...peer, publicIp: '192.168.56.98' });
    await weft.waitFor(/peer changed: .* at 192\.168\.56\.98/, 60_000);
    await etcd.delete(`${PREFIX}/subnets/10.10.220.0-24`);
    await weft.waitFor(/peer left: 10\.10\.220\.0\/24/, 60_000);
    await sleep(50);
    assert.equal(await route(), '');
    await weft.stop();
  });

  test('bad keys and values cost themselves alone, in one line each', async () => {
    const weft = await startWeft(host1, etcd);
    const other = await startWeft(host2, etcd);
    const bad = {
      '10.10.221.0-24': 'not json',
      '10.10.222.0-24':
        '{"PublicIP":"192.168.56.97","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"zz"}}',
      'no-subnet': '{}',
      '10.10.223.0-24&2001:db8:42::-64':
        '{"PublicIP":"192.168.56.96","PublicIPv6":"2001:db8::1","BackendType":"vxlan"}',
    };
    for (const [key, value] of Object.entries(bad))
      await etcd.put(`${PREFIX}/subnets/${key}`, value);
    await weft.waitFor(/10\.10\.223\.0-24&2001/, 60_000);
    await sleep(200);
    for (const key of Object.keys(bad)) {
      const lines = weft.output.split('\n').filter((line) => line.includes(key));
      assert.equal(lines.length, 1, `${key}: ${lines.join('\n')}`);
    }
    assert.equal((await status(host1)).peers.length, 1);
    await host1.run([
      'ping',
      '-c',
      '1',
      '-W',
      '2',
      (await status(host2)).device.address.replace('/32', ''),
    ]);
    for (const key of Object.keys(bad)) await etcd.delete(`${PREFIX}/subnets/${key}`);
    await weft.stop();
    await other.stop();
  });

  test('two hosts with one public IP are named', async () => {
    const weft = await startWeft(host1, etcd);
    await etcd.register(PREFIX, {
      subnet: '10.10.230.0/24',
      publicIp: '192.168.56.11',
      mac: '02:00:00:00:00:77',
    });
    await weft.waitFor(/W .*10\.10\.230\.0.*192\.168\.56\.11/, 60_000);
    await etcd.delete(`${PREFIX}/subnets/10.10.230.0-24`);
    await weft.stop();
  });

  test('our lease taken away: weft says so and ends as flanneld does', async () => {
    const weft = await startWeft(host1, etcd);
    const { subnet } = (await status(host1)).lease;
    await etcd.delete(`${PREFIX}/subnets/${subnet.replace('/', '-')}`);
    assert.equal(await weft.exited, 0);
    assert.match(weft.output, /lease|key/);
    await nothingLeft(host1);
  });

  test('SIGTERM ends it within a second under full traffic', async () => {
    const wefts: Running[] = [await startWeft(host1, etcd), await startWeft(host2, etcd)];
    const xbox1 = await host1.container('xbox1');
    const xbox2 = await host2.container('xbox2');
    const server = xbox2.start(['iperf3', '-s', '-1', '--forceflush']);
    await server.waitFor(/listening/, 60_000);
    const client = xbox1.start(['iperf3', '-c', xbox2.address, '-t', '20', '--bidir']);
    await sleep(1_500);
    for (const weft of wefts) {
      const begun = performance.now();
      weft.kill('SIGTERM');
      assert.equal(await weft.exited, 0);
      const took = performance.now() - begun;
      console.log(`# stopped in ${took.toFixed(0)} ms`);
      assert.ok(took < 4_000, `took ${took} ms`);
    }
    client.kill('SIGKILL');
    server.kill('SIGKILL');
    await nothingLeft(host1);
    await nothingLeft(host2);
  });

  test('50 starts and stops in a row leave nothing', async () => {
    const processes = (): string[] =>
      fs
        .readdirSync('/proc')
        .filter((name) => /^\d+$/.test(name))
        .flatMap((pid) => {
          try {
            return [fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ').slice(0, 4).join(' ')];
          } catch {
            return []; // ended meanwhile
          }
        });
    const before = processes();
    for (let i = 0; i < 50; i += 1) {
      const weft = await startWeft(host1, etcd);
      assert.equal(await weft.stop(), 0);
    }
    await nothingLeft(host1);
    const left = fs.readdirSync(host1.path('/run/weft')).sort();
    assert.deepEqual(left.slice(0, 1), ['flannel.1.json']);
    assert.match(left.slice(1).join(' '), /^network-[0-9a-f]{16}\.saved$/);
    assert.equal((await etcd.list(`${PREFIX}/subnets/`)).length, 2);
    assert.deepEqual(processes().length, before.length, processes().join('\n'));
  });

  test('a taken UDP port is named, and no TUN is left', async () => {
    await host1.run([
      'ip',
      'link',
      'add',
      'vx',
      'type',
      'vxlan',
      'id',
      '7',
      'dstport',
      '8472',
      'dev',
      'ens33',
    ]);
    await host1.run(['ip', 'link', 'set', 'vx', 'up']);
    const [code, output] = await refused(host1, ...weftFlags(etcd));
    assert.equal(code, 1);
    assert.match(output, /8472.*vx/);
    await host1.run(['ip', 'link', 'del', 'vx']);
    await nothingLeft(host1);
  });

  test('a device of that name, a missing interface, missing rights: each is named', async () => {
    await host1.run(['ip', 'tuntap', 'add', 'dev', 'flannel.1', 'mode', 'tun']);
    const [taken, takenOutput] = await refused(host1, ...weftFlags(etcd));
    assert.equal(taken, 1);
    assert.match(takenOutput, /device flannel\.1 already/);
    await host1.run([process.execPath, WEFT, 'down']);
    await host1.run(['ip', 'link', 'show', 'flannel.1']); // not weft's: still there
    await host1.run(['ip', 'link', 'del', 'flannel.1']);

    const [noIface, output] = await refused(
      host1,
      ...weftFlags(etcd).slice(0, 2),
      '-iface=nosuch0',
    );
    assert.equal(noIface, 1);
    assert.match(output, /nosuch0.*ens33/);

    const rights = await host1.run(
      [
        'setpriv',
        '--bounding-set=-net_admin',
        '--inh-caps=-net_admin',
        process.execPath,
        WEFT,
        'up',
        ...weftFlags(etcd),
      ],
      { mayFail: true },
    );
    assert.equal(rights.code, 1);
    assert.match(rights.stderr, /CAP_NET_ADMIN/);
  });

  test('configurations: missing and bad ones are waited for, the udp backend is refused', async () => {
    await etcd.delete(`${PREFIX}/config`);
    const weft = host1.weft(...weftFlags(etcd));
    await weft.waitFor(
      /waiting for the network config: there is none at \/docker-test\/network\/config/,
      20_000,
    );
    await etcd.put(`${PREFIX}/config`, 'hello');
    await weft.waitFor(/not JSON/, 60_000);
    await etcd.put(`${PREFIX}/config`, '{"Network":"10.10.0.0/29","Backend":{"Type":"vxlan"}}');
    await weft.waitFor(/too small/, 60_000);
    await etcd.put(`${PREFIX}/config`, CONFIG);
    await weft.waitFor(/ready/, 60_000);
    await weft.stop();

    await etcd.put(`${PREFIX}/config`, '{"Network":"10.10.0.0/16"}');
    const [absent, text] = await refused(host1, ...weftFlags(etcd));
    assert.equal(absent, 1);
    assert.match(text, /Backend is absent.*udp/);
    await etcd.put(`${PREFIX}/config`, CONFIG);
  });

  test('etcd not there at start: said once, and it goes on when etcd comes', async () => {
    await host1.run([process.execPath, WEFT, 'down']); // with the saved network
    await etcd.process.stop();
    const weft = host1.weft(...weftFlags(etcd));
    await weft.waitFor(/waiting/, 60_000);
    await sleep(2_500);
    assert.equal(weft.output.match(/waiting/g)?.length, 1);
    await etcd.launch();
    await weft.waitFor(/ready/, 60_000);
    await weft.stop();
  });
});
