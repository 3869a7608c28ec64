/** The host code against a real kernel, all but its routes. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import dgram from 'node:dgram';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { configure } from '../../../src/control/host/device.js';
import { down } from '../../../src/control/host/down.js';
import { readPattern } from '../../../src/control/host/go-pattern.js';
import { chooseInterface, listLinks } from '../../../src/control/host/interfaces.js';
import { Journal, journalFile } from '../../../src/control/host/journal.js';
import { describePortUser } from '../../../src/control/host/ports.js';
import { preflight } from '../../../src/control/host/preflight.js';
import { systemRunner } from '../../../src/control/host/runner.js';
import { scratch } from './fakes.js';

import { disown, inNamespace, ip, makeTun, rig, sysctl, WANTED } from './inside.js';

inNamespace('the host code in a network namespace', import.meta.url, () => {
  test('the device is set up as wanted, and the second time nothing is touched', async (t) => {
    const child = rig(t);
    ip('addr add 169.254.7.7/16 dev flannel.1');
    ip('addr add 10.10.99.0/32 dev flannel.1');
    ip('addr add 10.10.69.0/24 dev flannel.1');
    ip('addr add 10.10.98.1 peer 10.10.98.2/32 dev flannel.1');
    const { index, changed } = await configure(child, WANTED);
    const settings = /^(IPv. |accept_ra )/;
    const rest = changed.filter((what) => !settings.test(what));
    assert.equal(rest.length, 7, changed.join('; '));
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
    await assert.rejects(
      chooseInterface(systemRunner, { canReach: '192.168.64.3' }),
      /-iface-can-reach 192\.168\.64\.3 is an address of this host/,
    );
    const ifaceRegex = [readPattern('.*')];
    assert.equal((await chooseInterface(systemRunner, { ifaceRegex })).name, 'eth0');
    ip('route del default via 192.168.64.1 dev eth0');
    await assert.rejects(
      chooseInterface(systemRunner, { canReach: '8.8.8.8' }),
      /no route leads to -iface-can-reach 8\.8\.8\.8 \(.*RTNETLINK/,
    );
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

  test('all is taken back, and the host forwards as it did before', async (t) => {
    const directory = scratch(t);
    const child = rig(t);
    sysctl('ipv4/ip_forward', 0);
    const journal = Journal.open('flannel.1', directory);
    const { index } = await configure(child, WANTED);
    journal.record({ kind: 'device', name: 'flannel.1', index });
    assert.equal(sysctl('ipv4/conf/flannel.1/forwarding'), '1');
    const others = ['ip_forward', 'conf/all/forwarding', 'conf/default/forwarding'];
    const all = [...others, 'conf/eth0/forwarding', 'conf/eth1/forwarding'];
    const host = () => all.map((key) => sysctl(`ipv4/${key}`));
    assert.deepEqual(
      host(),
      all.map(() => '0'),
    );
    await assert.rejects(down(systemRunner, 'flannel.1', directory), /still runs/);
    disown(journalFile('flannel.1', directory));
    const { did, problems } = await down(systemRunner, 'flannel.1', directory);
    assert.deepEqual(problems, []);
    assert.match(did.join(), /flannel\.1 was deleted/);
    assert.deepEqual(
      host(),
      all.map(() => '0'),
    );
    assert.ok(!ip('-br link').includes('flannel.1'));
    assert.deepEqual(fs.readdirSync(directory), []);
  });

  test('the settings of the device are its own to keep, whatever new devices get', async (t) => {
    const child = rig(t);
    sysctl('ipv4/conf/default/forwarding', 0);
    makeTun();
    const first = await configure(child, WANTED);
    assert.ok(first.changed.includes('IPv4 forwarding on'), first.changed.join());
    const routed = { ...WANTED, anySource: true };
    await configure(child, routed);
    sysctl('ipv4/conf/flannel.1/forwarding', 0);
    sysctl('ipv4/conf/flannel.1/rp_filter', 1);
    const wrong = ['IPv4 forwarding on', 'rp_filter 2'];
    if (fs.existsSync('/proc/sys/net/ipv6')) {
      sysctl('ipv6/conf/flannel.1/disable_ipv6', 0);
      wrong.splice(1, 0, 'IPv6 off');
      assert.deepEqual((await configure(child, routed)).changed, wrong);
      assert.equal(sysctl('ipv6/conf/flannel.1/disable_ipv6'), '1');
      // Under 1280 bytes there is no IPv6, and its settings are new afterwards.
      ip('link set flannel.1 mtu 1000');
      assert.deepEqual((await configure(child, routed)).changed, ['MTU 1450 (was 1000)']);
      assert.equal(sysctl('ipv6/conf/flannel.1/disable_ipv6'), '1');
    } else assert.deepEqual((await configure(child, routed)).changed, wrong);
    assert.equal(sysctl('ipv4/conf/flannel.1/forwarding'), '1');
    assert.equal(sysctl('ipv4/conf/flannel.1/rp_filter'), '2');
    assert.deepEqual((await configure(child, routed)).changed, []);
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
    assert.deepEqual(await preflight(systemRunner), { tun: null, others: [] });
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
    assert.match((await preflight(systemRunner)).others[0]!, /BusyBox's/);
  });
});

/** Whether flannel.1 is there and has a carrier. */
function isHeld(): boolean {
  return ip('-br link')
    .split('\n')
    .some((l) => l.startsWith('flannel.1') && l.includes('LOWER_UP'));
}
