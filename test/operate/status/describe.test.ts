/** What `weft status` prints, to the letter. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describe } from '../../../src/operate/status/describe.js';
import { type PeerHealth, UNKNOWN_HEALTH } from '../../../src/operate/status/peer-health.js';
import { fullStatus, NOTHING_LOST, UNSEEN } from './full.js';

test('a full status', () => {
  assert.equal(
    describe(fullStatus),
    `\
BROKEN    the underlay address 192.168.56.11 is gone from ens33
error     the underlay address 192.168.56.11 is gone from ens33
            do: ip addr add 192.168.56.11/24 dev ens33
weft      0.1.0 (abc1234, changed), process 4711, up 26 h 3 min
lease     10.10.58.0/24, VNI 1, etcd lease 6a6ca210c4f23c1a, ends in 23 h 53 min unless renewed
store     etcd at http://192.168.56.131:2379, prefix /coreos.com/network
          talking to http://192.168.56.131:2379
backend   vxlan with direct routing
device    flannel.1  10.10.58.0/32, MTU 1450, VtepMAC 02:00:00:00:00:0a
underlay  ens33  192.168.56.11:8472, MTU 1500, public IP 203.0.113.7
file      /run/flannel/subnet.env
rules     forward, by iptables
forwards  IPv4
health    not told: see -healthz-port
offload   tier segment; TUN TSO yes, USO no; UDP GRO yes; receive buffer 16.8 MB
lanes     2 (one for every 4 of 8 processors; -lanes sets it), 2 threads each; lane 1 NOT RUNNING
routes    2 to other hosts, 1 of them past the tunnel
          10.10.60.0/24: RTNETLINK answers: File exists
outbound  1,161,463 packets, 1.66 GB sent
inbound   999 packets, 999 B delivered
drops
          unknown_sender  1,200  last: 198.51.100.7 (1,200, 3 s ago)
          outbound_ipv6   7
host      3,000 datagrams lost: receive buffer full
            the socket was not read in time: free processors for weft, or more -lanes
host      2 datagrams with a bad checksum
            damaged on their way; should ens33's own sums be wrong: ethtool -K ens33 rx off
peers     2
          subnet         public IP      VtepMAC            sent       heard  last heard
          10.10.59.0/24  192.168.56.12  02:00:00:00:00:0b  0          0      never       direct
          10.10.60.0/24  203.0.113.250  02:00:00:00:00:0c  1,161,463  999    1 min ago
`,
  );
});

test('a young status without peers, drops or an etcd lease', () => {
  const text = describe({
    ...fullStatus,
    build: null,
    uptimeSeconds: 59.9,
    directRouting: false,
    lease: { ...fullStatus.lease, id: null },
    underlay: { ...fullStatus.underlay, publicIp: fullStatus.underlay.address },
    routes: { published: 1, epoch: 1, problems: [] },
    drops: {},
    host: NOTHING_LOST,
    peers: [],
  });
  assert.match(text, /^weft {6}0\.1\.0, process 4711, up 59 s$/m);
  assert.match(text, /^lease {5}10\.10\.58\.0\/24, VNI 1, reserved: its key has no etcd lease$/m);
  assert.match(text, /^underlay {2}ens33 {2}192\.168\.56\.11:8472, MTU 1500$/m);
  assert.match(text, /^backend {3}vxlan$/m);
  assert.match(text, /^drops {5}none$/m);
  assert.match(text, /^peers {5}none yet$/m);
  assert.doesNotMatch(text, /^host/m);
});

test('a lost lease says why in place of the subnet', () => {
  const lost = { ...fullStatus.lease, lost: 'the key was deleted' };
  assert.match(describe({ ...fullStatus, lease: lost }), /^lease {5}LOST: the key was deleted$/m);
});

test('no line ends in blanks, whatever is in it', () => {
  assert.doesNotMatch(describe(fullStatus), /[ \t]$/m);
});

test('what a store or a host says can neither forge a line nor move the cursor', () => {
  const evil = 'x\n\x1b[2Jlease     forged\u202e\x9b\u2028';
  const told = 'x\\u000a\\u001b[2Jlease     forged\\u202e\\u009b\\u2028';
  const lines = (text: string) => text.trimEnd().split('\n');
  const [finding] = fullStatus.findings;
  const healthy = lines(describe({ ...fullStatus, findings: [] }));
  const found = [{ ...finding!, text: evil, cure: '' }];
  const shown = lines(describe({ ...fullStatus, findings: found, store: evil }));
  assert.equal(shown.length, healthy.length + 1);
  assert.deepEqual(
    shown.filter((line) => line.includes('forged')).map((line) => line.slice(10)),
    [told, told],
  );
  const starting = { version: '1', build: null, pid: 2, uptimeSeconds: 3, waitingFor: evil };
  assert.equal(lines(describe(starting)).length, 2);
});

test('a store that is away, and what is forwarded on', () => {
  const away = {
    ...fullStatus.storeState,
    awaySeconds: 75,
    reason: 'http://192.168.56.131:2379: certificate has expired',
    nextTrySeconds: 0.84,
  };
  const shown = (storeState: typeof fullStatus.storeState) =>
    describe({ ...fullStatus, storeState });
  assert.match(shown(away), /\n {10}AWAY for 1 min; forwarding on what is known\n/);
  assert.match(
    shown(away),
    /\n {10}last reason: http:.*certificate has expired\n {10}next try in 0\.8 s\n/,
  );
  const savedAt = '2026-01-02T03:04:05.000Z';
  assert.match(shown({ ...away, savedAt }), /forwarding on the network saved 2026-01-02T03:04/);
  assert.match(shown({ ...fullStatus.storeState, mended: 2 }), /\n {10}mended by relist: 2\n/);
});

/** The longest that is said of one. */
const FILTERED: PeerHealth = {
  state: 'silent',
  code: 'filtered',
  forSeconds: 3599,
  words:
    'UDP 65535 is filtered between here and 255.255.255.255: underlay pings pass, tunnel echoes do not',
  todo: 'on 255.255.255.255, to see whether ours arrive: tcpdump -ni any udp port 65535',
  roundTripMs: null,
};

