/**
 * A user of the host without any rights: nothing of a running weft can be read, stopped or steered.
 * weft is started where nothing helps it: umask 0, /dev/net/tun open to all, two lanes.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Running } from '../../src/lab/command.js';
import { enterLab, findProgram, labLacks } from '../../src/lab/enter.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { openSite, weftFlags } from './overlay.js';
import { ofChildren, statusOf } from './spoil.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const OPENER = fileURLToPath(new URL('./tools/tun-opener.js', import.meta.url));
const USER = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
const HEALTH = 8099;

const lacks = labLacks({ programs: ['etcd', 'setpriv', 'prlimit'], tun: true, root: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('a user without rights', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let host: Host;
  let weft: Running;

  before(async () => {
    const site = await openSite();
    ({ lab, host } = site);
    const { etcd } = site;
    // As it is on other machines: anybody may open the file.
    await host.run(['sh', '-c', 'cp -a /dev/net/tun /run/tun && chmod 666 /run/tun']);
    await host.run(['mount', '--bind', '/run/tun', '/dev/net/tun']);
    const flags = [...weftFlags(etcd), '-lanes=2', `-healthz-port=${HEALTH}`].join(' ');
    const up = `umask 0; exec ${process.execPath} ${WEFT} up ${flags}`;
    weft = host.start(['sh', '-c', up], { env: { FLANNELD_ETCD_PASSWORD: '' } });
    await weft.waitFor(/ready: flannel/, 60_000);
  });
  after(() => lab?.close());

  /** What the user's command ends with: code and what it wrote. */
  const tries = async (...argv: string[]): Promise<[number, string]> => {
    const { code, stdout, stderr } = await host.run([...USER, ...argv], { mayFail: true });
    return [code, stdout + stderr];
  };
  const refused = async (why: RegExp, ...argv: string[]): Promise<void> => {
    const [code, said] = await tries(...argv);
    assert.notEqual(code, 0, `${argv.join(' ')}: ${said}`);
    assert.match(said, why, argv.join(' '));
  };

  test('its memory, environment, descriptors and where it is: not to be read', async () => {
    for (const name of ['environ', 'mem', 'maps', 'auxv', 'stack', 'io', 'syscall']) {
      await refused(/denied|not permitted/, 'cat', `/proc/${weft.pid}/${name}`);
    }
    for (const name of ['exe', 'cwd', 'root', 'fd/0', 'ns/net']) {
      await refused(/denied|^$/, 'readlink', '-v', `/proc/${weft.pid}/${name}`);
    }
    for (const name of ['fd', 'task/1/fd', 'map_files']) {
      await refused(/denied|No such file/, 'ls', `/proc/${weft.pid}/${name}`);
    }
  });

  test('no debugger, no tracer', async (t) => {
    if (findProgram('strace') === undefined) return t.skip('needs strace');
    await refused(/not permitted/, 'strace', '-p', String(weft.pid), '-o', '/dev/null');
  });

  test('no signal, no priority, no limit, no processors', async () => {
    for (const signal of ['TERM', 'KILL', 'STOP', 'USR1', 'HUP', '34']) {
      await refused(/not permitted/, '/bin/kill', `-${signal}`, String(weft.pid));
    }
    await refused(/not permitted/, 'prlimit', '--pid', String(weft.pid), '--nofile=3');
    await refused(/denied|not permitted/, 'renice', '19', '-p', String(weft.pid));
    await refused(/not permitted/, 'taskset', '-p', '1', String(weft.pid));
    const adjust = `echo 1000 > /proc/${weft.pid}/oom_score_adj`;
    await refused(/denied/, 'sh', '-c', adjust);
  });

  test('no question to the status socket', async () => {
    await refused(/may not be opened|EACCES/, process.execPath, WEFT, 'status');
    await refused(/still runs/, process.execPath, WEFT, 'down');
  });

  test('no file of weft can be written, moved, removed, or put beside the others', async () => {
    const { stdout } = await host.run([
      ...[...USER, 'find', '/run/weft', '/run/flannel', '-writable', '!', '-type', 'l'],
    ]);
    assert.equal(stdout, '');
    await refused(/denied/, 'touch', '/run/weft/flannel.9.json');
    await refused(/denied/, 'touch', '/run/flannel/other');
    await refused(/denied/, 'mv', '/run/flannel/subnet.env', '/run/flannel/x');
  });

  test('no queue of the TUN, no change to it', async () => {
    await refused(/TUNSETIFF.*EPERM/s, process.execPath, OPENER, 'flannel.1');
    await refused(/not permitted/, 'ip', 'link', 'set', 'flannel.1', 'down');
    assert.deepEqual((await statusOf(host)).faults, []);
  });

  test("no share of the tunnel's UDP port", async () => {
    for (const address of ['192.168.56.11', '0.0.0.0']) {
      const bind = `require('dgram').createSocket({ type: 'udp4', reuseAddr: true }).on('error', (e) => {
        console.log(e.code); process.exit(1); }).bind(8472, '${address}', () => process.exit(0))`;
      await refused(/EADDRINUSE/, process.execPath, '-e', bind);
    }
  });

  test('no TCP port but that of -healthz-port, which answers two questions alone', async () => {
    const { stdout } = await host.run(['cat', '/proc/net/tcp', '/proc/net/tcp6']);
    const open = stdout.split('\n').filter((line) => / 0A /.test(line));
    assert.deepEqual(
      open.map((line) => Number.parseInt(/:([0-9A-F]{4}) /.exec(line)?.[1] ?? '', 16)),
      [HEALTH],
    );
    const ask = `(async () => { for (const [path, method] of [['/healthz', 'GET'], ['/json/list', 'GET'],
      ['/debug/pprof/', 'GET'], ['/../run/weft', 'GET']]) console.log((await
      fetch('http://127.0.0.1:${HEALTH}' + path, { method })).status); })()`;
    const [, codes] = await tries(process.execPath, '-e', ask);
    const [good, ...others] = codes.trim().split('\n').map(Number);
    assert.equal(good, 200);
    for (const code of others) assert.ok(code >= 400 && code < 500, codes);
  });

  test('nothing of it lies in a place that all can write', () => {
    // Wherever Node and weft themselves are installed.
    const installed = (file: string) => file.includes(process.execPath) || file.includes(ROOT);
    const maps = fs.readFileSync(`/proc/${weft.pid}/maps`, 'utf8').split('\n');
    const others = maps.filter((line) => !installed(line)).join('\n');
    assert.doesNotMatch(others, / \/(dev\/shm|tmp|var\/tmp)\//);
    const links = fs.readdirSync(`/proc/${weft.pid}/fd`).flatMap((fd) => {
      try {
        return [fs.readlinkSync(`/proc/${weft.pid}/fd/${fd}`)];
      } catch {
        return [];
      }
    });
    const open = links.filter((link) => !installed(link)).join('\n');
    assert.doesNotMatch(open, /^\/(dev\/shm|tmp|var\/tmp)\//m);
  });

  test('a program that it starts inherits none of its descriptors', () => {
    const all = ofChildren(weft.pid!, (pid) => {
      const fds = fs.readdirSync(`/proc/${pid}/fd`);
      return fds.map((fd) => fs.readlinkSync(`/proc/${pid}/fd/${fd}`)).join('\n');
    });
    assert.notEqual(all.length, 0, 'ip monitor is one');
    for (const links of all) {
      assert.doesNotMatch(links, /eventfd|eventpoll|\/dev\/net\/tun|io_uring/);
    }
  });
});
