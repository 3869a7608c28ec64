/**
 * The C programs against which the bench measures: each forwarder carries what it must, to
 * itself and to a kernel's VTEP, and the tools count what passes.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { buildLacks, buildPrograms, type Programs } from '../../bench/build-c.js';
import { type Forwarder, startComparator } from '../../bench/comparator.js';
import type { Running } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Network } from '../../src/lab/network.js';
import {
  checksumErrors,
  largePings,
  pathMtu,
  ping,
  tcpTransfer,
  udpSizes,
} from '../network/overlay.js';

type Vtep = 'kernel' | Forwarder;

interface Pair {
  readonly hosts: readonly Host[];
  readonly containers: readonly [Container, Container];
  readonly forwarders: readonly Running[];
}

// Comparators at their best force their sockets' buffers, as the machine's root may.
const lacks =
  buildLacks() ??
  labLacks({ programs: ['ping', 'ethtool', 'bridge', 'iperf3'], tun: true, root: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('the comparators of the bench', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let programs: Programs;
  let lab: Lab;
  let network: Network;
  before(async () => {
    programs = buildPrograms();
    lab = await Lab.open();
    network = await lab.network();
  });
  after(() => lab?.close());

  async function openPair(
    number: number,
    vteps: readonly [Vtep, Vtep],
    offloads: boolean,
  ): Promise<Pair> {
    const peers = [0, 1].map((end) => ({
      subnet: `10.10.${number * 2 + end}.0/24`,
      publicIp: `192.168.56.${10 + number * 2 + end}`,
      mac: `02:00:00:00:${number}0:0${end}`,
    }));
    const hosts: Host[] = [];
    const containers: Container[] = [];
    const forwarders: Running[] = [];
    for (const [end, own] of peers.entries()) {
      const address = `${own.publicIp}/24`;
      const host = await network.host(`h${number}${end}`, { address, offloads });
      const others = [peers[1 - end]!];
      const vtep = vteps[end]!;
      if (vtep === 'kernel') await host.kernelPeer({ ...own, peers: others });
      else forwarders.push(await startComparator(host, programs, vtep, { own, peers: others }));
      hosts.push(host);
      containers.push(await host.container(`c${number}${end}`));
    }
    return { hosts, containers: [containers[0]!, containers[1]!], forwarders };
  }

  const both = (pair: Pair) => [pair.containers, [pair.containers[1], pair.containers[0]]] as const;

  async function noChecksumErrors(pair: Pair): Promise<void> {
    for (const space of [...pair.hosts, ...pair.containers]) {
      assert.equal(await checksumErrors(space), 0, space.name);
    }
  }

  /** Segments that TCP sent again, of all that it sent from here. */
  async function retransmitted(space: Container): Promise<{ again: number; sent: number }> {
    const { stdout } = await space.run(['cat', '/proc/net/snmp']);
    const [names, values] = stdout.split('\n').filter((line) => line.startsWith('Tcp:'));
    const value = (name: string) => Number(values!.split(' ')[names!.split(' ').indexOf(name)]);
    return { again: value('RetransSegs'), sent: value('OutSegs') };
  }

  const limitPairs: [number, [Vtep, Vtep], boolean][] = [
    [1, ['limit', 'limit'], true],
    [2, ['limit', 'limit'], false],
    [3, ['limit', 'kernel'], true],
    [4, ['limit', 'kernel'], false],
  ];
  for (const [number, vteps, offloads] of limitPairs) {
    const wire = offloads ? 'offloads on' : 'plain wire';
    test(`${vteps.join(' and ')}, ${wire}: ping, UDP, TCP both ways, nothing lost`, async () => {
      const pair = await openPair(number, vteps, offloads);
      for (const [from, to] of both(pair)) {
        await ping(from, to);
        await largePings(from, to);
        await pathMtu(from, to);
        await udpSizes(from, to, '0-100,1300-1422,2000,9000,65000');
        await tcpTransfer(from, to, 30_000_000);
        const { again, sent } = await retransmitted(from);
        assert.ok(again < sent / 100 + 50, `${again} of ${sent} segments were sent again`);
      }
      await noChecksumErrors(pair);
      for (const forwarder of pair.forwarders) {
        assert.equal(await forwarder.stop(), 0);
        const counters = JSON.parse(forwarder.tail(1));
        assert.ok(counters.out_packets > 0 && counters.in_packets > 0);
        // What a kernel's VTEP hands over with offloads on are super-packets already.
        if (!offloads || !vteps.includes('kernel')) {
          assert.ok(counters.in_writes < counters.in_packets, 'nothing was coalesced');
        }
        assert.ok(counters.out_sends < counters.out_packets, 'nothing was packed');
        assert.equal(counters.in_dropped, 0);
        assert.equal(counters.in_refused, 0);
        assert.equal(counters.out_refused, 0);
      }
    });
  }

  const onePairs: [number, [Vtep, Vtep], boolean][] = [
    [5, ['one-packet', 'one-packet'], true],
    [6, ['one-packet', 'kernel'], false],
  ];
  for (const [number, vteps, offloads] of onePairs) {
    test(`${vteps.join(' and ')}: ping and TCP both ways`, async () => {
      const pair = await openPair(number, vteps, offloads);
      for (const [from, to] of both(pair)) {
        await ping(from, to);
        await tcpTransfer(from, to, 5_000_000);
      }
      await noChecksumErrors(pair);
    });
  }

  test('limit refuses a command line it does not understand', async () => {
    const argv = [programs.limit, '--tun', 'flannel.1', '--local', '192.168.56.11', '--mac', 'x'];
    const host = await network.host('refuser', { address: '192.168.56.99/24' });
    const { code, stderr } = await host.run(argv, { mayFail: true });
    assert.equal(code, 2);
    assert.match(stderr, /not a MAC: x/);
  });

  test('udp-flood counts what is sent, what arrives and what is lost', async () => {
    const { hosts, containers } = await openPair(7, ['limit', 'limit'], true);
    const [from, to] = containers;
    const receiver = to.start([programs['udp-flood'], 'receive']);
    await receiver.waitFor(/listening/, 60_000);
    const send = [programs['udp-flood'], 'send', '--host', to.address, '--size', '512'];
    const sender = await from.run([...send, '--rate', '20000', '--seconds', '0.5']);
    await receiver.exited;
    const sent = JSON.parse(sender.stdout);
    const seen = JSON.parse(receiver.tail(1));
    assert.equal(seen.ended, true);
    assert.equal(seen.sent, sent.sent);
    assert.equal(seen.received + seen.lost, sent.sent);
    assert.equal(seen.bytes, seen.received * 512);
    assert.equal(seen.duplicates + seen.reordered + seen.foreign, 0);
    assert.ok(sent.sent > 1_000 && seen.received > sent.sent / 2);

    // A tenth is dropped on the way: it must show as loss.
    const rule = 'nft add rule inet t f udp dport 5301 numgen random mod 10 == 0 drop';
    await hosts[0]!.run(['nft', 'add', 'table', 'inet', 't']);
    await hosts[0]!.run(
      'nft add chain inet t f { type filter hook forward priority 0 ; }'.split(' '),
    );
    await hosts[0]!.run(rule.split(' '));
    const lossy = to.start([programs['udp-flood'], 'receive']);
    await lossy.waitFor(/listening/, 60_000);
    await from.run([...send, '--rate', '20000', '--seconds', '0.5']);
    await lossy.exited;
    const { lost, received } = JSON.parse(lossy.tail(1));
    assert.ok(lost > received / 20, `${lost} lost, ${received} received`);
  });

  test('request-response gives rates and latencies, kept and new connections', async () => {
    const { containers } = await openPair(8, ['limit', 'limit'], true);
    const [from, to] = containers;
    const server = to.start([programs['request-response'], 'server']);
    await server.waitFor(/listening/, 60_000);
    const ask = [programs['request-response'], 'client', '--host', to.address, '--seconds', '0.5'];
    for (const more of [[], ['--connections', '32'], ['--connections', '4', '--new', '1']]) {
      const { stdout } = await from.run([...ask, ...more]);
      const seen = JSON.parse(stdout);
      assert.equal(seen.errors, 0);
      assert.equal(seen.new, more.includes('--new'));
      assert.ok(seen.transactions > 50, stdout);
      assert.ok(seen.p50_us > 5 && seen.p50_us <= seen.p99_us && seen.p99_us <= seen.max_us);
      assert.ok(Math.abs(seen.per_second / (seen.transactions / seen.seconds) - 1) < 0.01);
    }
    await server.stop();
  });
});
