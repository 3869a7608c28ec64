/**
 * What others do to a host on which weft runs, with traffic between two hosts' containers: it is
 * put right, told in one line, and packets pass again.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Status } from '../../src/operate/status/status.js';
import { type Overlay, openOverlay, tcpTransfer } from './overlay.js';
import {
  eventually,
  passes,
  type Spoilt,
  show,
  spoilAndSee,
  statusOf,
  toldSince,
} from './spoil.js';

const lacks = labLacks({ programs: ['etcd', 'ping', 'iptables', 'ps', 'tc'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const ENV = '/run/flannel/subnet.env';

/** Outbound, what came in went out or was dropped. */
function addsUp({ counters, drops }: Status): void {
  const lost = Object.entries(drops).filter(([reason]) => /^(outbound|send)_/.test(reason));
  assert.equal(
    counters.outbound_in_packets,
    counters.outbound_out_packets + lost.reduce((sum, [, packets]) => sum + packets, 0),
  );
}

describe('a host that others change', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let overlay: Overlay;
  let host: Host;
  let weft: Running;
  let containers: readonly [Container, Container];
  /** Of this host, `10.10.52.0`; of the other, `10.10.72.0/24`. */
  let address: string;
  let peerSubnet: string;

  before(async () => {
    overlay = await openOverlay(['weft', 'weft'], true);
    host = overlay.hosts[0];
    weft = overlay.wefts[0]!;
    containers = overlay.containers;
    const status = await statusOf(host);
    address = status.lease.subnet.split('/')[0]!;
    peerSubnet = status.peers[0]!.subnet;
    containers[0].start(['ping', '-i', '0.1', containers[1].address]);
    await eventually(
      () => passes(...containers),
      () => weft.output,
    );
    await sleep(1_000);
  });
  after(() => overlay?.lab.close());

  const device = () => show(host, 'addr show dev flannel.1');
  const routes = () => show(host, 'route show dev flannel.1');
  /** As weft wants it, with the other host's route. */
  const whole = async () => {
    const text = await device();
    return (
      /mtu 1450 /.test(text) &&
      /qlen 5000/.test(text) &&
      /[<,]UP[,>]/.test(text) &&
      text.includes(`inet ${address}/32 `) &&
      (await routes()).includes(`${peerSubnet} scope link`)
    );
  };
  const mended = (
    spoil: string | (() => Promise<unknown>),
    said: RegExp,
    more: Partial<Spoilt> = {},
  ) =>
    spoilAndSee({
      weft,
      containers,
      spoil: typeof spoil === 'string' ? () => host.ip(...spoil.split('; ')) : spoil,
      right: whole,
      said,
      ...more,
    });

  test('the address, the MTU, the queue, the link itself, and all of them at once', async () => {
    const own = `address ${address.replaceAll('.', '\\.')}/32`;
    // With its last address a device loses its routes, too.
    // Not `addr flush`, which looks again, and takes away what weft has put there meanwhile.
    await mended(
      `addr del ${address}/32 dev flannel.1`,
      new RegExp(`W .*put right: flannel\\.1: ${own}; 1 missing route$`),
    );
    await mended('link set flannel.1 mtu 1300', /put right: flannel\.1: MTU 1450 \(was 1300\)$/);
    await mended('link set flannel.1 txqueuelen 10', /put right: flannel\.1: queue length 5000$/);
    await mended('link set flannel.1 down', /put right: flannel\.1: up; 1 missing route$/);
    await mended(
      'addr add 10.10.99.9/32 dev flannel.1',
      /put right: flannel\.1: address 10\.10\.99\.9\/32 removed$/,
      { right: async () => (await whole()) && !(await device()).includes('10.10.99.9') },
    );
    await mended(
      `link set flannel.1 down; addr del ${address}/32 dev flannel.1; link set flannel.1 mtu 1000 txqueuelen 1`,
      new RegExp(`MTU 1450 \\(was 1000\\), queue length 5000, ${own}, up; 1 missing route$`),
    );
  });

  test('routes: ours are back at once and stale ones go, those of others are left', async () => {
    for (let i = 0; i < 4; i += 1) {
      await mended(`route del ${peerSubnet} dev flannel.1`, /put right: 1 missing route$/, {
        within: 4_000,
      });
    }
    const others = [
      '10.10.241.0/24 proto static scope link',
      '10.10.242.0/24 scope link metric 50',
      '172.30.0.0/16 scope link',
    ];
    const theirs = async () => {
      const text = await routes();
      return others.every((route) => text.includes(route));
    };
    await host.ip(...others.map((route) => `route add ${route} dev flannel.1`));
    await mended(
      'route add 10.10.243.0/24 dev flannel.1; route add 10.10.244.0/24 via 10.10.244.0 dev flannel.1 onlink',
      /put right: 2 stale routes$/,
      { right: async () => (await whole()) && !/10\.10\.24[34]/.test(await routes()) },
    );
    assert.ok(await theirs(), await routes());
    await mended(
      `route replace ${peerSubnet} via ${overlay.hosts[1].address} dev ens33`,
      /put right: 1 missing route$/,
    );
    await mended('link set flannel.1 mtu 1300', /MTU 1450/);
    assert.ok(await theirs(), await routes());
  });

  test('subnet.env', async () => {
    const text = host.read(ENV);
    await mended(
      async () => fs.rmSync(host.path('/run/flannel'), { recursive: true }),
      /wrote .*subnet\.env, which was gone$/,
      {
        right: async () => host.read(ENV) === text,
        // Nobody tells of a file: the period has to pass.
        quiet: 3_500,
      },
    );
    // A look that finds all well: what is undone each time is told of once.
    await sleep(3_200);
    await mended(
      async () => host.write(ENV, 'FLANNEL_MTU=9000\n'),
      /put right: wrote .*subnet\.env, whose FLANNEL_MTU was 9000$/,
      {
        right: async () => host.read(ENV) === text,
      },
    );
    // As mk-docker-opts.sh -d writes its options into it.
    const said = weft.output.length;
    const options = 'DOCKER_OPTS=" --bip=10.10.52.1/24 --ip-masq=true --mtu=1450"\n';
    host.write(ENV, text + options);
    await sleep(7_000);
    assert.equal(host.read(ENV), text + options);
    assert.deepEqual(toldSince(weft, said), []);
    await mended(
      async () => host.write(ENV, options),
      /put right: wrote .*subnet\.env, which lacked FLANNEL_NETWORK$/,
      {
        right: async () => host.read(ENV) === text + options,
      },
    );
  });

  test('the firewall rules, by their own period', async () => {
    const rules = async () => (await host.run(['iptables-save', '-t', 'filter'])).stdout;
    await host.run(['iptables', '-P', 'FORWARD', 'DROP']);
    await mended(
      () => host.run(['iptables', '-F', 'FLANNEL-FWD']),
      /W .*firewall rules set again: FLANNEL-FWD lacked 2 rules/,
      { right: async () => /-A FLANNEL-FWD -s/.test(await rules()), within: 10_000 },
    );
    await host.run(['iptables', '-P', 'FORWARD', 'ACCEPT']);
    // A look in between has found the drop, which the log would be told of during the next test.
    await eventually(
      async () => (await statusOf(host)).findings.every(({ code }) => code !== 'firewall-drop'),
      () => `the drop is still found:\n${weft.output}`,
      10_000,
    );
  });

  test('the device deleted: made anew with all of it, in the same process, which counts on', async () => {
    const before = await statusOf(host);
    const gone =
      /W .*put right: flannel\.1 was gone: made anew, and the lanes with it; 1 missing route$/;
    await mended('link delete flannel.1', gone);
    const now = await statusOf(host);
    assert.equal(now.pid, before.pid);
    assert.ok(now.counters.outbound_out_packets > before.counters.outbound_out_packets);
    assert.deepEqual(now.faults, []);
    assert.ok(now.lanes.every(({ running }) => running));
    addsUp(now);
    await mended('link set flannel.1 down; link set flannel.1 name other0', gone);
    assert.equal(await show(host, 'link show other0'), '');
  });

  test('deleted again and again: nothing is left behind', async () => {
    const { pid } = await statusOf(host);
    const descriptors = async () =>
      (await host.run(['ls', `/proc/${pid}/fd`])).stdout.trim().split('\n').length;
    const threads = async () =>
      (await host.run(['ls', `/proc/${pid}/task`])).stdout.trim().split('\n').length;
    const before = [await descriptors(), await threads()];
    for (let i = 0; i < 8; i += 1) {
      await host.ip('link delete flannel.1');
      await eventually(whole, () => weft.output);
    }
    await eventually(
      () => passes(...containers),
      () => weft.output,
    );
    await eventually(
      async () => (await descriptors()) <= before[0]! && (await threads()) <= before[1]!,
      () => `more than the ${before} descriptors and threads of before`,
    );
    await sleep(1_000);
  });

  test('deleted in the middle of a transfer, which arrives whole', async () => {
    const transfer = tcpTransfer(containers[0], containers[1], 400_000_000);
    for (let i = 0; i < 3; i += 1) {
      await sleep(300);
      await host.ip('link delete flannel.1');
      await eventually(whole, () => weft.output);
    }
    await transfer;
    await sleep(1_000);
  });

  test('its name taken by somebody else: said once, in the status too, and made anew later', async () => {
    const before = weft.output.length;
    await host.ip('link delete flannel.1', 'link add flannel.1 type bridge');
    await weft.waitFor(/W .*there is a device flannel\.1 already/, 60_000);
    const others = await show(host, 'addr show dev flannel.1');
    await sleep(7_000);
    assert.equal(await show(host, 'addr show dev flannel.1'), others);
    assert.equal(weft.output.slice(before).match(/already/g)!.length, 1);
    assert.match((await statusOf(host)).faults.join(), /there is a device flannel\.1 already/);
    await host.ip('link delete flannel.1');
    await eventually(whole, () => weft.output);
    await eventually(
      () => passes(...containers),
      () => weft.output,
    );
    await weft.waitFor(/over: .*there is a device flannel\.1 already/, 60_000);
    assert.deepEqual((await statusOf(host)).faults, []);
  });

  test('ip monitor killed: said once, started again; none outlives weft, not even SIGKILL', async () => {
    const { pid } = await statusOf(host);
    const ps = async (...which: string[]) =>
      (await host.run(['ps', ...which, '-o', 'pid=,stat=,args='], { mayFail: true })).stdout;
    /** The process id of weft's `ip monitor`. */
    const monitor = async () =>
      /^ *(\d+) +[^Z]\S* +ip monitor/m.exec(await ps('--ppid', String(pid)))?.[1];
    const first = await monitor();
    await host.run(['kill', '-9', first!]);
    await weft.waitFor(/W .*ip monitor ended \(SIGKILL\)/, 60_000);
    await eventually(
      async () => (await monitor()) !== undefined,
      () => weft.output,
    );
    await mended(`route del ${peerSubnet} dev flannel.1`, /1 missing route$/);
    const second = await monitor();
    weft.kill('SIGKILL');
    await weft.exited;
    const runs = async () => /^ *\d+ +[^Z]/.test(await ps('-p', second!));
    await eventually(
      async () => !(await runs()),
      () => 'ip monitor still runs',
    );
  });
});