/** As long as they can be. */
const LONGEST = {
  subnet: '255.255.255.252/30',
  publicIp: '255.255.255.255',
  vtepMac: '02:00:00:00:00:0c',
  direct: true,
  health: FILTERED,
  pathMtu: null,
  seen: {
    sentPackets: 999_999_999,
    sentBytes: 2 ** 52,
    receivedPackets: 2 ** 40,
    receivedBytes: 2 ** 52,
    portUnreachable: 999_999_999,
    otherErrors: 999_999_999,
    droppedFull: 999_999_999,
    droppedUnreachable: 999_999_999,
    droppedDenied: 999_999_999,
    droppedFailed: 999_999_999,
    segmentRefused: 999_999_999,
    tooBigTold: 999_999_999,
    inFragments: 999_999_999,
    heardSecondsAgo: 3599,
    segmentAgainIn: 255,
    pathMtu: 65_535,
  },
};

test('a peer that is not well: its state, and since when; the rest is among the findings', () => {
  const peer = { ...LONGEST, seen: UNSEEN };
  const said = (health: PeerHealth): string => {
    const text = describe({ ...fullStatus, peers: [{ ...peer, health }] });
    return text.slice(text.indexOf('\npeers')).split('\n').slice(4).join('\n');
  };
  assert.equal(said(FILTERED), '            SILENT for 59 min\n');
  assert.equal(said({ ...FILTERED, state: 'well' }), '');
  assert.equal(said({ ...FILTERED, state: 'unknown' }), '');
});

