/**
 * weft where flanneld stood: its name, its health port, systemd's socket, an etcd with TLS and
 * users, and a host that lacks something.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { type Certificates, makeCertificates } from '../control/store/certificates.js';
import { CONFIG, openSite, PREFIX, weftFlags } from './overlay.js';
import { toldSince } from './spoil.js';

const programs = ['etcd', 'etcdctl', 'openssl', 'socat', 'ps'];
const lacks = labLacks({ programs, tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const PASSWORD = 'w3ft-pass';
const SECURE = 'https://192.168.56.131:2399';

describe("weft in flanneld's place", { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let host: Host;
  let directory: string;
  let flanneld: string;
  let certificates: Certificates;
  let secure: Running;
  const wefts: Running[] = [];

  before(async () => {
    ({ lab, etcd, host } = await openSite());
    directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-place-'));
    flanneld = path.join(directory, 'flanneld');
    fs.symlinkSync(WEFT, flanneld);
    certificates = makeCertificates(directory, '192.168.56.131');
    secure = await startSecureEtcd();
  });
  after(async () => {
    await secure?.stop();
    await lab?.close();
    fs.rmSync(directory, { recursive: true, force: true });
  });
  afterEach(async () => {
    for (const weft of wefts.splice(0)) await weft.stop();
    fs.rmSync(host.path('/run/weft'), { recursive: true, force: true });
    fs.rmSync(host.path('/run/flannel'), { recursive: true, force: true });
  });

  /** With client certificates, and the user weft that a role allows no more than a node needs. */
  async function startSecureEtcd(): Promise<Running> {
    const { ca, client, clientKey, server, serverKey } = certificates;
    const peers = 'http://127.0.0.1:2398';
    const running = etcd.start(
      [
        ...['etcd', '--name', 's', '--data-dir', path.join(directory, 'etcd'), '--unsafe-no-fsync'],
        ...['--listen-client-urls', SECURE, '--advertise-client-urls', SECURE],
        ...['--listen-peer-urls', peers, '--initial-advertise-peer-urls', peers],
        ...['--initial-cluster', `s=${peers}`, '--cert-file', server, '--key-file', serverKey],
        ...['--client-cert-auth', '--trusted-ca-file', ca],
      ],
      { name: 'secure etcd', env: { ETCD_UNSUPPORTED_ARCH: process.arch } },
    );
    const tls = ['--cacert', ca, '--cert', client, '--key', clientKey, '--endpoints', SECURE];
    const ctl = (...args: string[]) =>
      etcd.run(['etcdctl', ...tls, ...args], { env: { ETCDCTL_API: '3' } });
    for (let tries = 0; ; tries += 1) {
      try {
        await ctl('put', `${PREFIX}/config`, CONFIG);
        break;
      } catch (error) {
        if (tries > 20) throw error;
        await sleep(200);
      }
    }
    await ctl('user', 'add', 'root:r');
    await ctl('user', 'grant-role', 'root', 'root');
    await ctl('role', 'add', 'node');
    await ctl('role', 'grant-permission', 'node', 'read', `${PREFIX}/config`);
    await ctl('role', 'grant-permission', 'node', 'readwrite', `${PREFIX}/subnets/`, '--prefix');
    await ctl('user', 'add', `weft:${PASSWORD}`);
    await ctl('user', 'grant-role', 'weft', 'node');
    await ctl('auth', 'enable');
    return running;
  }

  const start = (flags: readonly string[], env: Record<string, string> = {}): Running => {
    const weft = host.start([process.execPath, flanneld, ...flags], { name: 'flanneld', env });
    wefts.push(weft);
    return weft;
  };
  const ready = (weft: Running) => weft.waitFor(/ready: flannel/, 60_000);
  const secureFlags = (...more: string[]) => [
    ...[`-etcd-endpoints=${SECURE}`, `-etcd-prefix=${PREFIX}`, '-iface=ens33'],
    ...[`-etcd-cafile=${certificates.ca}`, `-etcd-certfile=${certificates.client}`],
    ...[`-etcd-keyfile=${certificates.clientKey}`, '-etcd-username=weft', ...more],
  ];
  const curl = async (request: string): Promise<string> => {
    const { stdout } = await host.run(['socat', '-', 'TCP:127.0.0.1:8999'], {
      input: request,
      mayFail: true,
    });
    return stdout;
  };
  const get = (url: string) => curl(`GET ${url} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);

  /** What any user of the host may read of a process and of those that it started. */
  async function seen(pid: number): Promise<{ commands: string; childEnvironments: string }> {
    const { stdout } = await host.run(['ps', '--ppid', String(pid), '-o', 'pid='], {
      mayFail: true,
    });
    const children = stdout.split('\n').flatMap((line) => line.trim() || []);
    const read = (file: string): string => {
      try {
        return fs.readFileSync(file, 'utf8').replaceAll('\0', ' ');
      } catch {
        // It has ended meanwhile.
        return '';
      }
    };
    const commands = [String(pid), ...children].map((each) => read(`/proc/${each}/cmdline`));
    // One that is just being made is weft still, with what weft has.
    const made = children.filter((each) => read(`/proc/${each}/cmdline`) !== commands[0]);
    const environments = made.map((each) => read(`/proc/${each}/environ`));
    assert.ok(children.length > 0, 'weft has its ip program running');
    return { commands: commands.join('\n'), childEnvironments: environments.join('\n') };
  }

  test('TLS and the password on the command line: it works, is hidden and warned of once', async () => {
    const weft = start(secureFlags(`-etcd-password=${PASSWORD}`, '-v=1'));
    await ready(weft);
    const { commands, childEnvironments } = await seen(weft.pid!);
    assert.match(commands, /^weft up .*-etcd-password=\*\*\*/);
    const { stdout } = await host.run([process.execPath, WEFT, 'status', '--json'], {
      mayFail: true,
    });
    for (const text of [commands, childEnvironments, stdout, weft.output]) {
      assert.ok(!text.includes(PASSWORD), text);
    }
    assert.equal(weft.output.match(/^W .*password/gm)?.length, 1, weft.output);
  });

  test('the password from the environment, or from a file: no warning, and nobody inherits it', async () => {
    const byEnvironment = start(secureFlags(), { FLANNELD_ETCD_PASSWORD: PASSWORD });
    await ready(byEnvironment);
    const { commands, childEnvironments } = await seen(byEnvironment.pid!);
    for (const text of [commands, childEnvironments, byEnvironment.output]) {
      assert.ok(!text.includes(PASSWORD), text);
    }
    assert.doesNotMatch(toldSince(byEnvironment).join('\n'), /^W /m);
    await byEnvironment.stop();

    const file = path.join(directory, 'password');
    fs.writeFileSync(file, `${PASSWORD}\n`, { mode: 0o600 });
    const byFile = start(secureFlags(`-etcd-password-file=${file}`));
    await ready(byFile);
    assert.doesNotMatch(toldSince(byFile).join('\n'), /^W /m);
  });

  test('release: as the same user, with the same files', async () => {
    const weft = start(secureFlags(), { FLANNELD_ETCD_PASSWORD: PASSWORD });
    await ready(weft);
    await weft.stop();
    const release = (flags: readonly string[], env: Record<string, string> = {}) =>
      host.run([process.execPath, WEFT, 'release', ...flags], { env, mayFail: true });
    const stranger = await release(secureFlags(), { FLANNELD_ETCD_PASSWORD: 'another' });
    assert.deepEqual([stranger.code, stranger.stdout], [1, '']);
    assert.match(stranger.stderr, /^weft release: .*authentication failed.*\n$/);
    const missing = await release(secureFlags('-etcd-password-file=/nonexistent'));
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /^weft release: -etcd-password-file=\/nonexistent: there is no/);
    const half = await release(secureFlags());
    assert.equal(half.code, 2);
    const done = await release(secureFlags(`-etcd-password=${PASSWORD}`));
    assert.equal(done.code, 0, done.stderr);
    assert.match(done.stdout, /^gave 10.10.\d+.0-24 back \(public IP 192.168.56.11\)\n$/);
    assert.match(done.stderr, /^weft release: the password of etcd was on the command line.*\n$/);
    assert.ok(!done.stderr.includes(PASSWORD));
  });

  test('a file that cannot be used: one line with the flag, exit code 1', async () => {
    for (const [flag, says] of [
      ['-etcd-cafile=/nonexistent', /-etcd-cafile=\/nonexistent: there is no such file/],
      [`-etcd-keyfile=${certificates.otherKey}`, /do not belong together/],
    ] as const) {
      const weft = start(secureFlags(`-etcd-password=${PASSWORD}`, flag));
      assert.equal(await weft.exited, 1, weft.output);
      assert.equal(weft.output.match(/^E /gm)?.length, 1);
      assert.match(weft.output, says);
    }
  });

  test('another CA: it waits and says why', async () => {
    const weft = start(
      secureFlags(`-etcd-password=${PASSWORD}`, `-etcd-cafile=${certificates.otherCa}`),
    );
    await weft.waitFor(/^W .*(unable to verify|self.signed)/m, 60_000);
    assert.equal(await weft.stop(), 0);
  });

  test('health: alive at once, ready with the first packet and the subnet file', async () => {
    await etcd.delete(`${PREFIX}/config`);
    const weft = start([...weftFlags(etcd), '-healthz-port=8999']);
    await weft.waitFor(/waiting for the network config/, 60_000);
    assert.match(await get('/healthz'), /^HTTP\/1\.1 200 OK\r\n[\s\S]*flanneld is running$/);
    assert.match(await get('/readyz'), /^HTTP\/1\.1 503 .*\r\n[\s\S]*flanneld is not ready yet$/);
    await etcd.put(`${PREFIX}/config`, CONFIG);
    await ready(weft);
    assert.match(await get('/readyz'), /^HTTP\/1\.1 200 OK\r\n[\s\S]*flanneld is ready$/);

    const second = start([...weftFlags(etcd), '-healthz-port=8999']);
    assert.equal(await second.exited, 1);
    assert.match(
      second.output,
      /^E \S+ cannot answer health requests on 0\.0\.0\.0:8999: the port/m,
    );
    assert.equal(await weft.stop(), 0);
    assert.equal(await get('/healthz'), '');
  });

  test('a subnet file that cannot be written: alive, and never ready', async () => {
    const flags = [...weftFlags(etcd), '-healthz-port=8999', '-subnet-file=/proc/nope/subnet.env'];
    const weft = start([...flags, '-healthz-ip=127.0.0.1']);
    await ready(weft);
    assert.match(await get('/healthz'), / 200 OK/);
    assert.match(await get('/readyz'), / 503 /);
  });

  test('systemd is told: the status, READY, WATCHDOG, RELOADING and READY again, STOPPING', async () => {
    const systemd = host.start(['socat', '-u', 'UNIX-RECV:/run/notify', '-']);
    for (let i = 0; i < 100 && !fs.existsSync(host.path('/run/notify')); i += 1) await sleep(50);
    const env = { NOTIFY_SOCKET: '/run/notify', WATCHDOG_USEC: '2000000' };
    const weft = start(weftFlags(etcd), env);
    await systemd.waitFor(/^READY=1\nSTATUS=flannel\.1 10\.10\.\d+\.0\/24, 0 peers$/m, 60_000);
    assert.match(systemd.output, /^STATUS=/);
    const fed = () => systemd.output.match(/^WATCHDOG=1$/gm)?.length ?? 0;
    const before = fed();
    await sleep(3_500);
    assert.ok(fed() >= before + 2, systemd.output);
    assert.equal(systemd.output.match(/READY=1/g)?.length, 1);
    const { childEnvironments } = await seen(weft.pid!);
    assert.doesNotMatch(childEnvironments, /NOTIFY_SOCKET|WATCHDOG/);
    await host.ip('link set flannel.1 mtu 1300');
    weft.kill('SIGHUP');
    await systemd.waitFor(/RELOADING=1\nMONOTONIC_USEC=\d{6,}\n(WATCHDOG=1\n)*READY=1\n/, 60_000);
    assert.match(
      await host.run(['ip', 'link', 'show', 'flannel.1']).then((r) => r.stdout),
      /mtu 1450/,
    );
    assert.equal(await weft.stop(), 0);
    await systemd.waitFor(/STOPPING=1\nSTATUS=stopping: got SIGTERM\n$/, 60_000);
    await systemd.stop();
  });

  test('systemd is told READY when it is so: also of one that is ended right then', async () => {
    const systemd = host.start(['socat', '-u', 'UNIX-RECV:/run/notify-2', '-']);
    for (let i = 0; i < 100 && !fs.existsSync(host.path('/run/notify-2')); i += 1) await sleep(50);
    const weft = start(weftFlags(etcd), { NOTIFY_SOCKET: '/run/notify-2' });
    await weft.waitFor(/ready: flannel/, 60_000);
    assert.equal(await weft.stop(), 0);
    await systemd.waitFor(/STOPPING=1/, 60_000);
    assert.match(systemd.output, /^READY=1\nSTATUS=flannel\.1[\s\S]*^STOPPING=1/m);
    await systemd.stop();
  });

  test('without CAP_NET_ADMIN, without the device, without both: a line for each', async () => {
    const weft = [process.execPath, flanneld, ...weftFlags(etcd)];
    const uncapped = ['setpriv', '--bounding-set', '-net_admin', '--inh-caps', '-net_admin'];
    const hidden = [
      'unshare',
      '--mount',
      'sh',
      '-c',
      'mount -t tmpfs none /dev/net && exec "$@"',
      'sh',
    ];
    for (const [before, wanted] of [
      [uncapped, [/no CAP_NET_ADMIN.*AmbientCapabilities=CAP_NET_ADMIN.*--cap-add NET_ADMIN/]],
      [hidden, [/there is no \/dev\/net\/tun.*modprobe tun.*--device \/dev\/net\/tun/]],
      [
        [...hidden, ...uncapped],
        [/there is no \/dev\/net\/tun/, /no CAP_NET_ADMIN/],
      ],
    ] as const) {
      const running = host.start([...before, ...weft], { name: 'flanneld' });
      assert.equal(await running.exited, 1, running.output);
      const errors = running.output.split('\n').filter((line) => line.startsWith('E '));
      assert.equal(errors.length, wanted.length, running.output);
      for (const [i, pattern] of wanted.entries()) assert.match(errors[i]!, pattern);
    }
  });
});
