/** What the host's own queues lose is found while they lose it. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { run } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import type { Finding } from '../../src/operate/findings/finding.js';
import { finds } from './findings.js';
import { type Overlay, openOverlay, ping, TRAFFIC } from './overlay.js';
import { statusOf } from './spoil.js';

const lacks = labLacks({ programs: ['ping', 'etcd', 'ethtool', 'nft', 'tc'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('queues that lose', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let overlay: Overlay;

  before(async () => {
    // The plain wire: what fills a buffer are single datagrams.
    overlay = await openOverlay(['weft', 'weft'], false);
    await ping(overlay.containers[0], overlay.containers[1]);
  });
  after(() => overlay?.close());

  /** Sends datagrams from xbox1 to xbox2, where nobody need listen. */
  const pace = (rate: number, seconds: number) => {
    const [from, to] = overlay.containers;
    const argv = [process.execPath, TRAFFIC, 'udp-pace', to.address, '40060'];
    return from.run([...argv, String(rate), String(seconds)]);
  };
  /** What weft on a host finds until `work` is done and a while more: each finding once. */
  const seen = async (host: 0 | 1, work: () => Promise<unknown>): Promise<Map<string, Finding>> => {
    const all = new Map<string, Finding>();
    let end = Number.POSITIVE_INFINITY;
    const done = work().then(() => {
      end = performance.now() + 4_500;
    });
    while (performance.now() < end) {
      const { findings } = await statusOf(overlay.hosts[host]);
      for (const one of findings) if (one.severity !== 'note') all.set(one.code, one);
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
    await done;
    return all;
  };
  const stopped = (host: 0 | 1, work: () => Promise<unknown>) => async () => {
    overlay.wefts[host]!.kill('SIGSTOP');
    try {
      await work();
    } finally {
      overlay.wefts[host]!.kill('SIGCONT');
    }
  };

  test('wrong checksums: an error, though not one that makes this host broken', async () => {
    const [, host] = overlay.hosts;
    // On the wire, by the switch's port.
    const rules =
      'table netdev wrong { chain in { type filter hook ingress device "host1" priority 0; ' +
      'udp dport 8472 udp checksum set 0xdead; }; }';
    await run(['nft', '-f', '-'], { input: rules });
    const found = await seen(1, () => pace(200, 8));
    assert.deepEqual([...found.keys()], ['csum-errors']);
    const { severity, scope, text, cure } = found.get('csum-errors')!;
    assert.deepEqual([severity, scope], ['error', 'peer']);
    assert.match(text, /^\d+ datagrams a second come in with a wrong checksum and are dropped/);
    assert.match(cure, /^ethtool -K ens33 rx off/);
    await run(['nft', 'delete', 'table', 'netdev', 'wrong']);
    await finds(host, []);
  });

  test('a receive buffer that is not read', async () => {
    const found = await seen(
      1,
      stopped(1, () => pace(15_000, 2)),
    );
    assert.deepEqual([...found.keys()], ['udp-rcvbuf']);
    assert.equal(found.get('udp-rcvbuf')!.severity, 'warning');
    await finds(overlay.hosts[1], []);
  });

  test("the TUN's queue that is not read", async () => {
    const found = await seen(
      0,
      stopped(0, () => pace(8_000, 2)),
    );
    assert.deepEqual([...found.keys()], ['tun-queue']);
    assert.match(found.get('tun-queue')!.text, /before weft: the queue of flannel\.1 is full/);
    await finds(overlay.hosts[0], []);
  });

  test('a queue of the underlay that is full', async () => {
    const [host] = overlay.hosts;
    const shaper = 'root tbf rate 5mbit burst 10kb limit 15kb'.split(' ');
    await host.run(['tc', 'qdisc', 'replace', 'dev', 'ens33', ...shaper]);
    const found = await seen(0, () => pace(5_000, 6));
    await host.run(['tc', 'qdisc', 'delete', 'dev', 'ens33', 'root']);
    assert.deepEqual([...found.keys()], ['send-queue-full']);
    assert.match(found.get('send-queue-full')!.cure, /^tc -s qdisc show dev ens33/);
    await finds(host, []);
  });
});
