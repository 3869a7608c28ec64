/** What follows from what weft tells of itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withoutConsequences } from '../../../src/operate/findings/consequences.js';
import { judgeDevice } from '../../../src/operate/findings/device.js';
import type { Finding } from '../../../src/operate/findings/finding.js';
import { judgeLeases } from '../../../src/operate/findings/leases.js';
import {
  judgeDescriptors,
  judgeMeasuring,
  judgeMerging,
  judgePathMtu,
  judgeSegmenting,
} from '../../../src/operate/findings/paths.js';
import { judgeQueues } from '../../../src/operate/findings/queues.js';
import { judgeCertificates, judgeStore } from '../../../src/operate/findings/store.js';
import type { HostCounters } from '../../../src/operate/status/host.js';
import type { Status } from '../../../src/operate/status/status.js';
import { fullStatus, NOTHING_LOST, UNSEEN } from '../status/full.js';

const codes = (found: readonly Finding[]) =>
  found.map(({ code, severity, scope }) => `${severity} ${code} ${scope}`);
const DAY = 86_400;

/** Three seconds later, with so much lost and so much passed. */
function later(host: Partial<HostCounters>, inbound: number, outbound = inbound): [Status, Status] {
  const before = { ...fullStatus, host: NOTHING_LOST };
  const { inbound_in_packets: was, outbound_in_packets: out } = before.counters;
  const passed = { inbound_in_packets: was + inbound, outbound_in_packets: out + outbound };
  const now = {
    ...before,
    uptimeSeconds: before.uptimeSeconds + 3,
    host: { ...NOTHING_LOST, ...host },
    counters: { ...before.counters, ...passed },
  };
  return [now, before];
}

test('a TUN that is taken away again and again, not once', () => {
  const taken = (n: number) =>
    judgeDevice({ ...fullStatus, device: { ...fullStatus.device, taken: n } });
  assert.deepEqual(codes([...taken(0), ...taken(1)]), []);
  const [lost] = taken(2);
  assert.deepEqual(codes([lost!]), ['error device-lost host']);
  // No packet gets through meanwhile: that is no fault of the peers.
  const silent: Finding = { ...lost!, code: 'peer-silent', scope: 'peer' };
  assert.deepEqual(codes(withoutConsequences([silent, lost!])), ['error device-lost host']);
});

test('a rule that drops the tunnel explains silent peers; one that drops containers does not', () => {
  const silent: Finding = {
    ...{ code: 'peer-silent', severity: 'error', scope: 'peer', about: 'peer 192.168.56.12' },
    ...{ text: 'nothing comes from it', cure: '' },
  };
  const drop = (text: string, scope: Finding['scope'] = 'host'): Finding => ({
    ...{ code: 'firewall-drop', severity: 'error', scope, about: 'a rule', text, cure: '' },
  });
  const tunnel = "it drops the tunnel's packets to other hosts (UDP port 8472)";
  assert.equal(withoutConsequences([drop(tunnel), silent]).length, 1);
  assert.equal(
    withoutConsequences([drop('it drops all packets from containers'), silent]).length,
    2,
  );
  assert.equal(withoutConsequences([drop(tunnel, 'peer'), silent]).length, 2, 'one of one peer');
});

test('a queue that loses a part that counts; a few, or a few of many, are what queues do', () => {
  const lost = (n: number, passed: number) =>
    codes(judgeQueues(...later({ udpRcvbufErrors: n }, passed)));
  assert.deepEqual(lost(14, 0), []);
  assert.deepEqual(lost(15, 0), ['warning udp-rcvbuf host']);
  assert.deepEqual(lost(99, 10_000), []);
  assert.deepEqual(lost(150, 10_000), ['warning udp-rcvbuf host']);
  const [now] = later({ tunTxDrops: 3000 }, 0);
  assert.deepEqual(judgeQueues(now, undefined), [], 'since when is not known');
  assert.match(judgeQueues(...later({ tunTxDrops: 3000 }, 0))[0]!.text, /^1,000 packets a second/);
  // What comes in says nothing of what goes out.
  assert.deepEqual(codes(judgeQueues(...later({ tunTxDrops: 150 }, 1e9, 100))), [
    'warning tun-queue host',
  ]);
});

