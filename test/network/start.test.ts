/**
 * A weft that cannot start, or not yet: it says why in one line, leaves nothing, disturbs no
 * one; and `weft status` tells where it stands.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Starting, Status } from '../../src/operate/status/status.js';
import { CONFIG, openSite, PREFIX, weftFlags } from './overlay.js';

const lacks = labLacks({ programs: ['etcd', 'ps'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const STORE = '/run/network.json';
const VALUE = {
  PublicIP: '192.168.56.11',
  BackendType: 'vxlan',
  BackendData: { VNI: 1, VtepMAC: '02:00:00:00:00:0a' },
};
const FILE = {
  config: { Network: '10.10.0.0/16', Backend: { Type: 'vxlan' } },
  subnets: { '10.10.58.0-24': VALUE },
};

describe('weft up that cannot start, or waits', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let host: Host;

  before(async () => {
    ({ lab, etcd, host } = await openSite());
  });
  after(() => lab?.close());
  afterEach(async () => {
    for (const up of wefts.splice(0)) await up.stop();
    fs.rmSync(host.path('/run/weft'), { recursive: true, force: true });
  });

  const weft = (...args: string[]) =>
    host.run([process.execPath, WEFT, ...args], { mayFail: true, timeout: 10_000 });
  const status = async <T = Status>() => JSON.parse((await weft('status', '--json')).stdout) as T;

  /** The `ip` programs that run. (One that ended after its weft stays a zombie in the lab.) */
  const children = async () => {
    const { stdout } = await host.run(['ps', '-C', 'ip', '-o', 'pid=,stat='], { mayFail: true });
    return stdout.split('\n').flatMap((line) => /^ *(\d+) +[^Z]/.exec(line)?.[1] ?? []);
  };

  const wefts: Running[] = [];
  const start = async (...flags: string[]): Promise<Running> => {
    const up = host.weft(...weftFlags(etcd), ...flags);
    wefts.push(up);
    await up.waitFor(/ready: flannel/, 60_000);
    return up;
  };

  /** Runs a `weft up` that ends by itself; its one error line. What it made must be gone. */
  const refused = async (...flags: string[]): Promise<string> => {
    const before = await ls();
    const childrenBefore = await children();
    const up = host.weft(...flags);
    const code = await Promise.race([up.exited, sleep(8_000, undefined)]);
    assert.equal(code, 1, up.output);
    const errors = up.output.split('\n').filter((line) => line.startsWith('E '));
    assert.equal(errors.length, 1, up.output);
    assert.doesNotMatch(up.output, /^ +at /m);
    assert.deepEqual(await ls(), before, up.output);
    assert.deepEqual(await children(), childrenBefore);
    return errors[0]!.slice('E 00:00:00.000 '.length);
  };
  /** What is in /run/weft, but for the network that every run saves. */
  const ls = async () => {
    const directory = host.path('/run/weft');
    const names = fs.existsSync(directory) ? fs.readdirSync(directory).sort() : [];
    return names.filter((name) => !name.endsWith('.saved'));
  };
  const links = async () => (await host.run(['ip', '-br', 'link'])).stdout;
  const storeFile = (value: object, flags: string[] = []) => {
    host.write(STORE, JSON.stringify(value));
    return [`-store-file=${STORE}`, '-iface=ens33', ...flags];
  };

  test('a store file: absent, a directory, not JSON, without our entry', async () => {
    const flags = [`-store-file=${STORE}`, '-iface=ens33'];
    assert.match(await refused(...flags), /network\.json: there is no such file; write one: \{/);
    fs.mkdirSync(host.path(STORE));
    assert.match(await refused(...flags), /it is a directory/);
    fs.rmdirSync(host.path(STORE));
    host.write(STORE, '{"config": ');
    assert.match(await refused(...flags), /network\.json: /);
    assert.match(
      await refused(...storeFile({ ...FILE, subnets: {} })),
      /no entry has our public IP 192\.168\.56\.11; add one/,
    );
    assert.doesNotMatch(await links(), /flannel/);
  });

  test('out of subnets: said, and neither device nor journal is left', async () => {
    await etcd.put(
      '/full/config',
      '{"Network":"10.20.0.0/28","SubnetLen":30,"SubnetMin":"10.20.0.4","SubnetMax":"10.20.0.4","Backend":{"Type":"vxlan"}}',
    );
    await etcd.put('/full/subnets/10.20.0.4-30', '{"PublicIP":"192.168.56.77"}');
    const line = await refused(
      `-etcd-endpoints=${etcd.endpoint}`,
      '-etcd-prefix=/full',
      '-iface=ens33',
    );
    assert.match(line, /^out of subnets: every \/30 from 10\.20\.0\.4/);
    assert.doesNotMatch(await links(), /flannel/);
  });

  test('Backend.MTU 60 is refused; so is an interface that is too small', async () => {
    const backend = (more: object) => ({
      ...FILE,
      config: { Network: '10.10.0.0/16', Backend: { Type: 'vxlan', ...more } },
    });
    assert.match(await refused(...storeFile(backend({ MTU: 60 }))), /Backend\.MTU 60 .*118/);
    assert.match(await refused(...storeFile(backend({ MTU: '1400' }))), /a number is expected/);
    await host.run(['ip', 'link', 'set', 'ens33', 'mtu', '100']);
    try {
      assert.match(await refused(...storeFile(FILE)), /ens33 has an MTU of 100/);
    } finally {
      await host.run(['ip', 'link', 'set', 'ens33', 'mtu', '1500']);
    }
  });

  test('a port in use by a process is named; a device of that name as well', async () => {
    const rival = host.start([
      process.execPath,
      '-e',
      "require('dgram').createSocket('udp4').bind(8472, '192.168.56.11', () => console.log('bound'))",
    ]);
    await rival.waitFor(/bound/, 60_000);
    try {
      // Node calls itself node, and node-MainThread from 24 on.
      assert.match(
        await refused(...storeFile(FILE)),
        /UDP port 8472 .*in use by process \d+ \(node[^)]*\)/,
      );
    } finally {
      await rival.stop();
    }
    await host.run(['ip', 'tuntap', 'add', 'dev', 'flannel.1', 'mode', 'tun']);
    assert.match(await refused(...storeFile(FILE)), /device flannel\.1 already/);
    await host.run(['ip', 'link', 'del', 'flannel.1']);
  });

  test('a journal directory that cannot be written: refused, and the status says so too', async () => {
    fs.writeFileSync(host.path('/run/weft'), '');
    const up = host.weft(...storeFile(FILE));
    assert.equal(await up.exited, 1);
    assert.match(up.output, /W .*no status socket/);
    assert.match(up.output, /E .*cannot (read|write) the journal \/run\/weft/);
    assert.doesNotMatch(await links(), /flannel/);
    fs.rmSync(host.path('/run/weft'));
    fs.mkdirSync(host.path('/run/weft'));
  });

  test('no socket under the device name: a warning, and packets flow all the same', async () => {
    fs.mkdirSync(host.path('/run/weft/flannel.1.sock/full'), { recursive: true });
    const up = await start();
    assert.match(up.output, /W .*no status socket, weft status will not work: .*flannel\.1\.sock/);
    assert.equal(await up.stop(), 0);
  });

  test('a subnet file that cannot be written: a warning, and it goes on', async () => {
    const up = await start('-subnet-file=/proc/nope/subnet.env');
    assert.match(up.output, /W .*cannot write \/proc\/nope\/subnet\.env: .*Docker and CNI/);
    assert.equal(await up.stop(), 0);
  });

  test('a second weft for the device is refused with the pid of the first, which goes on', async () => {
    const first = await start();
    const { pid } = await status();
    const line = await refused(...weftFlags(etcd));
    assert.match(
      line,
      new RegExp(`^flannel\\.1 is in use by the running weft with process id ${pid}; `),
    );
    const now = await status();
    assert.deepEqual([now.pid, now.lanes[0]!.running], [pid, true]);
    assert.match(await links(), /flannel\.1 .*UP/);
    assert.deepEqual(await ls(), ['flannel.1.capture', 'flannel.1.json', 'flannel.1.sock']);
    assert.equal(await first.stop(), 0);
    assert.deepEqual(await ls(), ['flannel.1.json']);
    // The TUN went with the process; what stays is what `weft down` has to take back.
    const { entries } = JSON.parse(host.read('/run/weft/flannel.1.json')!);
    assert.deepEqual(
      entries.map(({ kind }: { kind: string }) => kind),
      ['iptables', 'iptables', 'file'],
    );
    assert.match((await weft('status')).stderr, /no weft runs on this host/);
  });

  test('status of a weft that waits says for what; of one that was killed then, nothing', async () => {
    await etcd.delete(`${PREFIX}/config`);
    const up = host.weft(...weftFlags(etcd));
    await up.waitFor(/waiting for the network config/, 60_000);
    const told = await weft('status');
    assert.equal(told.code, 1);
    assert.match(
      told.stdout,
      /^starting +no packets flow yet; waiting for the network config: there is none at \/docker-test/m,
    );
    assert.match((await status<Starting>()).waitingFor, /etcdctl .*put/);
    up.kill('SIGKILL');
    await up.exited;
    assert.match((await weft('status')).stderr, /no weft runs on this host/);
    assert.equal((await ls()).length, 1);
    // Rules of the tests before, whose journal is gone, are named and no more.
    assert.match((await weft('down')).stdout, /^Nothing (to take|was taken) back/);
    assert.deepEqual(await ls(), []);

    await etcd.process.stop();
    const blind = host.weft(...weftFlags(etcd));
    await blind.waitFor(/waiting/, 60_000);
    const [line] = /^W .*waiting.*$/m.exec(blind.output)!;
    assert.match(
      line,
      /etcd does not answer, cannot read \S+ \(http:\/\/192\.168\.56\.131:2379: connect ECONNREFUSED 192\.168\.56\.131:2379\)$/,
    );
    assert.match((await status<Starting>()).waitingFor, /etcd does not answer.*ECONNREFUSED/);
    assert.equal(await blind.stop(), 0);
    assert.deepEqual(await ls(), []);
    await etcd.launch();
    await etcd.put(`${PREFIX}/config`, CONFIG);
  });

  test('status of a weft that hangs gives up with a sentence', async () => {
    const up = await start();
    const { pid } = await status();
    await host.run(['kill', '-STOP', String(pid)]);
    const begun = performance.now();
    const { code, stderr } = await weft('status');
    assert.ok(performance.now() - begun < 20_000);
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(`weft of flannel\\.1, process ${pid}, .*hangs .*within 3 s`));
    await host.run(['kill', '-CONT', String(pid)]);
    assert.equal((await status()).pid, pid);
    assert.equal(await up.stop(), 0);
  });

  test('SIGTERM at any moment of the start: exit code 0, and nothing of it is left', async () => {
    const childrenBefore = await children();
    let ready = 0;
    for (let ms = 40; ms <= 340; ms += 15) {
      const up = host.weft(...weftFlags(etcd));
      await up.waitFor(/weft \d/, 60_000);
      await sleep(ms - 40);
      up.kill('SIGTERM');
      const code = await Promise.race([up.exited, sleep(3_000, undefined)]);
      assert.equal(code, 0, `after ${ms} ms:\n${up.output}`);
      assert.match(up.output, /I \S+ stopped\n$/, up.output);
      assert.doesNotMatch(up.output, /^[EW] /m, up.output);
      if (/ready/.test(up.output)) ready += 1;
      const left = (await ls()).filter((name) => name !== 'flannel.1.json');
      assert.deepEqual(left, [], up.output);
      assert.doesNotMatch(await links(), /flannel/, up.output);
      assert.deepEqual(await children(), childrenBefore);
    }
    console.log(`# ${ready} of 21 were ready before`);
  });

  test('nobody reads the log any more: it goes on', async () => {
    const up = host.start([
      'sh',
      '-c',
      `${process.execPath} ${WEFT} up ${weftFlags(etcd).join(' ')} 2>&1 | head -n 1; echo all ended`,
    ]);
    await up.waitFor(/weft 0/, 60_000);
    // While it starts, its status has no lanes yet.
    for (
      let i = 0;
      i < 100 && (await status().catch(() => undefined))?.lanes === undefined;
      i += 1
    ) {
      await sleep(100);
    }
    const { pid, lanes } = await status();
    assert.equal(lanes[0]!.running, true);
    await host.run(['kill', '-TERM', String(pid)]);
    await up.waitFor(/all ended/, 60_000);
    assert.doesNotMatch(await links(), /flannel/);
  });
});
