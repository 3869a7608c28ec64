import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Moment,
  report,
  reportHostGw,
  type VxlanParts,
} from '../../../src/control/daemon/report.js';
import { Counter, Counters, createCounters } from '../../../src/dataplane/forward/counters.js';
import { Drop } from '../../../src/dataplane/forward/drops.js';
import { Strangers } from '../../../src/dataplane/forward/strangers.js';
import { Publisher } from '../../../src/dataplane/routes/publisher.js';
import { describe } from '../../../src/operate/status/describe.js';
import { UNKNOWN_HEALTH } from '../../../src/operate/status/peer-health.js';
import { NOTHING_LOST, SET_UP, UNSEEN } from '../../operate/status/full.js';

const PEER = {
  key: '10.10.2.0-24',
  subnet: { address: 0x0a0a0200, length: 24 },
  publicIp: 0x0a000002,
  vtepMac: Uint8Array.of(2, 0, 0, 0, 0, 2),
};

function parts(): VxlanParts {
  const counters = createCounters(1);
  const row = new Counters(counters, 0);
  row.add(Counter.outbound_out_packets, 1234);
  row.drop(Drop.unknown_sender, 7);
  new Strangers(row.strangers).note(0x0a00004d, 7, 1);
  const publisher = new Publisher({ vni: 1, ownMac: Uint8Array.of(2, 0, 0, 0, 0, 1), threads: 1 });
  const peer = { address: PEER.publicIp, port: 8472, mac: PEER.vtepMac };
  publisher.publish([{ network: PEER.subnet.address, length: 24, peer }], []);
  publisher.rows.tick(4);
  return {
    name: 'flannel.1',
    mtu: 1450,
    taken: 0,
    backend: {
      type: 'vxlan',
      vni: 1,
      port: 8472,
      mtu: undefined,
      gbp: false,
      learning: false,
      directRouting: true,
    },
    underlay: { name: 'ens33', index: 2, mtu: 1500, address: '10.0.0.1', publicIp: '203.0.113.9' },
    store: { description: 'etcd at http://etcd:2379', network: 'etcd prefix /net' },
    lease: {
      key: '10.10.1.0-24',
      subnet: { address: 0x0a0a0100, length: 24 },
      vtepMac: Uint8Array.of(2, 0, 0, 0, 0, 1),
      value: '',
      revision: 1n,
      lease: 0xabcn,
      ttl: 86_400,
    },
    accept: 'peers',
    publisher,
    tun: { vnet: true, tso: true, uso: false },
    sockets: { gro: true, receiveBuffer: 2 * 8 * 1024 * 1024 },
    lanes: {
      count: { lanes: 1, threads: 1, reason: '' },
      counters,
      udpSegment: true,
      merges: true,
      reports: [{ running: true, busySeconds: 1.5, outboundPackets: 0, inboundPackets: 0 }],
    },
    carrier: { peers: [PEER], problems: [], isDirect: () => true },
    healths: { health: () => UNKNOWN_HEALTH },
    peerSockets: 256,
    paths: { report: () => undefined, lack: '' },
    queues: {
      counters: (device) => ({
        ...NOTHING_LOST,
        udpInCsumErrors: 3,
        udpRcvbufErrors: 4,
        tunTxDrops: device === 'flannel.1' ? 5 : 0,
      }),
    },
  };
}

const NOW: Moment = {
  version: '1.2.3',
  pid: 4711,
  build: null,
  uptimeSeconds: 61.5,
  held: { kind: 'leased', lease: 0xdefn, endsIn: 7_200_999, problem: undefined },
  storeState: undefined,
  drift: undefined,
  unsound: [],
  config: undefined,
  lost: null,
  faults: [],
  findings: [],
  verdict: { state: 'well', text: '1 peer' },
  overlayNetwork: '10.5.0.0/16',
  setUp: SET_UP,
  logLinesLost: 0,
  timeOfDay: new Date(0),
};

