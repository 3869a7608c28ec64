/**
 * A host is moved from flanneld to weft and back, while another one that has the kernel's VXLAN
 * keeps running:
 *
 *   xbox1 ─ docker0 ─ host1 ─ ens33 ══ switch ══ ens33 ─ host2 ─ docker0 ─ xbox2
 *           flanneld, weft, flanneld      ║          flanneld
 *                                         ╚══ etcd
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Network } from '../../src/lab/network.js';
import type { Status } from '../../src/operate/status/status.js';
import { until } from '../control/fakes.js';
import {
  A,
  assertLease,
  assertSame,
  B,
  Flanneld,
  type Flavour,
  list,
  rules,
  weftRules,
} from './flanneld.js';
import { PREFIX, startWeft, weftFlags } from './overlay.js';

const lacks = labLacks({
  programs: ['etcd', 'iptables', 'ip6tables', 'nft', 'ping', 'bridge', 'ss', 'setpriv'],
  tun: true,
});
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const config = (flavour: Flavour) =>
  JSON.stringify({
    Network: '10.10.0.0/16',
    ...(flavour === 'nftables' ? { EnableNFTables: true } : {}),
    Backend: { Type: 'vxlan' },
  });

/** In a list of a host: a device, a route or a socket of the tunnel. */
const OF_THE_TUNNEL = /== (links|device|routes|sockets)\n[^=]*(flannel\.1|:8472)/;

