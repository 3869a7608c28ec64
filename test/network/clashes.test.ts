/** The overlay's networks meet others that this host has: those stay, and the clash is named. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { type Overlay, openOverlay, PREFIX } from './overlay.js';
import { eventually, passes, show, statusOf, toldSince } from './spoil.js';

const lacks = labLacks({ programs: ['etcd', 'ping'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const PEER = '10.10.193.0/24';
const KEY = `${PREFIX}/subnets/10.10.193.0-24`;

describe('other networks of this host', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let overlay: Overlay;
  let host: Host;
  let weft: Running;
  let containers: readonly [Container, Container];
  let own: string;
  let peer: string;

  before(async () => {
    overlay = await openOverlay(['weft', 'weft'], true);
    host = overlay.hosts[0];
    weft = overlay.wefts[0]!;
    containers = overlay.containers;
    own = (await statusOf(host)).lease.subnet;
    peer = overlay.hosts[1].address;
    await eventually(
      () => passes(...containers),
      () => weft.output,
    );
  });
  after(() => overlay?.lab.close());

  const faults = async () => (await statusOf(host)).faults;
  const says = (fault: RegExp) =>
    eventually(
      async () => fault.test((await faults()).join('\n')),
      () => weft.output,
      20_000,
    );
  const isWell = () =>
    eventually(
      async () => (await faults()).length === 0,
      () => weft.output,
      20_000,
    );
  const join = (key = KEY, publicIp = '192.168.56.77') =>
    overlay.etcd.put(
      key,
      `{"PublicIP":"${publicIp}","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:93"}}`,
    );
  const wayTo = (address: string) => show(host, `route get ${address}`);
  const routeTo = (prefix: string) => show(host, `route show exact ${prefix}`);

  test('a route of an earlier time that leads our own subnet away: removed, in one line', async () => {
    const before = weft.output.length;
    await host.ip(
      'link set docker0 down',
      `route add ${own} via ${peer} dev ens33`,
      'link set docker0 up',
    );
    await eventually(
      async () => !(await routeTo(own)).includes('via'),
      () => weft.output,
    );
    await eventually(
      () => passes(containers[1], containers[0]),
      () => weft.output,
    );
    await sleep(1_500);
    const told = toldSince(weft, before);
    assert.equal(told.length, 1, told.join('\n'));
    assert.match(
      told[0]!,
      /put right: removed the route .* via .* of an earlier time, which led our/,
    );
    assert.deepEqual(await faults(), []);
  });

  test('another that leads a part of it away: named with its end, which is what it takes', async () => {
    const half = own.replace('/24', '/25');
    for (const route of [`${half} via ${peer} dev ens33`, `unreachable ${half}`]) {
      await host.ip(`route add ${route}`);
      await says(/^the route .*10\.10\.\d+\.0\/25 .* leads a part of our own subnet .* away/);
      await sleep(3_500);
      assert.notEqual(await routeTo(half), '', 'it is not for weft to remove');
      assert.equal(await passes(containers[1], containers[0]), false);
      const [clash] = (await statusOf(host)).findings.filter(({ code }) => code === 'clash');
      await host.ip(/^ip (route del .*?) {3}\(/.exec(clash!.cure)![1]!);
      await isWell();
      assert.ok(await passes(containers[1], containers[0]));
    }
  });

  test("a peer's subnet that is a bridge's network: the bridge's stays through join and leave", async () => {
    await host.ip(
      'link add br-x type bridge',
      'addr add 10.10.193.1/24 dev br-x',
      'link set br-x up',
    );
    const theirs = await routeTo(PEER);
    assert.match(theirs, /dev br-x proto kernel/);
    await join();
    await says(
      /^the subnet 10\.10\.193\.0\/24 of the peer 192\.168\.56\.77 is the network of br-x/,
    );
    assert.equal(await routeTo(PEER), theirs);
    await sleep(4_000);
    assert.equal(await routeTo(PEER), theirs);
    await overlay.etcd.delete(KEY);
    await isWell();
    assert.equal(await routeTo(PEER), theirs);
    await join();
    await says(/is the network of br-x/);
    await host.ip('link del br-x');
    await isWell();
    assert.match(await routeTo(PEER), /dev flannel\.1 scope link/);
    assert.match(await wayTo('10.10.193.5'), /dev flannel\.1/);
  });

  test('a bridge that comes to where a peer is already: it has its network', async () => {
    assert.match(await wayTo('10.10.193.5'), /dev flannel\.1/);
    await host.ip(
      'link add br-x type bridge',
      'addr add 10.10.193.1/24 dev br-x',
      'link set br-x up',
    );
    await eventually(
      async () => /dev br-x/.test(await wayTo('10.10.193.5')),
      () => weft.output,
      20_000,
    );
    await says(/is the network of br-x/);
    assert.doesNotMatch(await routeTo(PEER), /flannel/);
    await host.ip('link set br-x down');
    await isWell();
    assert.match(await wayTo('10.10.193.5'), /dev flannel\.1/);
    await host.ip('link del br-x');
    await overlay.etcd.delete(KEY);
    await eventually(
      async () => (await routeTo(PEER)) === '',
      () => weft.output,
    );
  });

  test("a VPN's route to a peer's subnet, to a part of it, beside it", async () => {
    await host.ip('link add vpn0 type bridge', 'link set vpn0 up');
    for (const [route, fault] of [
      [
        `${PEER} proto static`,
        /^no route to the subnet .* another program's is in its place .*vpn0/,
      ],
      [
        '10.10.193.128/25 proto static',
        /leads a part of the subnet 10\.10\.193\.0\/24 of the peer/,
      ],
      [
        `${PEER} proto static metric 50`,
        /is for the subnet 10\.10\.193\.0\/24 .* weaker than weft's/,
      ],
    ] as const) {
      await host.ip(`route add ${route} dev vpn0`);
      await join();
      await says(fault);
      await sleep(3_500);
      assert.match(await show(host, 'route show dev vpn0'), /10\.10\.193\./);
      await overlay.etcd.delete(KEY);
      await isWell();
      assert.match(await show(host, 'route show dev vpn0'), /10\.10\.193\./);
      await join();
      await says(fault);
      await host.ip(`route del ${route} dev vpn0`);
      await isWell();
      assert.match(await wayTo('10.10.193.200'), /dev flannel\.1/);
      await overlay.etcd.delete(KEY);
      await eventually(
        async () => (await routeTo(PEER)) === '',
        () => weft.output,
      );
    }
    await host.ip('link del vpn0');
  });

  test('an address, and a network wider than the overlay: named while they are there', async () => {
    await join();
    await eventually(
      async () => (await routeTo(PEER)) !== '',
      () => weft.output,
    );
    await host.ip('addr add 10.10.193.7/32 dev lo');
    await says(
      /^the address 10\.10\.193\.7\/32 of lo is in the subnet 10\.10\.193\.0\/24 of the peer/,
    );
    await host.ip('addr del 10.10.193.7/32 dev lo');
    await isWell();
    await host.ip('link add br-w type bridge', 'addr add 10.8.0.1/14 dev br-w', 'link set br-w up');
    await says(/^the network 10\.8\.0\.0\/14 of br-w overlaps the overlay's 10\.10\.0\.0\/16/);
    assert.ok(await passes(...containers));
    await host.ip('link del br-w');
    await isWell();
    assert.equal(weft.code, undefined);
  });
});