test('the lease is the one that holds the key now, not the one it was acquired with', () => {
  const { lease } = report(parts(), NOW);
  assert.equal(lease.id, 'def');
  assert.equal(lease.expiresInSeconds, 7200);
  assert.match(describe(report(parts(), NOW)), /etcd lease def, ends in 2 h 0 min unless renewed/);
  const before = report(parts(), { ...NOW, held: undefined }).lease;
  assert.deepEqual([before.kind, before.id, before.expiresInSeconds], ['untold', null, null]);
});

test('a key without an etcd lease has none to end', () => {
  const reserved = { kind: 'reserved', lease: 0n, endsIn: undefined, problem: undefined } as const;
  const status = report(parts(), { ...NOW, held: reserved });
  assert.deepEqual([status.lease.id, status.lease.expiresInSeconds], [null, null]);
  assert.match(describe(status), /^lease .*reserved: its key has no etcd lease$/m);
  const saved = report(parts(), { ...NOW, held: { ...reserved, kind: 'untold' } });
  assert.match(describe(saved), /^lease .*as saved: the store did not say yet$/m);
});

test('peers, counters and drops, for people and as values', () => {
  const status = report(parts(), NOW);
  assert.deepEqual(status.peers, [
    {
      subnet: '10.10.2.0/24',
      publicIp: '10.0.0.2',
      vtepMac: '02:00:00:00:00:02',
      direct: true,
      health: UNKNOWN_HEALTH,
      pathMtu: null,
      seen: UNSEEN,
    },
  ]);
  assert.deepEqual(status.strangers, [{ address: '10.0.0.77', packets: 7, secondsAgo: 3 }]);
  assert.deepEqual(status.drops, { unknown_sender: 7 });
  assert.equal(status.host.tunTxDrops, 5);
  assert.deepEqual(status.kernelUdp, { badChecksums: 3, bufferFull: 4 });
  assert.equal(status.offload.receiveBuffer, 8 * 1024 * 1024);
  const text = describe(status);
  assert.match(text, /^weft +1\.2\.3, process \d+, up 1 min$/m);
  assert.match(text, /^underlay +ens33 {2}10\.0\.0\.1:8472, MTU 1500, public IP 203\.0\.113\.9$/m);
  assert.match(text, /^outbound +1,234 packets/m);
  assert.match(text, /unknown_sender {2}7 {2}last: 10\.0\.0\.77 \(7, 3 s ago\)$/m);
  assert.match(text, /receive buffer 8\.4 MB/);
  assert.match(
    text,
    /^peers +1\n.*\n +10\.10\.2\.0\/24 +10\.0\.0\.2 +02:00:00:00:00:02 .* direct$/m,
  );
  assert.match(text, /^backend +vxlan with direct routing$/m);
});

test('path MTU: of each peer that it is known of, and why it is not measured', () => {
  const measured = { from: 'measured', measuredSecondsAgo: 7 } as const;
  const path = { mtu: 1400, ...measured, checking: false, problem: '' };
  const paths = { report: () => path, lack: 'CAP_NET_RAW is needed' };
  const status = report({ ...parts(), paths }, NOW);
  assert.deepEqual(status.peers[0]?.pathMtu, path);
  const text = describe(status);
  assert.match(text, /^path MTU {2}of routes and devices, not measured: CAP_NET_RAW is needed$/m);
});

