/** What `weft status` prints, to the letter. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describe } from '../../../src/operate/status/status.js';
import { fullStatus } from './full.js';

test('a full status', () => {
  assert.equal(
    describe(fullStatus),
    `\
weft      0.1.0, process 4711, up 26 h 3 min
fault     the underlay address 192.168.56.11 is gone from ens33
lease     10.10.58.0/24, VNI 1, etcd lease 6a6ca210c4f23c1a, ends in 23 h 53 min unless renewed
store     etcd at http://192.168.56.131:2379, prefix /coreos.com/network
          talking to http://192.168.56.131:2379
backend   vxlan with direct routing
device    flannel.1  10.10.58.0/32, MTU 1450, VtepMAC 02:00:00:00:00:0a
underlay  ens33  192.168.56.11:8472, MTU 1500, public IP 203.0.113.7
offload   tier segment; TUN TSO yes, USO no; UDP GRO yes; receive buffer 16.8 MB
lanes     2 (one for every 4 of 8 processors; -lanes sets it), 2 threads each; lane 1 NOT RUNNING
routes    3 published, generation 17
          10.10.60.0/24: RTNETLINK answers: File exists
outbound  1,161,463 packets, 1.66 GB sent
inbound   999 packets, 999 B delivered
drops
          unknown_sender  1,200
          outbound_ipv6  7
kernel    2 datagrams with a bad checksum
kernel    3,000 datagrams lost: receive buffer full
peers     2
          10.10.59.0/24      192.168.56.12   02:00:00:00:00:0b direct
          10.10.60.0/24      203.0.113.250   02:00:00:00:00:0c path MTU 1400
`,
  );
});

test('a young status without peers, drops or an etcd lease', () => {
  const text = describe({
    ...fullStatus,
    uptimeSeconds: 59.9,
    directRouting: false,
    lease: { ...fullStatus.lease, id: null },
    underlay: { ...fullStatus.underlay, publicIp: fullStatus.underlay.address },
    routes: { published: 1, epoch: 1, problems: [] },
    drops: {},
    kernelUdp: { badChecksums: 0, bufferFull: 0 },
    peers: [],
  });
  assert.match(text, /^weft {6}0\.1\.0, process 4711, up 59 s$/m);
  assert.match(text, /^lease {5}10\.10\.58\.0\/24, VNI 1, no etcd lease$/m);
  assert.match(text, /^underlay {2}ens33 {2}192\.168\.56\.11:8472, MTU 1500$/m);
  assert.match(text, /^backend {3}vxlan$/m);
  assert.match(text, /^drops {5}none$/m);
  assert.match(text, /^peers {5}none yet$/m);
  assert.doesNotMatch(text, /^kernel/m);
});

test('a lost lease says why in place of the subnet', () => {
  const lost = { ...fullStatus.lease, lost: 'the key was deleted' };
  assert.match(describe({ ...fullStatus, lease: lost }), /^lease {5}LOST: the key was deleted$/m);
});

test('no line ends in blanks, whatever is in it', () => {
  assert.doesNotMatch(describe(fullStatus), /[ \t]$/m);
});

test('a store that is away, and what is forwarded on', () => {
  const away = { member: 'http://192.168.56.131:2379', awaySeconds: 75, mended: 0, savedAt: null };
  const shown = (storeState: typeof fullStatus.storeState) =>
    describe({ ...fullStatus, storeState });
  assert.match(shown(away), /\n {10}AWAY for 1 min; forwarding on what is known\n/);
  const savedAt = '2026-01-02T03:04:05.000Z';
  assert.match(shown({ ...away, savedAt }), /forwarding on the network saved 2026-01-02T03:04/);
  assert.match(shown({ ...away, awaySeconds: null, mended: 2 }), /\n {10}mended by relist: 2\n/);
});
