/**
 * Hosts and units that take from weft what it does not expect to lose: what it cannot do without is
 * named before anything is changed, and all else costs no packet.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Running } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Status } from '../../src/operate/status/status.js';

const lacks = labLacks({ programs: ['prlimit'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const STORE = '/run/network.json';
const entry = (number: number) => ({
  PublicIP: `192.168.56.${number}`,
  BackendType: 'vxlan',
  BackendData: { VNI: 1, VtepMAC: `02:00:00:00:00:${number}` },
});
const NETWORK = {
  config: { Network: '10.10.0.0/16', Backend: { Type: 'vxlan' } },
  subnets: { '10.10.11.0-24': entry(11), '10.10.12.0-24': entry(12) },
};
const UP = [process.execPath, WEFT, 'up', `-store-file=${STORE}`, '-iface=ens33'];
/** Sources are not compiled to where a program of Python is. */
const REFUSE = fileURLToPath(new URL('../../../test/network/tools/refuse.py', import.meta.url));

describe('weft up on a hardened host', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let host: Host;
  const wefts: Running[] = [];

  before(async () => {
    lab = await Lab.open();
    host = await (await lab.network()).host('host1', { address: '192.168.56.11/24' });
    host.write(STORE, JSON.stringify(NETWORK));
  });
  after(() => lab?.close());
  afterEach(async () => {
    for (const up of wefts.splice(0)) await up.stop();
    await host.run([process.execPath, WEFT, 'down'], { mayFail: true });
    await host.run(['umount', '/run/weft'], { mayFail: true });
    fs.rmSync(host.path('/run/flannel'), { recursive: true, force: true });
  });

  const up = (argv: string[], env: Record<string, string> = {}): Running => {
    const weft = host.start(argv, { name: 'weft up', env });
    wefts.push(weft);
    return weft;
  };
  const ready = async (argv: string[], env: Record<string, string> = {}): Promise<Running> => {
    const weft = up(argv, env);
    await weft.waitFor(/ready: flannel/, 60_000);
    return weft;
  };
  /** Its one error line. Nothing was changed on the host. */
  const refused = async (argv: string[], env: Record<string, string> = {}): Promise<string> => {
    const weft = up(argv, env);
    assert.equal(await weft.exited, 1, weft.output);
    const errors = weft.output.split('\n').filter((line) => line.startsWith('E '));
    assert.equal(errors.length, 1, weft.output);
    assert.doesNotMatch(weft.output, /fault in weft|^ +at |firewall|guard|forward rules/m);
    assert.doesNotMatch((await host.run(['ip', '-br', 'link'])).stdout, /flannel/);
    return errors[0]!;
  };
  const status = async () =>
    JSON.parse(
      (await host.run([process.execPath, WEFT, 'status', '--json'], { mayFail: true })).stdout,
    ) as Status;
  const until = async (what: string, holds: () => Promise<boolean>): Promise<void> => {
    for (let i = 0; i < 80; i += 1) {
      if (await holds()) return;
      await sleep(100);
    }
    assert.fail(`not within 8 s: ${what}`);
  };
  const hasDevice = async () => /flannel\.1/.test((await host.run(['ip', '-br', 'link'])).stdout);

  test('a Node without WebAssembly', async () => {
    assert.match(
      await refused(UP, { NODE_OPTIONS: '--jitless' }),
      /no WebAssembly.*--jitless out of NODE_OPTIONS.*MemoryDenyWriteExecute=/,
    );
  });

  test('too little address space: for the memory, for the thread, for one lane of two', async () => {
    const limited = (gib: number, ...more: string[]) => [
      ...['prlimit', `--as=${gib * 2 ** 30}`],
      ...UP,
      ...more,
    ];
    // Before Node 24, a WebAssembly memory takes 10 GiB of addresses around it.
    const wide = Number(process.versions.node.split('.')[0]) < 24;
    for (const gib of wide ? [8, 12] : [2, 3]) {
      const why = new RegExp(`address space is limited \\(it is ${gib} GiB\\).*LimitAS=`);
      assert.match(await refused(limited(gib)), why);
    }
    if (wide) assert.match(await refused(limited(20, '-lanes=2')), /it is 20 GiB/);
    await ready(limited(wide ? 20 : 6, '-lanes=1'));
  });

  test('too few descriptors: for the start of weft, and for the start of its modules', async () => {
    const limited = (count: number) => ['prlimit', `--nofile=${count}:${count}`, ...UP];
    assert.match(await refused(limited(94)), /no more than 94 files.*LimitNOFILE=/);
    const early = up(limited(48));
    assert.equal(await early.exited, 1);
    // Newer Nodes need fewer to come to the start.
    assert.match(early.output, /^(?:weft up: .*EMFILE|E .*no more than 48 files).*LimitNOFILE=/m);
  });

  test('a filter that kills for bpf: one lane, which says why', async (t) => {
    const missing = labLacks({ programs: ['python3'] });
    if (missing !== undefined) return t.skip(missing);
    const weft = await ready(['python3', REFUSE, 'bpf', ...UP, '-lanes=2']);
    assert.match(weft.output, /W .*bpf: .*one lane in place of 2.*SystemCallFilter=/);
    assert.equal((await status()).lanes.length, 1);
  });

  test('a working directory that is gone; a path relative to it is refused', async () => {
    const gone = (...argv: string[]) => [
      ...['sh', '-c', 'mkdir /run/gone; cd /run/gone; rmdir /run/gone; exec "$@"', 'sh'],
      ...argv,
    ];
    await ready(gone(...UP));
    const relative = up(gone(...UP, '-subnet-file=subnet.env'));
    assert.equal(await relative.exited, 2);
    assert.match(relative.output, /-subnet-file=subnet\.env: the working directory is gone/);
  });

  test('relative paths are those of where weft was started', async () => {
    const flags = ['-store-file=network.json', '-subnet-file=here/subnet.env', '-run-dir=here'];
    await ready([
      ...['sh', '-c', 'cd /run; exec "$@"', 'sh'],
      ...[process.execPath, WEFT, 'up', '-iface=ens33', ...flags],
    ]);
    assert.match(host.read('/run/here/subnet.env') ?? '', /FLANNEL_SUBNET=10\.10\.11\.1/);
    const files = fs.readdirSync(host.path('/run/here')).sort();
    assert.deepEqual(files, [
      'flannel.1.capture',
      'flannel.1.json',
      'flannel.1.sock',
      'subnet.env',
    ]);
    const far = await host.run([process.execPath, WEFT, 'status', '-run-dir=/run/here']);
    assert.match(far.stdout, /10\.10\.11\.0\/24/);
  });

  test('whatever the umask, weft can read its files and nobody else can write them', async () => {
    for (const umask of ['0777', '0000']) {
      const weft = await ready(['sh', '-c', `umask ${umask}; exec "$@"`, 'sh', ...UP]);
      const modes = ['/run/weft', '/run/weft/flannel.1.json', '/run/flannel/subnet.env'].map(
        (file) => (fs.statSync(host.path(file)).mode & 0o777).toString(8),
      );
      assert.deepEqual(modes, ['755', '644', '644'], umask);
      await weft.stop();
      await host.run([process.execPath, WEFT, 'down']);
      fs.rmSync(host.path('/run/weft'), { recursive: true });
      fs.rmSync(host.path('/run/flannel'), { recursive: true });
    }
  });

  test('no home, no temporary folder, an unknown locale, no /sys, no /dev/shm', async () => {
    const take = 'mount --bind /run/flannel /sys; mount -t tmpfs -o mode=0 none /dev/shm';
    fs.mkdirSync(host.path('/run/flannel'), { recursive: true });
    await ready([
      ...['unshare', '--mount', 'sh', '-c', `${take}; exec env -i "PATH=$PATH" "$@"`, 'sh'],
      ...['TMPDIR=/nowhere', 'LC_ALL=xx_YY', ...UP],
    ]);
  });

  test('a run folder that is full while the TUN is deleted: made anew, named, then written', async () => {
    fs.mkdirSync(host.path('/run/weft'), { recursive: true });
    await host.run(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', '/run/weft']);
    await ready(UP);
    await host.run(['dd', 'if=/dev/zero', 'of=/run/weft/fill', 'bs=1k'], { mayFail: true });
    await host.run(['ip', 'link', 'del', 'flannel.1']);
    await until('the device is back', hasDevice);
    await until('the fault', async () => (await status()).faults.length === 1);
    const [fault] = (await status()).faults;
    assert.match(fault!, /cannot write the journal \/run\/weft\/flannel\.1\.json \(ENOSPC/);
    assert.equal((await status()).lanes[0]!.running, true);
    await host.run(['rm', '/run/weft/fill']);
    await until('no fault', async () => (await status()).faults.length === 0);
    const { stdout } = await host.run(['cat', '/run/weft/flannel.1.json']);
    const link = await host.run(['ip', '-o', 'link', 'show', 'flannel.1']);
    const [index] = link.stdout.split(':');
    assert.match(
      stdout,
      new RegExp(`"kind": "device",\\s+"name": "flannel.1",\\s+"index": ${index}`),
    );
  });

  test('a read-only run folder at the start: weft runs, and is whole once it can be written', async () => {
    fs.mkdirSync(host.path('/run/weft'), { recursive: true });
    await host.run(['mount', '-t', 'tmpfs', '-o', 'ro', 'none', '/run/weft']);
    const weft = await ready(UP);
    assert.match(weft.output, /W .*no status socket.*EROFS/);
    assert.match(weft.output, /W .*cannot write the journal \/run\/weft\/flannel\.1\.json \(EROFS/);
    const silent = await host.run([process.execPath, WEFT, 'status'], { mayFail: true });
    assert.match(silent.stderr, /\/run\/weft is read-only.*-run-dir/);
    await host.run(['mount', '--options-mode=ignore', '-o', 'remount,rw', '/run/weft']);
    await weft.waitFor(/put right: .*wrote \/run\/weft\/flannel\.1\.json/, 60_000);
    assert.deepEqual((await status()).faults, []);
    await weft.stop();
    const down = await host.run([process.execPath, WEFT, 'down']);
    assert.match(down.stdout, /subnet\.env was removed/);
    assert.match(down.stdout, /rules in iptables' table filter were removed/);
  });

  test('a run folder that somebody removes is made again', async () => {
    const weft = await ready(UP);
    fs.rmSync(host.path('/run/weft'), { recursive: true });
    await weft.waitFor(/put right: made the status socket of flannel\.1; wrote /, 8_000);
    const again = await host.run([process.execPath, WEFT, 'down'], { mayFail: true });
    assert.match(again.stderr, /still runs/);
  });
});