describe('a host moves to weft and back', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let network: Network;
  let etcd: Etcd;
  let host1: Host;
  let host2: Host;
  let xbox1: Container;
  let xbox2: Container;
  /** Pings in both directions that never stop. */
  let streams: Running[];
  const started: Running[] = [];

  before(async () => {
    lab = await Lab.open();
    network = await lab.network();
    etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, config('iptables'));
    host1 = await network.host('host1', { address: `${A.publicIp}/24` });
    host2 = await network.host('host2', { address: `${B.publicIp}/24` });
    await host2.kernelPeer({ subnet: B.subnet, mac: B.mac, peers: [A] });
    await etcd.register(PREFIX, B);
    await new Flanneld(host1, etcd, 'iptables').makeAll();
    xbox1 = await host1.container('xbox1');
    xbox2 = await host2.container('xbox2');
    const ping = ['ping', '-i', '0.05', '-W', '1'];
    streams = [xbox1.start([...ping, xbox2.address]), xbox2.start([...ping, xbox1.address])];
  });
  after(() => lab?.close());
  afterEach(async () => {
    for (const running of started.splice(0).reverse()) await running.stop();
  });

  /** Both streams get answers now. */
  const flows = async (): Promise<void> => {
    for (const stream of streams) {
      const answers = () => stream.output.match(/bytes from/g)?.length ?? 0;
      const before = answers();
      await until(() => answers() >= before + 5);
    }
  };
  const weft = async (...flags: string[]): Promise<Running> => {
    const running = await startWeft(host1, etcd, '-ip-masq', ...flags);
    started.push(running);
    return running;
  };
  const run = (...args: string[]) =>
    host1.run([process.execPath, WEFT, ...args], { mayFail: true });
  /** A process of that name, in the network namespace of a host. */
  const processNamedFlanneld = async (host: Host): Promise<Running> => {
    const file = `${lab.shared}/flanneld`;
    fs.writeFileSync(file, '#!/bin/sh\necho runs\nwhile :; do sleep 0.1; done\n', { mode: 0o755 });
    const running = host.start([file.replace(lab.shared, '/run/shared')]);
    started.push(running);
    await running.waitFor(/runs/, 60_000);
    return running;
  };
  /** Runs a weft that ends by itself; its one error line. */
  const refused = async (host: Host, argv: readonly string[]): Promise<string> => {
    const running = host.start(argv, { name: 'weft up' });
    started.push(running);
    assert.equal(await Promise.race([running.exited, sleep(10_000, undefined)]), 1, running.output);
    assert.doesNotMatch(running.output, /removed the VXLAN device/);
    const errors = running.output.match(/^E .*$/gm)!;
    assert.equal(errors.length, 1, running.output);
    return errors[0]!;
  };
  const up = (...flags: string[]) => [process.execPath, WEFT, 'up', ...weftFlags(etcd), ...flags];

  test('while a flanneld runs here weft is refused, and names it; not for one elsewhere', async () => {
    const before = await list(host1, 'iptables');
    const leases = await etcd.list(PREFIX);
    const flanneld = await processNamedFlanneld(host1);
    const { pid } = flanneld;
    const says = new RegExp(
      `flannel\\.1 is in use by flanneld, process ${pid}; stop it .*kill ${pid}`,
    );
    assert.match(await refused(host1, up('-ip-masq')), says);
    // As in weft's unit, which may not look into processes that may do more.
    const few = ['setpriv', '--inh-caps=-all', '--bounding-set=-all,+net_admin,+net_raw'];
    assert.match(await refused(host1, [...few, ...up('-ip-masq')]), says);
    assertSame(await list(host1, 'iptables'), before);
    assert.deepEqual(await etcd.list(PREFIX), leases);
    await flows();
    await flanneld.stop();

    await processNamedFlanneld(host2);
    const running = await weft();
    await flows();
    assert.equal(await running.stop(), 0);
    fs.rmSync(host1.path('/run/weft'), { recursive: true });
    await new Flanneld(host1, etcd, 'iptables').startAgain();
    assertSame(await list(host1, 'iptables'), before);
  });

  test('a weft that cannot start leaves what flanneld left forwarding', async () => {
    const before = await list(host1, 'iptables');
    const other = 'other type vxlan id 2 dev ens33 local 192.168.56.11 dstport 8472';
    await host1.ip(`link add ${other}`, 'link set other up');
    assert.match(await refused(host1, up()), /VXLAN device other uses UDP port 8472 as well/);
    await host1.ip('link delete other');

    await host1.run(['ip', 'tuntap', 'add', 'dev', 'weft.1', 'mode', 'tun']);
    assert.match(await refused(host1, up()), /there is a device weft\.1 already/);
    await host1.ip('link delete weft.1');

    assertSame(await list(host1, 'iptables'), before);
    await assertLease(etcd);
    await flows();
  });

  test('a device of that name that flanneld did not leave stays, and weft is refused', async () => {
    const host3 = await network.host('host3', { address: '192.168.56.13/24' });
    for (const [kind, says] of [
      ['bridge', /there is a device flannel\.1 already/],
      ['vxlan id 7 dev ens33 dstport 4789', /there is a device flannel\.1 already/],
      ['vxlan id 7 dev ens33 dstport 8472', /port 8472 .* VXLAN device flannel\.1; remove it/],
    ] as const) {
      await host3.ip(`link add flannel.1 type ${kind}`, 'link set flannel.1 up');
      assert.match(await refused(host3, up()), says);
      const { stdout } = await host3.run(['ip', '-d', 'link', 'show', 'flannel.1']);
      assert.ok(stdout.includes(kind.split(' dev')[0]!), stdout);
      await host3.ip('link delete flannel.1');
    }
  });

  for (const flavour of ['iptables', 'nftables'] as const) {
    test(`to weft and back, with ${flavour}: all is kept, nothing is left`, async () => {
      const flanneld = new Flanneld(host1, etcd, flavour);
      if (flavour === 'nftables') {
        await host1.ip('link delete flannel.1');
        await etcd.put(`${PREFIX}/config`, config(flavour));
        await flanneld.makeAll();
      }
      await flows();
      const before = await list(host1, flavour);
      assert.match(before, OF_THE_TUNNEL);
      const subnetFile = host1.read('/run/flannel/subnet.env');

      for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
        const running = await weft();
        await flows();
        assert.equal(running.output.match(/removed the VXLAN device flannel\.1/g)?.length, 1);
        await assertLease(etcd);
        assert.equal(host1.read('/run/flannel/subnet.env'), subnetFile);
        assert.equal(await rules(host1, flavour), weftRules(flavour));
        const { lease, peers } = JSON.parse((await run('status', '--json')).stdout) as Status;
        assert.deepEqual([lease.subnet, lease.vtepMac], [A.subnet, A.mac]);
        assert.deepEqual(
          peers.map(({ vtepMac }) => vtepMac),
          [B.mac],
        );

        running.kill(signal);
        await running.exited;
        const left = await list(host1, flavour);
        assert.doesNotMatch(left, OF_THE_TUNNEL);
        assert.equal(await rules(host1, flavour), weftRules(flavour));
        assert.equal(host1.read('/run/flannel/subnet.env'), subnetFile);
        await assertLease(etcd);

        await flanneld.startAgain();
        await flows();
        // What weft keeps for `weft down`, which does nothing while flanneld has it all.
        const named = await processNamedFlanneld(host1);
        const { code, stderr } = await run('down');
        assert.equal(code, 1);
        assert.match(stderr, /flanneld runs as process \d+ and has taken over .*rm \/run\/weft/);
        await named.stop();
        fs.rmSync(host1.path('/run/weft'), { recursive: true });
        // nft keeps the comments of a table and of chains from when they were made.
        const told = (text: string) => text.replace(/^\s*comment ".*"\n/gm, '');
        assertSame(told(await list(host1, flavour)), told(before));
      }
      const lost = streams.map((stream) => lostOf(stream.output));
      console.log(`# ${flavour}: ${lost.join(' and ')} pings of 50 ms were lost so far`);
    });
  }

  test('the key is gone as well: the same subnet and MAC again', async () => {
    await etcd.delete(`${PREFIX}/subnets/10.10.69.0-24`);
    const running = await weft();
    await assertLease(etcd);
    await flows();
    assert.equal(await running.stop(), 0);
  });

  test('routes that led to hosts directly: of a peer replaced, of a host that is gone left', async () => {
    await host1.ip(
      `route add ${B.subnet} via ${B.publicIp} dev ens33`,
      'route add 10.10.200.0/24 via 192.168.56.77 dev ens33',
    );
    const running = await weft();
    const { stdout } = await host1.run(['ip', 'route', 'show', 'root', '10.10.0.0/16']);
    assert.match(stdout, /^10\.10\.92\.0\/24 dev flannel\.1/m);
    assert.doesNotMatch(stdout, /192\.168\.56\.12/);
    assert.match(stdout, /^10\.10\.200\.0\/24 via 192\.168\.56\.77 dev ens33/m);
    await flows();
    assert.equal(await running.stop(), 0);
  });
});

/** How many numbers are missing between the answers. */
function lostOf(output: string): number {
  const numbers = [...output.matchAll(/icmp_seq=(\d+) ttl/g)].map(([, number]) => Number(number));
  return (numbers.at(-1) ?? 0) - new Set(numbers).size;
}
