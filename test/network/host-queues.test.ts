/**
 * Loss in the queues of the host itself, which no lane can count: weft's status tells of each.
 *
 *   xbox1 ─ host1 (weft) ═ switch, etcd ═ host2 (weft) ─ xbox2
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { HostCounters } from '../../src/operate/status/host.js';
import type { Status } from '../../src/operate/status/status.js';
import { until } from '../control/fakes.js';
import { type Overlay, openOverlay, pathMtu, ping, TRAFFIC } from './overlay.js';
import { statusOf } from './spoil.js';

const lacks = labLacks({ programs: ['ping', 'etcd', 'ethtool', 'nft', 'tc'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const PORT = '40060';

describe("the host's own queues", { skip: lacks ?? false, timeout: 600_000 }, () => {
  let overlay: Overlay;

  before(async () => {
    // The plain wire: what fills a buffer are single datagrams.
    overlay = await openOverlay(['weft', 'weft'], false);
    await ping(overlay.containers[0], overlay.containers[1]);
  });
  after(() => overlay?.close());

  const status = async (host: 0 | 1): Promise<Status> => {
    return await statusOf(overlay.hosts[host]);
  };
  const text = async (host: 0 | 1): Promise<string> =>
    (await overlay.hosts[host].run([process.execPath, WEFT, 'status'], { mayFail: true })).stdout;
  /** What was lost on a host since `before`. */
  const since = async (host: 0 | 1, before: HostCounters): Promise<HostCounters> => {
    const now = (await status(host)).host;
    const names = Object.keys(now) as (keyof HostCounters)[];
    return Object.fromEntries(names.map((name) => [name, now[name] - before[name]])) as never;
  };
  /** Sends datagrams from xbox1 to xbox2, where nobody need listen; returns how many. */
  const pace = async (rate: number, seconds: number): Promise<number> => {
    const [from, to] = overlay.containers;
    const argv = [process.execPath, TRAFFIC, 'udp-pace', to.address, PORT];
    return Number((await from.run([...argv, String(rate), String(seconds)])).stdout);
  };
  const stopped = async (host: 0 | 1, work: () => Promise<unknown>): Promise<void> => {
    overlay.wefts[host]!.kill('SIGSTOP');
    try {
      await work();
    } finally {
      overlay.wefts[host]!.kill('SIGCONT');
    }
  };

  test('on a host where nothing is lost, nothing is told', async () => {
    for (const host of [0, 1] as const) {
      assert.doesNotMatch(await text(host), /^host/m);
    }
  });

  /** The underlay of host1 at 5 Mb/s with this queue, and ten times as much sent into the tunnel. */
  const throughShaper = async (limit: string) => {
    const before = await status(0);
    const [host] = overlay.hosts;
    const shaper = `root tbf rate 5mbit burst 10kb limit ${limit}`.split(' ');
    await host.run(['tc', 'qdisc', 'replace', 'dev', 'ens33', ...shaper]);
    const sent = await pace(5_000, 2);
    const now = await status(0);
    const told = await text(0);
    await host.run(['tc', 'qdisc', 'delete', 'dev', 'ens33', 'root']);
    const left = now.counters.outbound_out_packets - before.counters.outbound_out_packets;
    const full = (now.drops.send_peer_full ?? 0) - (before.drops.send_peer_full ?? 0);
    return { sent, left, full, lost: await since(0, before.host), told };
  };

  test('a queue shorter than the send buffer: counted as sent, and told', async (t) => {
    const { sent, left, full, lost, told } = await throughShaper('15kb');
    t.diagnostic(`${sent} sent, ${left} counted so, ${full} full, ${JSON.stringify(lost)}`);
    assert.ok(lost.udpSndbufErrors > 100 && lost.ipOutDiscards > 100, JSON.stringify(lost));
    assert.equal(full, 0, 'the socket itself said nothing');
    assert.ok(left >= sent);
    assert.match(
      told,
      /^host .* sends, .* full queue of ens33 or a full send buffer\n.*tc -s qdisc/m,
    );
    assert.match(told, /^host .* packets dropped on their way out: a full queue or buffer/m);
  });

  test('a queue longer than the send buffer: send_peer_full, and told', async (t) => {
    const { sent, left, full, lost, told } = await throughShaper('8mb');
    t.diagnostic(`${sent} sent, ${left} counted so, ${full} full, ${JSON.stringify(lost)}`);
    assert.ok(full > 100, `${full}`);
    assert.ok(left + full >= sent);
    assert.match(told, /^ +send_peer_full/m);
  });

  test('a receive buffer that is not read', async () => {
    const { host: before } = await status(1);
    await stopped(1, () => pace(15_000, 2));
    const lost = await since(1, before);
    assert.ok(lost.udpRcvbufErrors > 100, JSON.stringify(lost));
    assert.equal((await status(1)).kernelUdp.bufferFull, (await status(1)).host.udpRcvbufErrors);
    assert.match(
      await text(1),
      /^host .* datagrams lost: receive buffer full\n.*not read in time/m,
    );
  });

  test("the TUN's own queue, and that of the TUN made anew", async () => {
    const { host: before } = await status(0);
    const flood = () => stopped(0, () => pace(6_000, 2));
    const drops = async () => (await since(0, before)).tunTxDrops;
    await flood();
    // What is looked at each second, asked or not, stays known when the device goes.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    await overlay.hosts[0].ip('link delete flannel.1');
    await overlay.wefts[0]!.waitFor(/put right: flannel\.1 was gone/, 60_000);
    const first = await drops();
    assert.ok(first > 100, `${first}`);
    assert.match(
      await text(0),
      /^host .* packets lost before weft: the queue of flannel\.1 was full/m,
    );
    await flood();
    const second = await drops();
    assert.ok(second > first + 100, `${first}, then ${second}`);
  });

  test('a fragment that is lost', async () => {
    const [first, second] = overlay.hosts;
    await second.sysctl('net.ipv4.ipfrag_time=1');
    const rules =
      'table ip lost { chain early { type filter hook prerouting priority -450; ' +
      'ip frag-off & 0x1fff != 0 drop; }; }';
    await second.run(['nft', '-f', '-'], { input: rules });
    const { host: before } = await status(1);
    const sizes = '3000,3000,3000,3000';
    await first.run([process.execPath, TRAFFIC, 'udp-no-sum', second.address, '8472', sizes]);
    const end = Date.now() + 10_000;
    const fails = async () => (await since(1, before)).ipReasmFails;
    while ((await fails()) < 4 && Date.now() < end) await new Promise((r) => setTimeout(r, 200));
    assert.equal(await fails(), 4);
    assert.match(await text(1), /^host .* packets lost: not all of their fragments came/m);
  });

  test('a packet that may not be cut is told to its sender, and of', async () => {
    const { host: before } = await status(0);
    // The device was made anew shortly before: until a ping passes, others may fail.
    await until(() =>
      ping(overlay.containers[0], overlay.containers[1]).then(
        () => true,
        () => false,
      ),
    );
    await pathMtu(overlay.containers[0], overlay.containers[1]);
    assert.ok((await since(0, before)).ipFragFails > 0);
    assert.match(
      await text(0),
      /^host .* packets longer than their next link that may not be cut/m,
    );
  });
});