test('wrong checksums are an error where they are most of it, but never break this host', () => {
  assert.deepEqual(codes(judgeQueues(...later({ udpInCsumErrors: 60 }, 1000))), [
    'warning csum-errors host',
  ]);
  assert.deepEqual(codes(judgeQueues(...later({ udpInCsumErrors: 60 }, 30))), [
    'error csum-errors peer',
  ]);
});

test('all queues that lose, each by its own name', () => {
  const lost = Object.fromEntries(Object.keys(NOTHING_LOST).map((name) => [name, 3000]));
  assert.deepEqual(
    judgeQueues(...later(lost, 0)).map(({ code }) => code),
    ['csum-errors', 'udp-rcvbuf', 'udp-mem', 'fragments-lost', 'send-queue-full', 'tun-queue'],
  );
});

const peer = fullStatus.peers[1]!;
const pathOf = (mtu: number, from: 'measured' | 'route' | 'device', direct = false) => {
  const pathMtu = { ...peer.pathMtu!, mtu, from };
  return { ...fullStatus, peers: [{ ...peer, direct, pathMtu }] };
};

test('a path that was measured to take less than the network needs', () => {
  assert.deepEqual(codes(judgePathMtu(pathOf(1400, 'measured'))), ['warning path-mtu peer']);
  assert.deepEqual(judgePathMtu(pathOf(1400, 'route')), [], 'the operator said so');
  assert.deepEqual(judgePathMtu(pathOf(1500, 'measured')), [], 'the network has room for it');
  assert.deepEqual(judgePathMtu(pathOf(1400, 'measured', true)), [], 'not in the tunnel');
  assert.deepEqual(judgePathMtu({ ...fullStatus, peers: [{ ...peer, pathMtu: null }] }), []);
  const [one] = pathOf(1400, 'measured').peers;
  const many = Array.from({ length: 6 }, (_, i) => ({ ...one!, publicIp: `10.0.0.${i}` }));
  const found = judgePathMtu({ ...fullStatus, peers: many });
  assert.equal(found.length, 1);
  assert.match(found[0]!.text, /^the path to 6 peers, 10\.0\.0\.0 among them, takes 1400 bytes/);
});

test('what is slower than it could be', () => {
  assert.deepEqual(judgeMeasuring(fullStatus), []);
  const blind = { ...fullStatus, pathsNotMeasured: 'CAP_NET_RAW is needed' };
  assert.deepEqual(codes(judgeMeasuring(blind)), ['note paths-not-measured host']);
  const { offload } = fullStatus;
  const single = { ...fullStatus, offload: { ...offload, tunMerges: false } };
  assert.deepEqual(codes(judgeMerging(single)), ['warning tier-lost host']);
  assert.deepEqual(judgeMerging(fullStatus), []);
  const asked = { ...single, offload: { ...single.offload, tier: 'none' as const } };
  assert.deepEqual(judgeMerging(asked), [], 'nobody asked for it');
  const refused = (segmentRefused: number, segmentAgainIn: number) => {
    const seen = { ...UNSEEN, segmentRefused, segmentAgainIn };
    return codes(judgeSegmenting({ ...fullStatus, peers: [{ ...peer, seen }] }));
  };
  assert.deepEqual(refused(4, 3), ['warning tier-lost peer']);
  assert.deepEqual([refused(3, 3), refused(9, 0)], [[], []]);
});

test('fewer sockets than peers, where it is a limit of files that makes them few', () => {
  const at = (peerSockets: number, direct = false) => {
    const peers = fullStatus.peers.map((one) => ({ ...one, direct }));
    return codes(judgeDescriptors({ ...fullStatus, peers, peerSockets }));
  };
  assert.deepEqual([at(256), at(2)], [[], []]);
  assert.deepEqual(at(1), ['warning few-descriptors host']);
  assert.deepEqual(at(1, true), [], 'directly routed peers need none');
  const many = Array.from({ length: 300 }, (_, i) => ({
    ...peer,
    publicIp: `10.1.${i >> 8}.${i & 255}`,
  }));
  assert.deepEqual(
    judgeDescriptors({ ...fullStatus, peers: many }),
    [],
    'as many as ever there are',
  );
});

