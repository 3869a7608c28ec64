/**
 * Wefts of several lanes and threads, with each other, with wefts of one lane and with the
 * kernel's VXLAN: everything arrives, no flow is reordered, all lanes carry packets.
 *
 *   xbox1 ─ host1 (weft) ═╗
 *   xbox2 ─ host2 (weft) ═╬═ switch, etcd
 *   xbox3 ─ host3 (kernel)╝
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadNative } from '../../src/dataplane/io/native.js';
import { TIERS } from '../../src/dataplane/io/tiers.js';
import { openTun } from '../../src/dataplane/io/tun.js';
import type { Running } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import type { KernelPeer } from '../../src/lab/kernel-peer.js';
import { Lab } from '../../src/lab/lab.js';
import type { Status } from '../../src/operate/status/status.js';
import {
  CONFIG,
  checksumErrors,
  NO_PROBES,
  PREFIX,
  ping,
  startWeft,
  weftFlags,
} from './overlay.js';
import { statusOf, toldSince } from './spoil.js';
import type { Seen } from './tools/flows.js';

const FLOWS = fileURLToPath(new URL('./tools/flows.js', import.meta.url));
const PORT = 40020;
const CONNECTIONS = 16;
const BYTES = 1_000_000;
const SOURCES = 12;
const COUNT = 500;
/** Some in fragments. A kernel peer sends those of one flow from another port than the rest. */
const MIXED = '600,600,600,2500';
const EQUAL = '600';

