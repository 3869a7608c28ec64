/** The underlay changes under a weft that runs: its address, its MTU, its interface. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Running, run } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { type Overlay, openOverlay, PREFIX, ping, startWeft, weftFlags } from './overlay.js';
import { eventually, passes, show, statusOf, toldSince } from './spoil.js';

const lacks = labLacks({ programs: ['etcd', 'ping'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const OWN = '192.168.56.11';
const OTHER = '192.168.56.33';

describe('the underlay changes', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let overlay: Overlay;
  let host: Host;
  let weft: Running;
  let peer: Running;
  let containers: readonly [Container, Container];

  before(async () => {
    overlay = await openOverlay(['weft', 'weft'], true);
    host = overlay.hosts[0];
    weft = overlay.wefts[0]!;
    peer = overlay.wefts[1]!;
    containers = overlay.containers;
    containers[0].start(['ping', '-i', '0.1', containers[1].address]);
    await eventually(
      () => passes(...containers),
      () => weft.output,
    );
    await sleep(1_000);
  });
  after(() => overlay?.lab.close());
  afterEach(() => sleep(1_000));

  const underlay = async () => (await statusOf(host)).underlay;
  /** The public IP that the store has for this host's key. */
  const published = async () => {
    const { subnet } = (await statusOf(host)).lease;
    const key = `${PREFIX}/subnets/${subnet.replace('/', '-')}`;
    const entry = (await overlay.etcd.list(key)).find((one) => one.key === key);
    return (JSON.parse(entry!.value) as { PublicIP: string }).PublicIP;
  };
  const mtuOf = async (device: string) =>
    Number(/ mtu (\d+) /.exec(await show(host, `link show dev ${device}`))?.[1]);
  const moveTo = (next: string, before: string) =>
    host.ip(`addr del ${before}/24 dev ens33`, `addr add ${next}/24 dev ens33`);

  test('another MTU: the device, the lanes and subnet.env follow, and back', async () => {
    for (const [mtu, before] of [
      [1400, 1500],
      [1500, 1400],
    ] as const) {
      const from = weft.output.length;
      await host.ip(`link set ens33 mtu ${mtu}`);
      await eventually(
        async () => (await mtuOf('flannel.1')) === mtu - 50,
        () => weft.output,
      );
      await eventually(
        async () => host.read('/run/flannel/subnet.env')!.includes(`FLANNEL_MTU=${mtu - 50}\n`),
        () => weft.output,
      );
      await eventually(
        () => passes(...containers),
        () => weft.output,
      );
      await sleep(1_300);
      // The containers' own MTU is a finding, when it is looked at next.
      const said = toldSince(weft, from).filter((line) => !/docker0 has MTU/.test(line));
      assert.equal(said.length, 1, said.join('\n'));
      assert.match(
        said[0]!,
        new RegExp(
          `W .*underlay ens33: MTU ${mtu} \\(was ${before}\\), flannel\\.1 has ${mtu - 50}, ` +
            'containers keep theirs until they are started anew$',
        ),
      );
      const { device, underlay: now } = await statusOf(host);
      assert.deepEqual([device.mtu, now.mtu], [mtu - 50, mtu]);
      const df = ['ping', '-c', '1', '-W', '2', '-M', 'do', '-s', String(mtu - 50 - 28)];
      await host.run([...df, containers[1].address]);
    }
  });

  test('an MTU larger than at the start: packets of that size pass whole, both ways', async () => {
    const grown = async (mtu: number) => {
      const ports = ['net0', 'host1', 'host2'].map((port) => `link set ${port} mtu ${mtu}\n`);
      await run(['ip', '-batch', '-'], { input: ports.join('') });
      for (const one of overlay.hosts) await one.ip(`link set ens33 mtu ${mtu}`);
      for (const one of overlay.hosts) {
        await eventually(
          async () => (await statusOf(one)).device.mtu === mtu - 50,
          () => weft.output,
        );
      }
    };
    await grown(9000);
    const [here, there] = await Promise.all(overlay.hosts.map(statusOf));
    const own = (status: typeof here) => status!.device.address.split('/')[0]!;
    const large = ['ping', '-c', '1', '-W', '1', '-M', 'do', '-s', String(8950 - 28)];
    for (const [from, to] of [
      [overlay.hosts[0], own(there)],
      [overlay.hosts[1], own(here)],
    ] as const) {
      await eventually(
        async () => (await from.run([...large, to], { mayFail: true })).code === 0,
        () => weft.output,
        15_000,
      );
    }
    await grown(1500);
    await eventually(
      () => passes(...containers),
      () => weft.output,
    );
  });

  test('another address: sockets, lease and peers follow; there and back', async () => {
    for (const [next, before] of [
      [OTHER, OWN],
      [OWN, OTHER],
    ] as const) {
      const peerSaid = peer.output.length;
      const isAt = async (address: string) =>
        (await underlay()).address === address && (await published()) === address;
      const from = weft.output.length;
      await moveTo(next, before);
      await eventually(
        () => isAt(next),
        () => weft.output.slice(from),
      );
      await eventually(
        () => passes(...containers),
        () => weft.output.slice(from),
      );
      await ping(containers[1], containers[0]);
      await sleep(1_300);
      // On a slow machine the old address is gone for long enough to be told of its own.
      const said = toldSince(weft, from).filter((line) => !/nothing can be sent/.test(line));
      assert.equal(said.filter((line) => line.startsWith('W ')).length, 1, said.join('\n'));
      assert.match(
        said.join('\n'),
        new RegExp(`underlay ens33: address ${next} \\(was ${before}\\), moved there, the other`),
      );
      assert.match(said.at(-1)!, new RegExp(`our lease .* has the public IP ${next} now$`));
      assert.match(peer.output.slice(peerSaid), new RegExp(`peer changed: .* at ${next}`));
      const udp = (await host.run(['ss', '-Hlun'])).stdout;
      assert.doesNotMatch(udp, new RegExp(`${before}:8472`));
    }
  });

  test('the address gone for a while: waits, says so once, goes on when it is back', async () => {
    const from = weft.output.length;
    await host.ip(`addr del ${OWN}/24 dev ens33`);
    await sleep(200);
    await host.ip(`addr add ${OWN}/24 dev ens33`);
    await eventually(
      () => passes(...containers),
      () => weft.output,
    );
    await sleep(2_000);
    assert.deepEqual(toldSince(weft, from), []);

    await host.ip(`addr del ${OWN}/24 dev ens33`);
    await weft.waitFor(/W .*underlay address 192\.168\.56\.11 is gone from ens33; waiting/, 15_000);
    await host.ip('addr add 169.254.9.9/16 dev ens33');
    await sleep(4_000);
    assert.match((await statusOf(host)).faults.join(), /is gone from ens33/);
    await host.ip('addr del 169.254.9.9/16 dev ens33', `addr add ${OWN}/24 dev ens33`);
    await weft.waitFor(/over: .*underlay address 192\.168\.56\.11 is gone/, 60_000);
    await eventually(
      () => passes(...containers),
      () => weft.output,
    );
    assert.equal(weft.output.slice(from).match(/W .*is gone/g)!.length, 1);
    assert.deepEqual((await statusOf(host)).faults, []);
    assert.equal(await published(), OWN);
  });

  test('the address on a bridge over the interface: weft stays with it', async () => {
    await host.ip(
      'link add br9 type bridge',
      'link set br9 up',
      'link set ens33 master br9',
      `addr del ${OWN}/24 dev ens33`,
      `addr add ${OWN}/24 dev br9`,
    );
    await weft.waitFor(/W .*underlay br9: br9 in place of ens33/, 60_000);
    await eventually(
      () => passes(...containers),
      () => weft.output,
    );
    assert.equal((await underlay()).interface, 'br9');
    await host.ip(
      `addr del ${OWN}/24 dev br9`,
      'link set ens33 nomaster',
      'link del br9',
      `addr add ${OWN}/24 dev ens33`,
    );
    await weft.waitFor(/W .*underlay ens33: ens33 in place of br9/, 60_000);
    await eventually(
      () => passes(...containers),
      () => weft.output,
    );
  });

  test('the device deleted while the address moves: both are put right', async () => {
    await host.ip(
      `addr del ${OWN}/24 dev ens33`,
      `addr add ${OTHER}/24 dev ens33`,
      'link delete flannel.1',
    );
    await eventually(
      async () => (await underlay()).address === OTHER,
      () => weft.output,
    );
    await eventually(
      () => passes(...containers),
      () => weft.output,
    );
    await eventually(
      () => passes(containers[1], containers[0]),
      () => weft.output,
    );
    await moveTo(OWN, OTHER);
    await eventually(
      async () => (await published()) === OWN,
      () => weft.output,
    );
    await eventually(
      () => passes(...containers),
      () => weft.output,
    );
  });

  test('who named the address waits for it; behind a NAT the public IP stays', async () => {
    assert.equal(await weft.stop(), 0);
    const flags = weftFlags(overlay.etcd).filter((flag) => !flag.startsWith('-iface'));
    weft = host.weft(...flags, `-public-ip=${OWN}`);
    await weft.waitFor(/ready: flannel/, 60_000);
    await moveTo(OTHER, OWN);
    await weft.waitFor(/W .*underlay address 192\.168\.56\.11 is gone/, 60_000);
    await sleep(3_000);
    assert.equal(await published(), OWN);
    await moveTo(OWN, OTHER);
    await weft.waitFor(/over: .*underlay address 192\.168\.56\.11 is gone/, 60_000);
    await eventually(
      () => passes(...containers),
      () => weft.output,
    );

    assert.equal(await weft.stop(), 0);
    // With all threads that there can be, too.
    const threads = ['-lanes=2', '-lane-threads=2'];
    weft = await startWeft(host, overlay.etcd, `-public-ip=${OWN}`, ...threads);
    await moveTo(OTHER, OWN);
    await weft.waitFor(/underlay ens33: address 192\.168\.56\.33 .*, moved there$/m, 60_000);
    assert.equal(await published(), OWN);
    await moveTo(OWN, OTHER);
    await eventually(
      async () => (await underlay()).address === OWN,
      () => weft.output,
    );
    await eventually(
      () => passes(...containers),
      () => weft.output,
    );
  });

  test('told to stop in the middle of a move: ends in order', async () => {
    await moveTo(OTHER, OWN);
    await sleep(1_150);
    assert.equal(await weft.stop(), 0);
    assert.match(weft.output, /I \S+ stopped\n$/);
    assert.equal(await show(host, 'link show flannel.1'), '');
  });
});
