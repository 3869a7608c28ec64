/**
 * What weft says of peers that are broken beside one that is well, each in ten seconds, and of each
 * as soon that it is mended; with packets on their way there and without.
 *
 *   alpha (.11, weft) ══ switch ══ kernel (.12), weft (.13): these are broken; well (.14, kernel)
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import type { Running } from '../../src/lab/command.js';
import { enterLab } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import type { KernelPeer } from '../../src/lab/kernel-peer.js';
import { Lab } from '../../src/lab/lab.js';
import { leaseKey } from '../../src/lab/lease.js';
import type { PeerHealth, PeerState } from '../../src/operate/status/peer-health.js';
import type { Status } from '../../src/operate/status/status.js';
import { until } from '../control/fakes.js';
import { CONFIG, PREFIX, startWeft } from './overlay.js';
import { pathsLack } from './paths.js';
import { statusOf } from './spoil.js';

const lacks = await pathsLack();
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

/** For a fault to be told, and its end, weft promises 10 s; a machine that does much else takes longer. */
const SOON_MS = 25_000;
const KERNEL = '192.168.56.12';
const OTHER_WEFT = '192.168.56.13';
const WELL = '192.168.56.14';
const NOBODY = '192.168.56.77';

describe('the health of peers', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let alpha: Host;
  let weft: Host;
  let running: Running;
  const kernels = new Map<string, { host: Host; peer: KernelPeer }>();

  before(async () => {
    lab = await Lab.open();
    const network = await lab.network();
    etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    const host = (name: string, address: string) =>
      network.host(name, { address: `${address}/24` });
    for (const [i, address] of [KERNEL, WELL].entries()) {
      const one = await host(`kernel${i + 1}`, address);
      const peer = await one.kernelPeer({ subnet: `10.10.${200 + i}.0/24` });
      await etcd.register(PREFIX, peer);
      kernels.set(address, { host: one, peer });
    }
    alpha = await host('alpha', '192.168.56.11');
    weft = await host('weft2', OTHER_WEFT);
    await startWeft(alpha, etcd);
    running = await startWeft(weft, etcd);
    for (const other of await etcd.peers(PREFIX)) {
      for (const { peer } of kernels.values()) {
        if (other.publicIp !== peer.publicIp) await peer.addPeer(other);
      }
    }
  });
  after(() => lab?.close());

  const peers = async (): Promise<Status['peers']> => {
    return (await statusOf(alpha)).peers;
  };
  const healths = async (): Promise<Map<string, PeerHealth>> =>
    new Map((await peers()).map(({ publicIp, health }) => [publicIp, health]));

  /** Waits until the peer is so, and the others are as well as they were. */
  const becomes = async (
    publicIp: string,
    state: PeerState,
    words = /./,
    within = SOON_MS,
  ): Promise<number> => {
    const begun = performance.now();
    let last: PeerHealth | undefined;
    try {
      await until(async () => {
        last = (await healths()).get(publicIp);
        return last?.state === state && words.test(last.words);
      }, within);
    } catch {
      assert.fail(`${publicIp} wanted ${state} ${words}, is ${JSON.stringify(last)}`);
    }
    return Math.round(performance.now() - begun);
  };
  const well = async (): Promise<void> => {
    for (const address of [KERNEL, OTHER_WEFT, WELL]) await becomes(address, 'well');
  };
  const othersWell = async (but: string): Promise<void> => {
    for (const [address, { state, words }] of await healths()) {
      if (address !== but) assert.equal(state, 'well', `${address}: ${words}`);
    }
  };
  const hostOf = (address: string): Host => kernels.get(address)?.host ?? weft;
  /** A rule for what arrives there. */
  const drop = (address: string, rule: string) =>
    hostOf(address).run(['nft', '-f', '-'], {
      input: `add table inet shut
        add chain inet shut in { type filter hook prerouting priority -10; }
        add rule inet shut in ${rule}`,
    });
  /** The first address of its subnet. */
  const overlayOf = async (address: string): Promise<string> =>
    (await peers()).find(({ publicIp }) => publicIp === address)!.subnet.split('/')[0]!;
  /** Pings that go on while the work is done, from the host itself. */
  const withTraffic = async (to: string, work: () => Promise<void>): Promise<void> => {
    const pinging = alpha.start(['ping', '-q', '-i', '0.3', await overlayOf(to)]);
    try {
      await work();
    } finally {
      await pinging.stop();
    }
  };
  const quiet = async (_: string, work: () => Promise<void>): Promise<void> => work();

  test('all are well at once, and a ping took its time', async () => {
    await well();
    for (const { roundTripMs } of (await healths()).values()) assert.ok(roundTripMs! < 1000);
  });

  for (const [name, traffic] of [
    ['without traffic', quiet],
    ['with traffic', withTraffic],
  ] as const) {
    for (const [kind, address] of [
      ['a kernel peer', KERNEL],
      ['a weft', OTHER_WEFT],
    ] as const) {
      test(`UDP 8472 dropped at ${kind}, ${name}: filtered, the others well, and over soon`, async (t) => {
        const host = hostOf(address);
        const nft = (...lines: string[]) =>
          host.run(['nft', '-f', '-'], { input: lines.join('\n') });
        await traffic(address, async () => {
          await nft(
            'add table inet shut',
            'add chain inet shut in { type filter hook input priority -10; }',
            'add rule inet shut in udp dport 8472 drop',
          );
          const words = new RegExp(`^UDP 8472 is filtered between here and ${address}: underlay`);
          t.diagnostic(`told after ${await becomes(address, 'silent', words)} ms`);
          await othersWell(address);
          await nft('delete table inet shut');
          t.diagnostic(`over after ${await becomes(address, 'well')} ms`);
        });
      });

      test(`the link of ${kind} is down, ${name}: silent, then gone, and over soon`, async (t) => {
        const host = hostOf(address);
        await traffic(address, async () => {
          await host.ip('link set ens33 down');
          const begun = performance.now();
          await until(async () => {
            const state = (await healths()).get(address)?.state;
            return state === 'silent' || state === 'unreachable';
          }, SOON_MS);
          t.diagnostic(`told after ${Math.round(performance.now() - begun)} ms`);
          await becomes(address, 'unreachable', /no host has the address .*ARP/, 90_000);
          t.diagnostic(`sure after ${Math.round(performance.now() - begun)} ms`);
          await othersWell(address);
          await host.ip('link set ens33 up');
          t.diagnostic(`over after ${await becomes(address, 'well')} ms`);
        });
      });
    }

    test(`the weft of a peer is stopped, ${name}: refused, and over soon`, async (t) => {
      await traffic(OTHER_WEFT, async () => {
        await running.stop();
        const words = /^nothing listens on UDP 8472 at 192\.168\.56\.13/;
        t.diagnostic(`told after ${await becomes(OTHER_WEFT, 'refused', words)} ms`);
        await othersWell(OTHER_WEFT);
        running = await startWeft(weft, etcd);
        t.diagnostic(`over after ${await becomes(OTHER_WEFT, 'well')} ms`);
      });
    });
  }

  test('a peer that takes no large packets, with traffic: told, the others well, and over soon', async (t) => {
    await withTraffic(KERNEL, async () => {
      await drop(KERNEL, 'udp dport 8472 meta length > 1000 drop');
      const words =
        /^small packets pass the tunnel to 192\.168\.56\.12, those of 1450 bytes do not/;
      t.diagnostic(`told after ${await becomes(KERNEL, 'small-mtu', words)} ms`);
      await othersWell(KERNEL);
      await hostOf(KERNEL).run(['nft', 'delete', 'table', 'inet', 'shut']);
      t.diagnostic(`over after ${await becomes(KERNEL, 'well')} ms`);
    });
  });

  test('one packet in five to a peer is lost: whatever is said of it, not that large ones do not pass', async () => {
    await drop(KERNEL, 'udp dport 8472 numgen random mod 5 0 drop');
    const end = performance.now() + 40_000;
    const said = new Set<PeerState | undefined>();
    while (performance.now() < end) {
      said.add((await healths()).get(KERNEL)?.state);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    await hostOf(KERNEL).run(['nft', 'delete', 'table', 'inet', 'shut']);
    assert.ok(!said.has('small-mtu') && !said.has('silent'), [...said].join());
    // Until none of those that were lost is counted any more.
    for (let wellMs = 0; wellMs < 15_000; wellMs += 500) {
      if ((await healths()).get(KERNEL)?.state !== 'well') wellMs = 0;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  });

  test('a lease with an address that nobody has: unreachable, by ARP', async (t) => {
    const peer = { subnet: '10.10.177.0/24', publicIp: NOBODY, mac: '02:00:00:00:00:77' };
    await etcd.register(PREFIX, peer);
    t.diagnostic(
      `told after ${await becomes(NOBODY, 'unreachable', /no host has the address 192\.168\.56\.77/)} ms`,
    );
    await othersWell(NOBODY);
    const { stdout } = await alpha.run([process.execPath, WEFT, 'status'], { mayFail: true });
    assert.match(stdout, /UNREACHABLE for/);
  });

  test('a peer that drops all pings from its start and has no traffic is unknown, not at fault', async (t) => {
    const { host, peer } = kernels.get(KERNEL)!;
    await host.sysctl('net.ipv4.icmp_echo_ignore_all=1');
    t.after(() => host.sysctl('net.ipv4.icmp_echo_ignore_all=0'));
    // Another subnet at the same host is another peer to weft, which knows nothing of it.
    await etcd.delete(`${PREFIX}/subnets/${leaseKey(peer)}`);
    await until(async () => !(await healths()).has(KERNEL));
    await etcd.register(PREFIX, peer);
    await becomes(KERNEL, 'unknown', /ICMP and UDP 8472/, 20_000);
    for (let i = 0; i < 8; i += 1) {
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      assert.equal((await healths()).get(KERNEL)?.state, 'unknown');
    }
  });

  test('our own firewall forbids sending: unreachable, and so it says', async (t) => {
    await alpha.run(['nft', '-f', '-'], {
      input: `add table inet own
        add chain inet own out { type filter hook output priority 0; }
        add rule inet own out ip daddr ${WELL} udp dport 8472 drop`,
    });
    t.after(() => alpha.run(['nft', 'delete', 'table', 'inet', 'own']));
    await becomes(WELL, 'unreachable', /this host's own firewall forbids sending UDP 8472/);
  });
});
