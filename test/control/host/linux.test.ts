/**
 * The host code against a real kernel, in a network namespace of its own: the file runs itself
 * again inside `unshare --net --mount`.
 *
 *     lo    flannel.1 (a persistent TUN)    eth0 ═══ eth1 (veth, 192.168.64.3/24)
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import dgram from 'node:dgram';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { configure } from '../../../src/control/host/device.js';
import { down } from '../../../src/control/host/down.js';
import { chooseInterface, listLinks } from '../../../src/control/host/interfaces.js';
import { Ip } from '../../../src/control/host/ip.js';
import { Journal, journalFile } from '../../../src/control/host/journal.js';
import { describePortUser } from '../../../src/control/host/ports.js';
import { preflight } from '../../../src/control/host/preflight.js';
import { RouteSync } from '../../../src/control/host/routes.js';
import { systemRunner } from '../../../src/control/host/runner.js';
import { ensureForwarding } from '../../../src/control/host/sysctls.js';
import { realTimers, scratch } from './fakes.js';

const INSIDE = 'WEFT_TEST_INSIDE';
const NETWORK = '10.10.0.0/16';
const WANTED = { name: 'flannel.1', mtu: 1450, address: '10.10.69.0', network: NETWORK };

if (process.env[INSIDE] === '1') {
  defineTests();
} else {
  test('the host code in a network namespace', { skip: missing() }, (t) => {
    const env: NodeJS.ProcessEnv = { ...process.env, [INSIDE]: '1' };
    // Else the inner run would report in the outer runner's own format.
    delete env.NODE_TEST_CONTEXT;
    const self = fileURLToPath(import.meta.url);
    const node = [process.execPath, '--enable-source-maps', '--test-reporter=tap', self];
    const args = ['--net', '--mount', ...node];
    const done = spawnSync('unshare', args, { env, encoding: 'utf8', timeout: 120_000 });
    assert.equal(done.status, 0, `${done.stdout}\n${done.stderr}`);
    assert.match(done.stdout, /# fail 0/);
    for (const [note] of done.stdout.matchAll(/^# .* ms$/gm)) t.diagnostic(note.slice(2));
  });
}

function missing(): string | false {
  if (process.getuid?.() !== 0) return 'needs root for a network namespace';
  if (!fs.existsSync('/dev/net/tun')) return 'needs /dev/net/tun';
  const works = spawnSync('unshare', ['--net', '--mount', 'ip', '-V'], { encoding: 'utf8' });
  return works.stdout?.includes('iproute2') ? false : 'needs unshare and iproute2';
}

function ip(text: string): string {
  return execFileSync('ip', text.split(' '), { encoding: 'utf8', stdio: 'pipe' });
}

/** The TUN's routes as `ip route` prints them, without the "linkdown" of a TUN nobody holds. */
function routes(device = 'flannel.1'): string[] {
  const lines = ip(`-4 route show dev ${device}`).split('\n');
  return lines.map((line) => line.replace('linkdown', '').trim()).filter((line) => line !== '');
}

function makeTun(): void {
  if (ip('-br link').includes('flannel.1')) ip('link del flannel.1');
  ip('tuntap add dev flannel.1 mode tun');
}

/** A fresh TUN and an `ip` child that ends with the test. */
function rig(t: { after(call: () => Promise<void>): void }): Ip {
  makeTun();
  const child = new Ip(systemRunner, realTimers);
  t.after(() => child.close());
  return child;
}

function sysctl(key: string, value?: number): string {
  const file = `/proc/sys/net/${key}`;
  if (value !== undefined) fs.writeFileSync(file, `${value}\n`);
  return fs.readFileSync(file, 'utf8').trim();
}

