/**
 * What weft takes off the wire, beside a kernel VXLAN peer with offloads on: frames with bytes behind
 * the packet, frames whose length lies, merged by the kernel or not; and whose packets it lets in.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Running } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Namespace } from '../../src/lab/namespace.js';
import type { Status } from '../../src/operate/status/status.js';
import {
  concat,
  frame,
  leavePartial,
  put16,
  seal,
  udpPacket,
} from '../dataplane/forward/packets.js';
import { type Overlay, openOverlay, PREFIX, ping, startWeft, TRAFFIC } from './overlay.js';
import { eventually, statusOf } from './spoil.js';

const lacks = labLacks({ programs: ['ping', 'etcd', 'ethtool', 'bridge', 'iptables'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const TOOL = fileURLToPath(new URL('./tools/frames.js', import.meta.url));
const PORT = 40020;
/** A third host's lease. */
const THIRD = { subnet: '10.10.177.0/24', mac: '02:00:00:00:77:00' };

describe('what weft takes off the wire', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let overlay: Overlay;
  let third: Host;
  let stranger: Host;
  let weft: Running;
  /** On the host of weft, and the kernel peer's MAC. */
  let mac: number[];

  const status = (): Promise<Status> => statusOf(overlay.hosts[1]);
  const bytesOf = (text: string): number[] => text.split(':').map((byte) => Number(`0x${byte}`));

  before(async () => {
    overlay = await openOverlay(['kernel', 'weft'], true);
    const network = overlay.lab.networks[0]!;
    third = await network.host('host3', { address: '192.168.56.13/24' });
    stranger = await network.host('host4', { address: '192.168.56.14/24' });
    [weft] = overlay.wefts as [Running];
    mac = bytesOf((await status()).lease.vtepMac);
    await ping(...overlay.containers);
  });
  after(() => overlay?.close());

  const ours = (): string => overlay.containers[1].address;
  const theirs = (): string => overlay.containers[0].address;

  /** A UDP datagram of so many bytes to the container behind weft, unless told. */
  const datagram = (size: number, fields: { source?: string; destination?: string } = {}) =>
    udpPacket({
      source: theirs(),
      destination: ours(),
      destinationPort: PORT,
      payload: new Uint8Array(size).fill(size & 0xff),
      ...fields,
    });
  const framed = (packet: Uint8Array, size = 0): Uint8Array => {
    const one = frame(packet, { to: mac, from: [2, 0, 0, 0, 0, 0x77] });
    return size === 0 ? one : concat([one, new Uint8Array(size - one.length).fill(0xee)]);
  };
  const send = (from: Namespace, payload: Uint8Array, segment = 0): Promise<unknown> =>
    from.run([
      ...[process.execPath, TOOL, 'send', overlay.hosts[1].address, '8472', String(segment)],
      Buffer.from(payload).toString('hex'),
    ]);

  /** Sends, and gives the sizes that the container sees, the reasons counted, the receives. */
  async function exchange(from: Namespace, payload: Uint8Array, segment = 0, to?: Namespace) {
    const receiver = (to ?? overlay.containers[1]).start([
      ...[process.execPath, TOOL, 'receive', String(PORT)],
    ]);
    await receiver.waitFor(/listening/, 60_000);
    const before = await status();
    const packets = segment === 0 ? 1 : Math.ceil(payload.length / segment);
    await send(from, payload, segment);
    let now = before;
    const counted = (): number =>
      now.counters.inbound_in_packets - before.counters.inbound_in_packets;
    await eventually(
      async () => {
        now = await status();
        return counted() >= 1;
      },
      () => `nothing came: ${counted()} of ${packets}`,
    );
    await sleep(150);
    await receiver.stop();
    const drops: Record<string, number> = {};
    for (const [reason, count] of Object.entries(now.drops)) {
      const more = count - (before.drops[reason as keyof Status['drops']] ?? 0);
      if (more > 0) drops[reason] = more;
    }
    const sizes = [...receiver.output.matchAll(/^(\d+) [0-9a-f]+$/gm)].map(([, n]) => Number(n));
    return { sizes, drops, receives: now.counters.receives - before.counters.receives };
  }

  test('frames with bytes behind their packets, merged by the kernel: each is cut', async () => {
    const [peer] = overlay.hosts;
    for (const size of [158, 200, 1472]) {
      const train = concat([100, 100, 90, 100].map((n) => framed(datagram(n), size)));
      const { sizes, drops, receives } = await exchange(peer, train, size);
      assert.deepEqual(sizes, [100, 100, 90, 100]);
      assert.deepEqual(drops, {});
      assert.equal(receives, 1, 'it came as one');
    }
    const alone = await exchange(peer, framed(datagram(100), 700));
    assert.deepEqual([alone.sizes, alone.drops], [[100], {}]);
  });

  test('a length that lies costs its own frame, and swallows none beside it', async () => {
    const good = framed(datagram(300));
    const lie = good.slice();
    put16(lie, 22 + 2, 2 * good.length - 22);
    seal(lie.subarray(22));
    const two = await exchange(overlay.hosts[0], concat([lie, good, good]), good.length);
    assert.deepEqual(two, { sizes: [300, 300], drops: { wrong_length: 1 }, receives: 1 });

    // A lie in all that a kernel's unsegmented packet has: taken for neither.
    const forged = concat([good, good]);
    put16(forged, 22 + 2, forged.length - 22);
    put16(forged, 22 + 24, forged.length - 42);
    leavePartial(seal(forged.subarray(22)));
    const both = await exchange(overlay.hosts[0], forged, good.length);
    assert.deepEqual(both, { sizes: [], drops: { wrong_length: 1 }, receives: 1 });
  });

  test('a UDP super-packet of the kernel peer arrives as its datagrams, long or short', async () => {
    const [from, to] = overlay.containers;
    for (const [size, total] of [
      [200, 1000],
      [200, 1001],
      [7, 20],
      [1400, 14_000],
    ] as const) {
      const count = Math.ceil(total / size);
      const receiver = to.start([
        ...[process.execPath, TRAFFIC, 'udp-count', '40021', String(count)],
      ]);
      await receiver.waitFor(/listening/, 60_000);
      const before = (await status()).counters.inbound_in_packets;
      await from.run([
        ...[process.execPath, TRAFFIC, 'udp-gso', to.address, '40021', String(size)],
        String(total),
      ]);
      const [, arrived] = await receiver.waitFor(/^([\d,]+ \w+)$/m, 60_000);
      const sizes = Array.from({ length: count }, (_, i) => Math.min(size, total - i * size));
      assert.equal(arrived, `${sizes.join(',')} right`);
      const came = (await status()).counters.inbound_in_packets - before;
      assert.equal(came, 1, 'the kernel left it in one piece');
    }
  });

  test('weft does not relay what a peer sends to somebody else', async () => {
    const [peer] = overlay.hosts;
    for (const destination of [third.address, '8.8.8.8', '169.254.169.254', theirs()]) {
      const { sizes, drops } = await exchange(peer, framed(datagram(50, { destination })));
      assert.deepEqual([sizes, drops], [[], { not_for_us: 1 }], destination);
    }
  });

  test("a container of the kernel peer's cannot send as another host's, tunnel or not", async () => {
    const [host] = overlay.hosts;
    const [container] = overlay.containers;
    await overlay.etcd.register(PREFIX, { ...THIRD, publicIp: third.address });
    await eventually(
      async () => (await status()).peers.length === 2,
      () => 'no third peer',
    );
    await host.run(
      ['iptables', '-w', '-t', 'nat', '-A', 'POSTROUTING', '-o', 'ens33'].concat([
        ...['-j', 'MASQUERADE'],
      ]),
    );
    try {
      const forged = framed(datagram(50, { source: '10.10.177.9' }));
      const { sizes, drops } = await exchange(container, forged);
      assert.deepEqual([sizes, drops], [[], { foreign_source: 1 }]);
      const own = await exchange(third, forged);
      assert.deepEqual([own.sizes, own.drops], [[50], {}], 'from the host that has that subnet');
    } finally {
      await host.run(['iptables', '-w', '-t', 'nat', '-F']);
    }
  });

  test('who is refused is told with its address, and what came from each peer', async () => {
    const { sizes, drops } = await exchange(stranger, framed(datagram(50)));
    assert.deepEqual([sizes, drops], [[], { unknown_sender: 1 }]);
    const now = await status();
    assert.equal(now.strangers.length, 1);
    assert.equal(now.strangers[0]!.address, stranger.address);
    assert.equal(now.strangers[0]!.packets, 1);
    assert.ok(now.strangers[0]!.secondsAgo < 30);
    const heard = now.peers.map(({ publicIp, seen }) => [publicIp, seen.receivedPackets > 0]);
    assert.deepEqual(
      heard.sort(),
      [
        [overlay.hosts[0].address, true],
        [third.address, true],
      ].sort(),
    );
    const { stdout } = await overlay.hosts[1].run([process.execPath, WEFT, 'status'], {
      mayFail: true,
    });
    assert.match(stdout, /unknown_sender +1 {2}last: 192\.168\.56\.14 \(1, \d+ s ago\)$/m);
    assert.match(stdout, /^ +10\.10\.177\.0\/24 +192\.168\.56\.13 .* \d+ s ago$/m);
    for (const line of stdout.split('\n')) assert.ok(line.length <= 110, line);
  });

  test('-accept=strict: only what the sender has', async () => {
    await restart('-accept=strict');
    const [peer] = overlay.hosts;
    const own = await exchange(peer, framed(datagram(50)));
    assert.deepEqual([own.sizes, own.drops], [[50], {}]);
    const nobody = await exchange(peer, framed(datagram(50, { source: '192.0.2.9' })));
    assert.deepEqual([nobody.sizes, nobody.drops], [[], { foreign_source: 1 }]);
    await ping(...overlay.containers);
  });

  test('-accept=any: what the kernel takes, and it relays as the kernel does', async () => {
    await restart('-accept=any');
    const destination = third.address;
    const packet = framed(datagram(50, { destination }));
    const relayed = await exchange(overlay.hosts[0], packet, 0, third);
    assert.deepEqual([relayed.sizes, relayed.drops], [[50], {}]);
    const { sizes, drops } = await exchange(stranger, framed(datagram(60)));
    assert.deepEqual([sizes, drops], [[60], {}]);
    assert.deepEqual((await status()).strangers, []);
    assert.equal((await status()).accept, 'any');
  });

  async function restart(flag: string): Promise<void> {
    await weft.stop();
    weft = await startWeft(overlay.hosts[1], overlay.etcd, flag);
    await eventually(
      async () => (await status()).peers.length === 2,
      () => 'no peers',
    );
  }
});
