/**
 * Hosts that do not forward: weft sees to its own device, names what else keeps packets from their
 * way, and makes no router of a host that was none.
 *
 *   stranger ─ lan0 ─ host1 ─ ens33 ══ switch ══ ens33 ─ host2
 *                       └ docker0 ─ xbox1   ╚══ etcd   └ docker0 ─ xbox2
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import type { Running } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { CONFIG, PREFIX, startWeft } from './overlay.js';
import { eventually, passes, statusOf } from './spoil.js';
import { addStranger, forwardingIn, forwards, isRouted, WITHOUT_DOCKER } from './strangers-way.js';

const lacks = labLacks({ programs: ['etcd', 'ping'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const DIRECT = '{"Network":"10.10.0.0/16","Backend":{"Type":"vxlan","DirectRouting":true}}';
const HOST_GW = '{"Network":"10.10.0.0/16","Backend":{"Type":"host-gw"}}';
/** Nothing of the host but weft's device, which is no file of its own before weft is up. */
const SWITCHES = ['ip_forward', 'conf/all/forwarding', 'conf/default/forwarding'];

describe('hosts that do not forward', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let hosts: readonly [Host, Host];
  let host: Host;
  let stranger: Host;
  let wefts: Running[];
  let containers: readonly [Container, Container];

  before(async () => {
    lab = await Lab.open();
    const network = await lab.network();
    etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    hosts = [
      await network.host('host1', { address: '192.168.56.11/24', forwarding: false }),
      await network.host('host2', { address: '192.168.56.12/24', forwarding: false }),
    ];
    host = hosts[0];
    stranger = await addStranger(network, host, etcd);
  });
  after(() => lab?.close());

  const faults = async (): Promise<string> => (await statusOf(host)).faults.join('\n');
  const says = (what: RegExp) =>
    eventually(
      async () => what.test(forwardingIn(await statusOf(host))),
      () => wefts[0]!.output,
    );
  const isWell = () =>
    eventually(
      async () => (await faults()) === '',
      () => wefts[0]!.output,
    );
  const switches = () => Promise.all(SWITCHES.map((key) => forwards(host, key)));
  const off = SWITCHES.map(() => '0');

  test('what was not routed between two other interfaces is not routed with weft', async () => {
    await host.sysctl('net.ipv4.ip_forward=1');
    // The way is there, were the host a router.
    await eventually(
      () => isRouted(stranger),
      () => 'the stranger does not reach the underlay',
    );
    await host.sysctl('net.ipv4.ip_forward=0');
    assert.equal(await isRouted(stranger), false);

    wefts = [await startWeft(hosts[0], etcd), await startWeft(hosts[1], etcd)];
    await says(WITHOUT_DOCKER);
    assert.equal(await isRouted(stranger), false);
    assert.deepEqual(await switches(), off);
    for (const device of ['ens33', 'lan0']) {
      assert.equal(await forwards(host, `conf/${device}/forwarding`), '0');
    }
    assert.equal(await forwards(host, 'conf/flannel.1/forwarding'), '1');
  });

  test('containers talk once their bridges forward, and the host still routes nothing else', async () => {
    containers = [await hosts[0].container('xbox1'), await hosts[1].container('xbox2')];
    await says(/is 0, and so it is for docker0\), so containers/);
    assert.equal(await passes(...containers), false);
    for (const one of hosts) await one.sysctl('net.ipv4.conf.docker0.forwarding=1');
    await isWell();
    for (const [from, to] of [containers, [containers[1], containers[0]]] as const) {
      await eventually(
        () => passes(from, to),
        () => wefts[0]!.output,
      );
    }
    assert.equal(await isRouted(stranger), false);
    assert.deepEqual(await switches(), off);
  });

  test('forwarding taken from our device is back at once; from a bridge, it is named until it is back', async () => {
    const before = wefts[0]!.output.length;
    await host.sysctl('net/ipv4/conf/flannel.1/forwarding=0');
    await eventually(
      async () => (await forwards(host, 'conf/flannel.1/forwarding')) === '1',
      () => wefts[0]!.output,
      4_000,
    );
    // The line comes behind the deed.
    await eventually(
      async () =>
        /put right: flannel\.1: IPv4 forwarding on$/m.test(wefts[0]!.output.slice(before)),
      () => wefts[0]!.output,
    );
    await host.sysctl('net.ipv4.ip_forward=1');
    await host.sysctl('net.ipv4.conf.docker0.forwarding=0');
    await says(
      /^docker0 does not forward IPv4 \(\/proc\/sys\/net\/ipv4\/conf\/docker0\/forwarding is 0\).*; do: sysctl -w net\.ipv4\.conf\.docker0\.forwarding=1 /,
    );
    await host.sysctl('net.ipv4.conf.docker0.forwarding=1');
    await isWell();
    await host.sysctl('net.ipv4.ip_forward=0');
    await says(WITHOUT_DOCKER);
    await eventually(
      async () => (await forwards(host, 'conf/flannel.1/forwarding')) === '1',
      () => 'the switch has taken it from our device, too',
    );
    await host.sysctl('net.ipv4.conf.docker0.forwarding=1');
    await isWell();
    await eventually(
      () => passes(...containers),
      () => wefts[0]!.output,
    );
  });

  test('new devices do not forward: ours does, also when it is made anew', async () => {
    assert.equal(await forwards(host, 'conf/default/forwarding'), '0');
    await host.ip('link delete flannel.1');
    await eventually(
      () => passes(containers[1], containers[0]),
      () => wefts[0]!.output,
    );
    await host.sysctl('net.ipv4.ip_forward=1', 'net.ipv4.conf.default.forwarding=0');
    await host.ip('link set docker0 down', 'address flush dev docker0');
    await says(/^a device made now does not forward .* sysctl -w net\.ipv4\.conf\.default\.fo/);
    await host.sysctl('net.ipv4.ip_forward=0');
    const { subnet } = host.subnetFile()!;
    await host.ip(`address add ${subnet} dev docker0`, 'link set docker0 up');
    await host.sysctl('net.ipv4.conf.docker0.forwarding=1');
    await isWell();
  });

  test('the carrier, and the scope of the address, are kept', async () => {
    const { lease } = await statusOf(host);
    const address = `${lease.subnet.split('/')[0]}/32`;
    for (const [spoil, said] of [
      ['link set flannel.1 carrier off', /put right: flannel\.1: carrier on$/m],
      [
        `addr del ${address} dev flannel.1; addr add ${address} scope host dev flannel.1`,
        /put right: flannel\.1: address \S+ removed, address \S+\/32; 1 missing route$/m,
      ],
    ] as const) {
      const at = wefts[0]!.output.length;
      await host.ip(...spoil.split('; '));
      await eventually(
        () => passes(...containers),
        () => wefts[0]!.output,
      );
      await eventually(
        async () => said.test(wefts[0]!.output.slice(at)),
        () => wefts[0]!.output.slice(at),
      );
      const told = await host.run(['ping', '-c', '1', '-W', '1', containers[1].address]);
      assert.equal(told.code, 0, 'this host itself reaches containers of others');
    }
  });

  test('after the end, and after weft down, the host routes what it did before: nothing', async () => {
    for (const weft of wefts) await weft.stop();
    assert.equal(await isRouted(stranger), false);
    const { stdout } = await host.run([process.execPath, WEFT, 'down']);
    assert.doesNotMatch(stdout, /ip_forward/);
    assert.equal(await isRouted(stranger), false);
    assert.deepEqual(await switches(), off);
  });

  test('host-gw has no device: the underlay and the bridge are named', async () => {
    await etcd.put('/gw/config', HOST_GW);
    const flags = [`-etcd-endpoints=${etcd.endpoint}`, '-etcd-prefix=/gw', '-iface=ens33'];
    wefts = [host.weft(...flags)];
    await wefts[0]!.waitFor(/ready: host-gw/, 60_000);
    await says(/is 0, and so it is for ens33\), so containers/);
    assert.deepEqual(await switches(), off);
    await host.sysctl('net.ipv4.ip_forward=1', 'net.ipv4.conf.ens33.forwarding=0');
    await says(/^ens33 does not forward .* sysctl -w net\.ipv4\.conf\.ens33\.forwarding=1 /);
    await host.sysctl('net.ipv4.conf.ens33.forwarding=1');
    await isWell();
    await wefts[0]!.stop();
  });

  test('where /proc/sys is not to be written, what our device lacks is named with the command', async () => {
    await etcd.put(`${PREFIX}/config`, DIRECT);
    await host.sysctl('net.ipv4.conf.default.forwarding=0', 'net.ipv4.conf.all.rp_filter=1');
    await host.run(['mount', '--bind', '/proc/sys', '/proc/sys']);
    await host.run(['mount', '-o', 'remount,bind,ro', '/proc/sys']);
    wefts = [await startWeft(host, etcd)];
    await says(
      /^flannel\.1 does not forward .*; do: sysctl -w net\/ipv4\/conf\/flannel\.1\/forwarding=1 /,
    );
    await says(/flannel\.1 drops packets .* sysctl -w net\/ipv4\/conf\/flannel\.1\/rp_filter=2 /);
    await host.run(['umount', '/proc/sys']);
    await isWell();
    await wefts[0]!.stop();
  });
});
