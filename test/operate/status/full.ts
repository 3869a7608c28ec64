/** A status with something in every field. */
import { COUNTER_NAMES, type CounterName } from '../../../src/dataplane/forward/counters.js';
import { SEEN_NAMES, type SeenName } from '../../../src/dataplane/routes/peer-rows.js';
import type { HostCounters } from '../../../src/operate/status/host.js';
import { UNKNOWN_HEALTH } from '../../../src/operate/status/peer-health.js';
import type { Status } from '../../../src/operate/status/status.js';
import type { PeerSeen } from '../../../src/operate/status/traffic.js';

const counters = Object.fromEntries(COUNTER_NAMES.map((name) => [name, 0])) as Record<
  CounterName,
  number
>;

const none = Object.fromEntries(SEEN_NAMES.map((name) => [name, 0])) as Record<SeenName, number>;

/** A peer of which nothing was seen. */
export const UNSEEN: PeerSeen = { ...none, heardSecondsAgo: null, segmentAgainIn: 0, pathMtu: 0 };

/** As a start without any flag leaves a host. */
export const SET_UP: Status['setUp'] = {
  subnetFile: '/run/flannel/subnet.env',
  rules: { by: 'iptables', masquerade: false, forward: true, guard: false },
  forwarding: true,
  health: null,
};

/** A host whose queues lost nothing. */
export const NOTHING_LOST: HostCounters = {
  udpSndbufErrors: 0,
  udpMemErrors: 0,
  udpRcvbufErrors: 0,
  udpInCsumErrors: 0,
  ipReasmFails: 0,
  ipOutDiscards: 0,
  ipFragFails: 0,
  tunTxDrops: 0,
};

export const fullStatus: Status = {
  version: '0.1.0',
  pid: 4711,
  build: { commit: 'abc1234', date: '2026-01-02T03:04:05+00:00', changed: true },
  uptimeSeconds: 26 * 3600 + 3 * 60 + 59,
  verdict: { state: 'broken', text: 'the underlay address 192.168.56.11 is gone from ens33' },
  findings: [
    {
      code: 'underlay-lost',
      severity: 'error',
      scope: 'host',
      about: 'underlay',
      text: 'the underlay address 192.168.56.11 is gone from ens33',
      cure: 'ip addr add 192.168.56.11/24 dev ens33',
    },
  ],
  overlayNetwork: '10.10.0.0/16',
  faults: ['the underlay address 192.168.56.11 is gone from ens33'],
  setUp: SET_UP,
  logLinesLost: 0,
  backend: 'vxlan',
  directRouting: true,
  accept: 'peers',
  device: { name: 'flannel.1', address: '10.10.58.0/32', mtu: 1450, taken: 0 },
  underlay: {
    interface: 'ens33',
    mtu: 1500,
    address: '192.168.56.11',
    port: 8472,
    publicIp: '203.0.113.7',
  },
  etcdctlFlags: '',
  store: 'etcd at http://192.168.56.131:2379, prefix /coreos.com/network',
  network: 'etcd prefix /coreos.com/network',
  storeState: {
    member: 'http://192.168.56.131:2379',
    cluster: 'cdf818194e3a8c32',
    awaySeconds: null,
    reason: null,
    nextTrySeconds: null,
    mended: 0,
    savedAt: null,
    answerMs: 3,
    alarm: null,
    leaseDrift: null,
    shortLease: null,
    certificates: [],
  },
  unsoundLeases: [],
  flanneldRefuses: null,
  configChange: null,
  lease: {
    subnet: '10.10.58.0/24',
    vtepMac: '02:00:00:00:00:0a',
    vni: 1,
    kind: 'leased',
    id: '6a6ca210c4f23c1a',
    expiresInSeconds: 86_000,
    lost: null,
  },
  peers: [
    {
      subnet: '10.10.59.0/24',
      publicIp: '192.168.56.12',
      vtepMac: '02:00:00:00:00:0b',
      direct: true,
      health: { ...UNKNOWN_HEALTH, state: 'well', words: '192.168.56.12 answers pings' },
      pathMtu: {
        mtu: 1500,
        from: 'device',
        measuredSecondsAgo: 12,
        checking: false,
        problem: '',
      },
      seen: UNSEEN,
    },
    {
      subnet: '10.10.60.0/24',
      publicIp: '203.0.113.250',
      vtepMac: '02:00:00:00:00:0c',
      direct: false,
      health: UNKNOWN_HEALTH,
      pathMtu: {
        mtu: 1400,
        from: 'route',
        measuredSecondsAgo: null,
        checking: true,
        problem: 'it does not answer',
      },
      seen: {
        ...UNSEEN,
        sentPackets: 1_161_463,
        receivedPackets: 999,
        heardSecondsAgo: 61,
        pathMtu: 1500,
      },
    },
  ],
  pathsNotMeasured: '',
  routes: {
    published: 3,
    epoch: 17,
    problems: ['10.10.60.0/24: RTNETLINK answers: File exists'],
  },
  offload: {
    tier: 'segment',
    tunTso: true,
    tunUso: false,
    udpGro: true,
    tunMerges: true,
    receiveBuffer: 16_777_216,
  },
  lanes: [
    { running: true, busySeconds: 1.5, outboundPackets: 1, inboundPackets: 2 },
    { running: false, busySeconds: 1.5, outboundPackets: 3, inboundPackets: 4 },
  ],
  laneThreads: 2,
  peerSockets: 256,
  lanesReason: 'one for every 4 of 8 processors; -lanes sets it',
  counters: {
    ...counters,
    outbound_out_packets: 1_161_463,
    outbound_out_bytes: 1_660_000_000,
    inbound_out_packets: 999,
    inbound_out_bytes: 999,
  },
  drops: { outbound_ipv6: 7, unknown_sender: 1200 },
  dropSamples: [
    {
      reason: 'unknown_sender',
      direction: 'in',
      peer: '198.51.100.7',
      packet: 'VXLAN VNI 1: TCP 10.5.9.2:40116 > 10.5.52.2:80 [S] DF 60 bytes',
      secondsAgo: 3,
    },
  ],
  strangers: [{ address: '198.51.100.7', packets: 1200, secondsAgo: 3 }],
  host: { ...NOTHING_LOST, udpInCsumErrors: 2, udpRcvbufErrors: 3000 },
  kernelUdp: { badChecksums: 2, bufferFull: 3000 },
};