test('host-gw has no device, no port, no lanes', () => {
  const { lease, store, underlay, healths } = parts();
  const carrier = {
    peers: [PEER, { ...PEER, publicIp: 0x0a000003 }],
    problems: ['no route to 10.10.3.0/24: because'],
    isDirect: ({ publicIp }: { publicIp: number }) => publicIp === PEER.publicIp,
  };
  const backend = { type: 'host-gw' } as const;
  const made = { name: 'host-gw', mtu: 1500, backend, lease, store, underlay, carrier, healths };
  const status = reportHostGw(made, NOW);
  assert.deepEqual(status, {
    version: '1.2.3',
    pid: 4711,
    build: null,
    uptimeSeconds: 61.5,
    verdict: NOW.verdict,
    findings: [],
    faults: [],
    overlayNetwork: '10.5.0.0/16',
    setUp: SET_UP,
    logLinesLost: 0,
    backend: 'host-gw',
    mtu: 1500,
    underlay: { interface: 'ens33', mtu: 1500, address: '10.0.0.1', publicIp: '203.0.113.9' },
    store: 'etcd at http://etcd:2379',
    etcdctlFlags: '',
    network: 'etcd prefix /net',
    storeState: {
      ...{ member: null, cluster: null, awaySeconds: null, reason: null, nextTrySeconds: null },
      ...{ mended: 0, savedAt: null, answerMs: null, alarm: null, certificates: [] },
      ...{ leaseDrift: null, shortLease: null },
    },
    unsoundLeases: [],
    flanneldRefuses: null,
    configChange: null,
    lease: {
      subnet: '10.10.1.0/24',
      kind: 'leased',
      id: 'def',
      expiresInSeconds: 7200,
      lost: null,
    },
    peers: [
      { subnet: '10.10.2.0/24', publicIp: '10.0.0.2', direct: true, health: UNKNOWN_HEALTH },
      { subnet: '10.10.2.0/24', publicIp: '10.0.0.3', direct: false, health: UNKNOWN_HEALTH },
    ],
    routes: { problems: ['no route to 10.10.3.0/24: because'] },
  });
  assert.equal(
    describe(status).replace(/process \d+/, 'process 7'),
    `\
well      1 peer
weft      1.2.3, process 7, up 1 min
lease     10.10.1.0/24, etcd lease def, ends in 2 h 0 min unless renewed
store     etcd at http://etcd:2379
backend   host-gw, MTU 1500: the kernel routes, no packet passes weft
underlay  ens33  10.0.0.1
file      /run/flannel/subnet.env
rules     forward, by iptables
forwards  IPv4
health    not told: see -healthz-port
routes    1 in the kernel
          no route to 10.10.3.0/24: because
peers     2
          10.10.2.0/24       10.0.0.2
          10.10.2.0/24       10.0.0.3        no route
`,
  );
});

test('a fallen tier, a lane that ended, a route problem and a lost lease are seen', () => {
  const made = parts();
  const text = describe(
    report(
      {
        ...made,
        lanes: {
          ...made.lanes,
          udpSegment: false,
          reports: [{ running: false, busySeconds: 1.5, outboundPackets: 0, inboundPackets: 0 }],
        },
        carrier: {
          ...made.carrier,
          peers: [],
          problems: ['no route to 10.10.3.0/24: because'],
        },
      },
      { ...NOW, lost: 'our lease went', verdict: { state: 'broken', text: 'the address is gone' } },
    ),
  );
  assert.match(text, /tier sendmmsg/);
  assert.match(text, /lane 0 NOT RUNNING/);
  assert.match(text, /no route to 10\.10\.3\.0\/24: because/);
  assert.match(text, /LOST: our lease went/);
  assert.match(text, /^BROKEN +the address is gone$/m);
  assert.match(text, /^peers +none yet$/m);
});

test('a weft on its way says what it waits for', () => {
  const waitingFor = 'waiting for the network config: there is none at /a/config';
  const text = describe({ version: '1', build: null, pid: 7, uptimeSeconds: 3, waitingFor });
  assert.match(
    text,
    /^starting +no packets flow yet; waiting for the network config: there is none/m,
  );
});

test('certificates are told by how long they are still valid', () => {
  const at = (seconds: number) => new Date(1000 * seconds);
  const certificates = [{ name: '-etcd-cafile=/ca.pem', begins: at(50), ends: at(250) }];
  const store = { ...parts().store, certificates };
  const { storeState } = report({ ...parts(), store }, { ...NOW, timeOfDay: at(100) });
  assert.deepEqual(storeState.certificates, [
    { name: '-etcd-cafile=/ca.pem', beginsInSeconds: -50, endsInSeconds: 150 },
  ]);
});