function defineTests(): void {
  ip('link set lo up');
  ip('link add eth0 type veth peer name eth1');
  ip('link set eth0 up');
  ip('link set eth1 up');
  ip('addr add 192.168.64.3/24 dev eth0');

  test('the device is set up as wanted, and the second time nothing is touched', async (t) => {
    const child = rig(t);
    ip('addr add 169.254.7.7/16 dev flannel.1');
    ip('addr add 10.10.99.0/32 dev flannel.1');
    ip('addr add 10.10.69.0/24 dev flannel.1');
    ip('addr add 10.10.98.1 peer 10.10.98.2/32 dev flannel.1');
    const { index, changed } = await configure(child, WANTED);
    assert.equal(changed.length, 7, changed.join('; '));
    const [link] = JSON.parse(ip('-j -d addr show dev flannel.1'));
    assert.equal(link.ifindex, index);
    assert.equal(link.mtu, 1450);
    assert.equal(link.txqlen, 5000);
    assert.ok(link.flags.includes('UP'));
    const addresses = link.addr_info.map(
      (a: { local: string; prefixlen: number }) => `${a.local}/${a.prefixlen}`,
    );
    assert.deepEqual(addresses.sort(), ['10.10.69.0/32', '169.254.7.7/16']);
    if (fs.existsSync('/proc/sys/net/ipv6')) {
      assert.equal(sysctl('ipv6/conf/flannel.1/disable_ipv6'), '1');
      assert.equal(sysctl('ipv6/conf/flannel.1/accept_ra'), '0');
    }
    assert.deepEqual((await configure(child, WANTED)).changed, []);

    ip('addr flush dev flannel.1');
    ip('link set flannel.1 down');
    assert.deepEqual((await configure(child, WANTED)).changed, ['address 10.10.69.0/32', 'up']);
  });

  test('a device that is not there, and one made anew', async (t) => {
    const child = rig(t);
    const first = await configure(child, WANTED);
    makeTun();
    const second = await configure(child, WANTED);
    assert.notEqual(second.index, first.index);
    ip('link del flannel.1');
    await assert.rejects(configure(child, WANTED), { code: 'ENODEV', message: /does not exist/ });
    makeTun();
    // Somebody else's of the same name stays as it is.
    const before = ip('addr show dev flannel.1');
    await assert.rejects(configure(child, { ...WANTED, index: second.index }), { code: 'ENODEV' });
    assert.equal(ip('addr show dev flannel.1'), before);
    assert.notEqual((await configure(child, WANTED)).index, second.index);
  });

  test('routes: added, removed, repaired; foreign ones and other devices left', async (t) => {
    const child = rig(t);
    await configure(child, WANTED);
    ip('route add 10.10.200.0/24 via 10.10.200.0 dev flannel.1 onlink');
    ip('route add 10.10.201.0/24 dev flannel.1');
    const foreign = [
      '10.10.202.0/24 proto static scope link',
      '10.10.203.0/24 scope link metric 7',
      '172.16.0.0/12 scope link',
    ];
    for (const text of foreign) ip(`route add ${text} dev flannel.1`);
    ip('route add 10.10.204.0/24 via 192.168.64.9 dev eth0');

    const sync = new RouteSync(child, 'flannel.1', NETWORK);
    assert.deepEqual(await sync.set(['10.10.92.0/24', '10.10.200.0/24', '10.10.205.7/32']), {
      added: 3,
      removed: 1,
      problems: [],
    });
    const ours = [
      '10.10.92.0/24 scope link',
      '10.10.200.0/24 scope link',
      '10.10.205.7 scope link',
    ];
    assert.deepEqual(routes().sort(), [...ours, ...foreign].sort());
    assert.deepEqual(routes('eth0'), [
      '10.10.204.0/24 via 192.168.64.9',
      '192.168.64.0/24 proto kernel scope link src 192.168.64.3',
    ]);
    // What a flannel host shows: the .0 address is the source of host-to-container traffic.
    assert.match(ip('route get 10.10.92.5'), /dev flannel\.1 src 10\.10\.69\.0/);

    assert.deepEqual(await sync.reconcile(), { added: 0, removed: 0, problems: [] });
    ip('link set flannel.1 down');
    ip('link set flannel.1 up');
    assert.deepEqual(routes(), []);
    assert.deepEqual(await sync.reconcile(), { added: 3, removed: 0, problems: [] });
    assert.deepEqual(await sync.set([]), { added: 0, removed: 3, problems: [] });
    assert.deepEqual(routes(), []);
  });

  test('routes: a foreign route of another metric to the same subnet survives our removal', async (t) => {
    const child = rig(t);
    await configure(child, WANTED);
    ip('route add 10.10.92.0/24 dev flannel.1 metric 7');
    const sync = new RouteSync(child, 'flannel.1', NETWORK);
    await sync.set(['10.10.92.0/24']);
    assert.equal(routes().length, 2);
    await sync.set([]);
    assert.deepEqual(routes(), ['10.10.92.0/24 scope link metric 7']);
  });

  test('routes: the device made anew under a running child', async (t) => {
    const child = rig(t);
    await configure(child, WANTED);
    const sync = new RouteSync(child, 'flannel.1', NETWORK);
    await sync.set(['10.10.92.0/24']);
    makeTun();
    ip('link set flannel.1 up');
    // The child still has the old index: it lists nothing and every change fails at first.
    assert.deepEqual(await sync.reconcile(), { added: 1, removed: 0, problems: [] });
    assert.deepEqual(routes(), ['10.10.92.0/24 scope link']);
    ip('link del flannel.1');
    assert.match((await sync.set(['10.10.93.0/24'])).problems[0]!, /Cannot find device/);
  });

  test('routes: a child killed from outside is replaced', async (t) => {
    const child = rig(t);
    await configure(child, WANTED);
    const sync = new RouteSync(child, 'flannel.1', NETWORK);
    await sync.set(['10.10.92.0/24']);
    const pid = fs
      .readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8')
      .trim()
      .split(' ')
      .find((p) => fs.readFileSync(`/proc/${p}/cmdline`, 'utf8').includes('-batch'));
    process.kill(Number(pid), 'SIGKILL');
    assert.deepEqual((await sync.set(['10.10.93.0/24'])).problems, []);
    assert.deepEqual(routes(), ['10.10.93.0/24 scope link']);
  });

  test('routes: a burst of 1000 peers while single changes come in', async (t) => {
    const child = rig(t);
    await configure(child, WANTED);
    const sync = new RouteSync(child, 'flannel.1', NETWORK);
    const peers = Array.from({ length: 1000 }, (_, i) => `10.10.${i >> 2}.${(i & 3) * 64}/26`);
    const waiting: Promise<{ problems: string[] }>[] = [];
    for (let n = 950; n <= 1000; n++) {
      waiting.push(sync.set(peers.slice(0, n)));
      if (n % 10 === 0) await new Promise(setImmediate);
    }
    for (const report of await Promise.all(waiting)) assert.deepEqual(report.problems, []);
    assert.equal(routes().length, 1000);
    const times: number[] = [];
    for (let i = 0; i < 41; i++) {
      const begin = performance.now();
      await sync.set(i % 2 === 0 ? peers.slice(0, 999) : peers);
      times.push(performance.now() - begin);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const median = times.sort((a, b) => a - b)[20]!;
    t.diagnostic(`one change beside 999 routes, median of 41: ${median.toFixed(2)} ms`);
    assert.equal(routes().length, 999);
  });

  test('strict rp_filter lets known peers in', async (t) => {
    const child = rig(t);
    await configure(child, WANTED);
    await new RouteSync(child, 'flannel.1', NETWORK).set(['10.10.92.0/24']);
    sysctl('ipv4/ip_forward', 1);
    sysctl('ipv4/conf/all/rp_filter', 1);
    t.after(() => sysctl('ipv4/conf/all/rp_filter', 0));
    // `iif` asks for the way of a packet that came in there, the source check included: to this
    // host, and on to a neighbour; from a peer's container, and from the peer itself (.0).
    for (const source of ['10.10.92.5', '10.10.92.0']) {
      for (const target of ['10.10.69.0', '192.168.64.9']) {
        assert.match(ip(`route get ${target} from ${source} iif flannel.1`), /iif flannel\.1/);
      }
    }
    assert.throws(() => ip('route get 10.10.69.0 from 10.10.93.5 iif flannel.1'), /RTNETLINK/);
  });

  test('interfaces of the kernel', async () => {
    const eth0 = (await listLinks(systemRunner)).find((l) => l.name === 'eth0');
    assert.equal(eth0?.addresses[0]?.address, '192.168.64.3');
    await assert.rejects(chooseInterface(systemRunner, {}), /no IPv4 default route/);
    await assert.rejects(
      chooseInterface(systemRunner, { iface: ['eth1'] }),
      /eth1 has no IPv4 address/,
    );
    ip('route add unreachable default metric 9');
    ip('route add default via 192.168.64.1 dev eth0');
    const { index, ...rest } = await chooseInterface(systemRunner, {});
    assert.equal(index, eth0?.index);
    const address = '192.168.64.3';
    assert.deepEqual(rest, { name: 'eth0', mtu: 1500, address, publicIp: address });
    assert.equal((await chooseInterface(systemRunner, { canReach: '8.8.8.8' })).name, 'eth0');
    ip('route del default via 192.168.64.1 dev eth0');
    ip('route del unreachable default metric 9');
  });

  test('who holds a port: a process, then a kernel VXLAN device', async () => {
    const socket = dgram.createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(8472, '192.168.64.3', resolve));
    const told = await describePortUser(systemRunner, '0.0.0.0', 8472);
    assert.match(told!, new RegExp(`process ${process.pid} \\(`));
    await new Promise<void>((resolve) => socket.close(() => resolve()));

    ip('link add vx type vxlan id 7 dstport 8472 dev eth0');
    assert.equal(await describePortUser(systemRunner, '192.168.64.3', 8472), null);
    ip('link set vx up');
    const kernel = await describePortUser(systemRunner, '192.168.64.3', 8472);
    ip('link del vx');
    assert.match(kernel!, /the kernel's VXLAN device vx; remove it \(ip link del vx\), or set/);
  });

  test('forwarding is switched on, and all is taken back', async (t) => {
    const directory = scratch(t);
    makeTun();
    sysctl('ipv4/ip_forward', 0);
    const journal = Journal.open('flannel.1', directory);
    const index = JSON.parse(ip('-j link show flannel.1'))[0].ifindex;
    journal.record({ kind: 'device', name: 'flannel.1', index });
    assert.equal(ensureForwarding(journal), true);
    assert.equal(sysctl('ipv4/ip_forward'), '1');
    await assert.rejects(down(systemRunner, 'flannel.1', directory), /still runs/);
    disown(journalFile('flannel.1', directory));
    const { did, problems } = await down(systemRunner, 'flannel.1', directory);
    assert.deepEqual(problems, []);
    assert.match(did.join(), /ip_forward was set back from 1 to 0.*flannel\.1 was deleted/);
    assert.equal(sysctl('ipv4/ip_forward'), '0');
    assert.ok(!ip('-br link').includes('flannel.1'));
    assert.deepEqual(fs.readdirSync(directory), []);
  });

  test('a TUN that is held open is not taken from its holder; left behind it is gone', async (t) => {
    if (spawnSync('socat', ['-V']).status !== 0) {
      t.skip('needs socat, to hold a TUN open');
      return;
    }
    const directory = scratch(t);
    if (ip('-br link').includes('flannel.1')) ip('link del flannel.1');
    const options = 'tun-name=flannel.1,tun-type=tun,iff-no-pi,iff-up';
    const socat = spawn('socat', [`TUN:10.10.69.0/32,${options}`, 'PIPE'], { stdio: 'ignore' });
    const ended = new Promise((resolve) => socat.on('exit', resolve));
    t.after(() => socat.kill('SIGKILL'));
    for (let i = 0; i < 100 && !isHeld(); i++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const index = JSON.parse(ip('-j link show flannel.1'))[0].ifindex;
    Journal.open('flannel.1', directory).record({ kind: 'device', name: 'flannel.1', index });
    disown(journalFile('flannel.1', directory));
    await assert.rejects(down(systemRunner, 'flannel.1', directory), /is held open by a process/);
    socat.kill('SIGKILL');
    await ended;
    const { did } = await down(systemRunner, 'flannel.1', directory);
    assert.match(did[0]!, /flannel\.1 is gone/);
  });

  test('a kernel VXLAN device of the same name is left', async (t) => {
    const directory = scratch(t);
    if (ip('-br link').includes('flannel.1')) ip('link del flannel.1');
    ip('link add flannel.1 type vxlan id 1 dstport 8472 dev eth0');
    Journal.open('flannel.1', directory).record({ kind: 'device', name: 'flannel.1', index: null });
    disown(journalFile('flannel.1', directory));
    const { did } = await down(systemRunner, 'flannel.1', directory);
    assert.match(did[0]!, /was left: it is not a TUN but a vxlan device/);
    ip('link del flannel.1');
    const { did: again } = await down(systemRunner, 'flannel.1', directory);
    assert.match(again[0]!, /Nothing to take back/);
  });

  test('preflight: this host is fit; without rights, and with the ip of BusyBox, it is not', async (t) => {
    assert.deepEqual(await preflight(systemRunner), []);
    const busybox = ['/bin/busybox', '/usr/bin/busybox'].find((file) => fs.existsSync(file));
    if (busybox === undefined) {
      t.diagnostic('BusyBox is not installed: its ip was not tried');
      return;
    }
    const directory = scratch(t);
    fs.symlinkSync(busybox, path.join(directory, 'ip'));
    const before = process.env.PATH;
    t.after(() => {
      process.env.PATH = before;
    });
    process.env.PATH = `${directory}:${before}`;
    assert.match((await preflight(systemRunner))[0]!, /BusyBox's/);
  });
}

/** Whether flannel.1 is there and has a carrier. */
function isHeld(): boolean {
  return ip('-br link')
    .split('\n')
    .some((l) => l.startsWith('flannel.1') && l.includes('LOWER_UP'));
}

/** Makes the journal's owner a process that has ended. */
function disown(file: string): void {
  const content = JSON.parse(fs.readFileSync(file, 'utf8'));
  content.owner.startTime = '1';
  fs.writeFileSync(file, JSON.stringify(content));
}