let lacks = labLacks({ programs: ['ping', 'etcd', 'ethtool', 'bridge'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());
if (lacks === undefined) {
  try {
    for (const queue of openTun('probe0', TIERS.segment, 2).queues) loadNative().close(queue);
  } catch (error) {
    lacks = `needs a TUN whose queues can be steered: ${error}`;
  }
}

describe('lanes', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let hosts: [Host, Host, Host];
  let boxes: [Container, Container, Container];
  let peer: KernelPeer;
  const wefts: (Running | undefined)[] = [];

  /** Starts the weft of host 0 or 1 with these flags, in place of the one that runs. */
  const restart = async (host: 0 | 1, ...flags: string[]): Promise<Running> => {
    await wefts[host]?.stop();
    const weft = await startWeft(hosts[host], etcd, NO_PROBES, ...flags);
    wefts[host] = weft;
    for (const other of await etcd.peers(PREFIX)) {
      if (other.publicIp !== peer.publicIp) await peer.addPeer(other);
    }
    return weft;
  };
  const status = async (host: 0 | 1): Promise<Status> => statusOf(hosts[host]);

  /** Further addresses of a container: flows are steered by address. */
  const sources = (box: Container): string[] =>
    Array.from({ length: SOURCES }, (_, i) => box.address.replace(/\d+$/, String(100 + i)));

  before(async () => {
    lab = await Lab.open();
    const network = await lab.network();
    etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    const host = (i: number) =>
      network.host(`host${i}`, { address: `192.168.56.${10 + i}/24`, offloads: true });
    hosts = [await host(1), await host(2), await host(3)];
    peer = await hosts[2].kernelPeer({ subnet: '10.10.203.0/24' });
    await etcd.register(PREFIX, peer);
    await restart(0, '-lanes=2');
    await restart(1, '-lanes=2');
    const box = async (i: 0 | 1 | 2) => {
      const made = await hosts[i].container(`xbox${i + 1}`);
      await made.ip(...sources(made).map((address) => `address add ${address}/24 dev eth0`));
      return made;
    };
    boxes = [await box(0), await box(1), await box(2)];
  });
  after(() => lab?.close());

  /** All at once, both ways; every connection whole, every flow in order. */
  const exchange = async (
    from: Container,
    to: Container,
    sizes: readonly [string, string],
  ): Promise<void> => {
    const ends = [from, to] as const;
    const receivers = ends.map((box) =>
      box.start([process.execPath, FLOWS, 'receive', ...[PORT, CONNECTIONS, SOURCES].map(String)]),
    );
    for (const receiver of receivers) await receiver.waitFor(/listening/, 60_000);
    const sent = await Promise.all(
      ends.map((box, i) => {
        const args = [ends[1 - i]!.address, PORT, CONNECTIONS, BYTES, sources(box), COUNT];
        const send = [process.execPath, FLOWS, 'send', ...args.map(String), sizes[i]!];
        return box.run(send, { timeout: 30_000 });
      }),
    );
    for (const [i, receiver] of receivers.entries()) {
      const [line] = await receiver.waitFor(/^\{.*\}$/m, 60_000);
      const got: Seen = JSON.parse(line);
      const gave: Seen = JSON.parse(sent[1 - i]!.stdout);
      assert.deepEqual(got.connections, gave.connections);
      // A receiver that is slow loses some; those that came tell the order.
      const seen = `${got.datagrams} of ${gave.datagrams}`;
      console.log(`# ${seen} datagrams, ${got.reordered} reordered`);
      assert.equal(got.reordered, 0, seen);
      assert.ok(got.datagrams > 0.1 * gave.datagrams, seen);
    }
  };

  /** What a weft counted must add up, and each lane have had some of it. */
  const checkLanes = async (host: 0 | 1, lanes: number, threads: number): Promise<void> => {
    for (const lane of (await checkCounts(host, lanes, threads)).lanes) {
      assert.ok(lane.outboundPackets > 200 && lane.inboundPackets > 200, JSON.stringify(lane));
    }
  };

  const checkCounts = async (host: 0 | 1, lanes: number, threads: number): Promise<Status> => {
    const now = await status(host);
    assert.equal(now.lanes.length, lanes);
    assert.equal(now.laneThreads, threads);
    const { counters } = now;
    assert.ok(now.lanes.every(({ running }) => running));
    assert.deepEqual(now.drops, {});
    assert.equal(counters.outbound_in_packets, counters.outbound_out_packets);
    assert.equal(counters.inbound_in_packets, counters.inbound_out_packets);
    const total = now.lanes.reduce((sum, lane) => sum + lane.outboundPackets, 0);
    assert.equal(total, counters.outbound_in_packets);
    return now;
  };

  test('two lanes with two lanes', async () => {
    await ping(boxes[0], boxes[1]);
    await exchange(boxes[0], boxes[1], [MIXED, MIXED]);
    await checkLanes(0, 2, 1);
    await checkLanes(1, 2, 1);
    assert.match(wefts[0]!.output, /ready: .* lanes 2, /);
  });

  test('between two lanes and two lanes a flow is in the same lane both ways', async () => {
    const counts = async () =>
      (await Promise.all([status(0), status(1)])).flatMap(({ lanes }) => [
        lanes.map((lane) => lane.outboundPackets),
        lanes.map((lane) => lane.inboundPackets),
      ]);
    const used = new Set<number>();
    for (const source of sources(boxes[0]).slice(0, 6)) {
      const first = await counts();
      await boxes[0].run(['ping', '-c', '40', '-i', '0.002', '-I', source, boxes[1].address]);
      const grown = (await counts()).map((row, i) => row.map((n, lane) => n - first[i]![lane]!));
      // On a busy machine some of them come too late to be counted.
      const lane = grown[0]!.findIndex((packets) => packets >= 30);
      for (const row of grown) assert.ok(row[lane]! >= 30 && row[1 - lane]! < 10, `${grown}`);
      used.add(lane);
    }
    assert.ok(used.size > 0);
  });

  test('two lanes with the kernel', async () => {
    await ping(boxes[0], boxes[2]);
    await exchange(boxes[0], boxes[2], [MIXED, EQUAL]);
    await checkLanes(0, 2, 1);
  });

  test('two lanes with one lane', async () => {
    await restart(1, '-lanes=1');
    await ping(boxes[0], boxes[1]);
    await exchange(boxes[0], boxes[1], [MIXED, MIXED]);
    await checkLanes(1, 1, 1);
  });

  test('one lane of two threads with the kernel', async () => {
    const weft = await restart(0, '-lanes=1', '-lane-threads=2');
    assert.match(weft.output, /ready: .* lanes 1, 2 threads each, /);
    await ping(boxes[0], boxes[2]);
    await exchange(boxes[0], boxes[2], [MIXED, EQUAL]);
    await checkLanes(0, 1, 2);
  });

  test('two lanes of two threads with one lane', async () => {
    await restart(0, '-lanes=2', '-lane-threads=2');
    await ping(boxes[0], boxes[1]);
    await exchange(boxes[0], boxes[1], [MIXED, MIXED]);
    // A peer of one lane sends from one port, so all of it comes in by one lane.
    const { lanes } = await checkCounts(0, 2, 2);
    assert.ok(lanes.every(({ outboundPackets }) => outboundPackets > 200));
    assert.equal(lanes.filter(({ inboundPackets }) => inboundPackets > 200).length, 1);
  });

  test('where the kernel refuses to steer: one lane, and one warning', async (t) => {
    await wefts[1]!.stop();
    const [, host] = hosts;
    const less = ['setpriv', '--bounding-set=-sys_admin,-bpf', process.execPath, WEFT, 'up'];
    const weft = host.start([...less, ...weftFlags(etcd), NO_PROBES, '-lanes=4']);
    wefts[1] = weft;
    await weft.waitFor(/ready: /, 60_000);
    if (/ lanes 4, /.test(weft.output)) return t.skip('this kernel lets anybody load programs');
    const warnings = toldSince(weft).filter((line) => line.startsWith('W '));
    assert.equal(warnings.length, 1, weft.output);
    assert.match(
      warnings[0]!,
      /refuses what several lanes need \(bpf: .*EPERM.*\): one lane in place/,
    );
    assert.match(weft.output, /ready: .* lanes 1 \(the kernel refuses 4\), /);
    await ping(boxes[0], boxes[1]);
    await checkCounts(1, 1, 1);
  });

  test('a port that another has is refused to several lanes as to one', async () => {
    await wefts[1]!.stop();
    const [, host] = hosts;
    const holder = host.start([
      process.execPath,
      '-e',
      "require('dgram').createSocket({ type: 'udp4', reusePort: true })" +
        ".bind(8472, () => console.log('bound'))",
    ]);
    await holder.waitFor(/bound/, 60_000);
    const weft = host.weft(...weftFlags(etcd), NO_PROBES, '-lanes=2');
    assert.equal(await weft.exited, 1);
    assert.match(weft.output, /^E .*UDP port 8472 on .* is in use by process \d+ \(node\)/m);
    await holder.stop();
  });

  test('no checksum was wrong', async () => {
    for (const space of [...hosts, ...boxes]) assert.equal(await checksumErrors(space), 0);
  });

  test('all threads are started again when the TUN goes, and end when told to', async () => {
    await restart(1, '-lanes=2', '-lane-threads=2');
    for (const i of [0, 1] as const) {
      await hosts[i].ip('link delete flannel.1');
      await wefts[i]?.waitFor(/put right: flannel\.1 was gone: made anew, and the lanes/, 60_000);
    }
    await exchange(boxes[0], boxes[1], [MIXED, MIXED]);
    for (const weft of wefts) assert.equal(await weft?.stop(), 0);
  });
});