test('what is wrong with a peer, in words, and what is not usual; nothing of what is not', () => {
  const about = (seen: Partial<typeof UNSEEN>): string[] => {
    const peer = {
      ...LONGEST,
      direct: false,
      health: UNKNOWN_HEALTH,
      seen: { ...UNSEEN, ...seen },
    };
    const text = describe({ ...fullStatus, peers: [peer] });
    const lines = text.slice(text.indexOf('\npeers')).trimEnd().split('\n');
    return lines.slice(4).map((line) => line.trim());
  };
  assert.deepEqual(about({}), []);
  assert.deepEqual(about({ pathMtu: 1500, sentPackets: 7, receivedBytes: 7 }), []);
  assert.deepEqual(about({ portUnreachable: 1200 }), ['port unreachable 1,200 times']);
  assert.deepEqual(about({ otherErrors: 2 }), ['other ICMP errors 2 times']);
  assert.deepEqual(about({ droppedFull: 3 }), ['3 dropped: its socket full']);
  assert.deepEqual(about({ droppedUnreachable: 3 }), ['3 dropped: no way there']);
  assert.deepEqual(about({ droppedDenied: 3 }), ["3 dropped: forbidden by this host's firewall"]);
  assert.deepEqual(about({ droppedFailed: 3 }), ['3 dropped: the send failed']);
  assert.deepEqual(about({ tooBigTold: 3 }), ['3 senders told that a packet does not fit']);
  assert.deepEqual(about({ inFragments: 3 }), [
    '3 packets longer than the path takes whole: sent in fragments',
  ]);
  assert.deepEqual(about({ segmentRefused: 3, segmentAgainIn: 70, pathMtu: 1400 }), [
    'UDP_SEGMENT refused 3 times, each datagram sent alone, UDP_SEGMENT tried again in 1 min,',
    'path MTU 1400',
  ]);
});

test('no line of the tables is longer than 110 columns', () => {
  const strangers = Array.from({ length: 16 }, (_, i) => ({
    address: `255.255.255.1${i + 10}`,
    packets: 2 ** 40,
    secondsAgo: 3599,
  }));
  const text = describe({
    ...fullStatus,
    drops: { outbound_bad_offload: 2 ** 40, unknown_sender: 2 ** 50 },
    strangers,
    peers: [LONGEST, LONGEST],
  });
  const table = text.slice(text.indexOf('\ndrops')).split('\n');
  assert.ok(table.length > 10);
  for (const line of table) assert.ok(line.length <= 110, `${line.length}: ${line}`);
  assert.match(text, /255\.255\.255\.117 \([^)]*\), and 8 more$/m);
  assert.doesNotMatch(text, /255\.255\.255\.118/);
});

test('a policy other than that of a weft that was told none stands below the backend', () => {
  assert.doesNotMatch(describe(fullStatus), /^accept/m);
  for (const accept of ['strict', 'any'] as const) {
    const text = describe({ ...fullStatus, accept });
    assert.match(text, new RegExp(`^backend .*\naccept {4}${accept}: `, 'm'));
  }
});

test("each loss of the host's own queues is said with what to do; no line is too long", () => {
  for (const field of Object.keys(NOTHING_LOST)) {
    const status = { ...fullStatus, host: { ...NOTHING_LOST, [field]: 1234 } };
    const text = describe({ ...status, device: { ...fullStatus.device, name: 'a'.repeat(15) } });
    assert.match(text, /^host {6}1,234 (datagrams|packets|sends).* .*\n {12}\w/m, field);
    assert.equal(text.match(/^host/gm)?.length, 1, field);
    for (const line of text.split('\n')) assert.ok(line.length <= 110, `${line.length}: ${line}`);
  }
  const bad = { ...NOTHING_LOST, udpSndbufErrors: 1, tunTxDrops: 1 };
  const text = describe({ ...fullStatus, host: bad });
  assert.match(text, /full queue of ens33 .*\n.*tc -s qdisc show dev ens33/);
  assert.match(text, /the queue of flannel\.1 was full/);
});