test('leases that share a public IP, once for all of them', () => {
  assert.deepEqual(judgeLeases(fullStatus), []);
  const twin = { ...peer, subnet: '10.10.61.0/24' };
  const [found, ...more] = judgeLeases({ ...fullStatus, peers: [peer, twin] });
  assert.deepEqual(more, []);
  assert.deepEqual([found!.code, found!.about], ['duplicate-public-ip', `peer ${peer.publicIp}`]);
  assert.match(
    found!.cure,
    /^on \S+: cat \/run\/flannel\/subnet\.env .*: etcdctl --endpoints=\S+ del \/\S+\/subnets\/KEY, KEY being 10\.10\.60\.0-24 or 10\.10\.61\.0-24\)$/,
  );
  const file = { ...fullStatus, network: 'file /n.json', store: 'the file /n.json' };
  assert.match(judgeLeases({ ...file, peers: [peer, twin] })[0]!.cure, /from the file \/n\.json$/);
});

const store = (more: Partial<Status['storeState']>, expiresInSeconds: number | null = DAY) => {
  const storeState = { ...fullStatus.storeState, ...more };
  return { ...fullStatus, storeState, lease: { ...fullStatus.lease, expiresInSeconds } };
};

test('the store is away: a warning, and an error when our lease ends by it', () => {
  assert.deepEqual(judgeStore(fullStatus), []);
  assert.deepEqual(judgeStore(store({ awaySeconds: 1.9 })), [], 'a connection made anew');
  const away = { awaySeconds: 2, reason: 'connection refused' };
  const [found] = judgeStore(store(away));
  assert.deepEqual([found!.code, found!.severity], ['store-away', 'warning']);
  assert.match(found!.text, /does not answer \(connection refused\): peers that come, go or move/);
  assert.equal(found!.cure, 'etcdctl --endpoints=http://192.168.56.131:2379 endpoint health');
  assert.deepEqual(codes(judgeStore(store(away, 899))), ['error store-away store']);
  assert.deepEqual(codes(judgeStore(store(away, null))), ['warning store-away store']);
});

test('the store is slow, or takes no writes', () => {
  assert.deepEqual(judgeStore(store({ answerMs: 999 })), []);
  assert.match(judgeStore(store({ answerMs: 1500 }))[0]!.text, /took 1\.5 s to answer/);
  const [space, ...none] = judgeStore(store({ alarm: 'NOSPACE' }));
  assert.deepEqual(codes([space!, ...none]), ['warning etcd-alarm store']);
  assert.match(
    space!.text,
    /the alarm NOSPACE \(its database is as large as it may be\) and takes no/,
  );
  const both = judgeStore(store({ alarm: 'CORRUPT, NOSPACE' }));
  assert.deepEqual(
    both.map(({ about, cure }) => `${about}: ${/endpoint hashkv|alarm disarm$/.exec(cure)?.[0]}`),
    ['alarm CORRUPT: endpoint hashkv', 'alarm NOSPACE: alarm disarm'],
  );
});

test('certificates: two weeks before the end, after it, and before the beginning', () => {
  const at = (beginsInSeconds: number, endsInSeconds: number) => {
    const name = '-etcd-certfile=/c.pem';
    return judgeCertificates(store({ certificates: [{ name, beginsInSeconds, endsInSeconds }] }));
  };
  assert.deepEqual(at(-1, 14 * DAY + 1), []);
  assert.deepEqual(codes(at(-1, 14 * DAY)), ['warning tls-expiry store']);
  assert.match(
    at(-1, 3.5 * DAY)[0]!.text,
    /^-etcd-certfile=\/c\.pem ends in 3 days, and from then/,
  );
  assert.match(at(-1, -60)[0]!.text, /has ended 1 min ago by this host's clock: no new connection/);
  assert.deepEqual(codes(at(5, 9e9)), ['error tls-expiry store']);
});

test('what follows from a dead link is not told beside it', () => {
  const of = (code: string, severity: Finding['severity'] = 'error'): Finding => ({
    ...{ code, severity, scope: 'host', about: '', text: code, cure: '' },
  });
  const all = [of('underlay-down'), of('peer-no-way'), of('store-away'), of('forwarding')];
  const left = (found: Finding[]) => withoutConsequences(found).map(({ code }) => code);
  assert.deepEqual(left(all), ['underlay-down', 'forwarding']);
  assert.deepEqual(left(all.slice(1)), ['peer-no-way', 'store-away', 'forwarding']);
  assert.deepEqual(left([of('underlay-lost', 'warning'), of('store-away')]), [
    'underlay-lost',
    'store-away',
  ]);
});
