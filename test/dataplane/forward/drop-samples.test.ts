/** What is kept of packets that were dropped. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCounters, sampleTables } from '../../../src/dataplane/forward/counters.js';
import {
  type DropSample,
  DropSamples,
  readSamples,
  SAMPLES_LENGTH,
} from '../../../src/dataplane/forward/drop-samples.js';
import { Drop, type DropName } from '../../../src/dataplane/forward/drops.js';
import { EAGAIN, EIO } from '../../../src/dataplane/io/native.js';
import { describeSample } from '../../../src/operate/status/drop-sample.js';
import { concat, frame, PEER_B, PEER_C, STRANGER, tcpPacket, udpPacket } from './packets.js';
import { Rig } from './rig.js';

const IN = { source: '10.5.72.9', destination: '10.5.52.2' };
const OUT = { source: '10.5.52.2', destination: '10.5.72.9' };
const PORTS = { sourcePort: 4242, destinationPort: 53 };

function samplesOf(rig: Rig): DropSample[] {
  return readSamples(sampleTables(rig.counters.row.buffer as SharedArrayBuffer), 10);
}

function told(rig: Rig): Partial<Record<DropName, string>> {
  const lines = samplesOf(rig)
    .map(describeSample)
    .map(({ reason, direction, peer, packet }) => [reason, `${direction} ${peer}: ${packet}`]);
  return Object.fromEntries(lines);
}

test('inbound: the frame, and who sent it', () => {
  const rig = new Rig();
  const udp = udpPacket({ ...IN, ...PORTS, payload: new Uint8Array(40) });
  rig.receive(frame(udp), { address: STRANGER });
  rig.receive(frame(udp, { vni: 7 }));
  rig.receive(new Uint8Array(9), { address: PEER_C });
  const elsewhere = tcpPacket({ ...IN, ...PORTS, destination: '10.5.99.1', flags: 2 });
  // In the middle of a train of good ones.
  const size = frame(elsewhere).length;
  const good = frame(tcpPacket({ ...IN, ...PORTS, flags: 2 }));
  rig.receive(concat([good, frame(elsewhere), good]), { segment: size });
  assert.deepEqual(told(rig), {
    unknown_sender: 'in 192.168.64.77: VXLAN VNI 1: UDP 10.5.72.9:4242 > 10.5.52.2:53 68 bytes',
    foreign_vni: 'in 192.168.64.4: VXLAN VNI 7: UDP 10.5.72.9:4242 > 10.5.52.2:53 68 bytes',
    truncated: 'in 192.168.64.5: VXLAN, 9 bytes, too short',
    not_for_us: 'in 192.168.64.4: VXLAN VNI 1: TCP 10.5.72.9:4242 > 10.5.99.1:53 [S] 40 bytes',
  });
});

test('outbound: the packet; what a send refuses: the datagram, and to whom', () => {
  const rig = new Rig();
  rig.read(udpPacket({ ...OUT, ...PORTS, destination: '10.9.9.9' }));
  const six = new Uint8Array(48);
  six.set([0x60, 0, 0, 0, 0, 8, 58, 255, 0xfe, 0x80]);
  six[23] = 1;
  six.set([0xff, 2], 24);
  six[39] = 2;
  rig.read(six);
  rig.underlay.refuse = () => EAGAIN;
  rig.read(udpPacket({ ...OUT, ...PORTS, payload: new Uint8Array(700) }));
  assert.deepEqual(told(rig), {
    outbound_ipv6: 'out null: IPv6 fe80::1 > ff02::2 ICMPv6, 48 bytes',
    outbound_no_route: 'out null: UDP 10.5.52.2:4242 > 10.9.9.9:53 28 bytes',
    send_peer_full: 'out 192.168.64.4: VXLAN VNI 1: UDP 10.5.52.2:4242 > 10.5.72.9:53 728 bytes',
  });
});

test('what the TUN refuses, with a vnet header and without', () => {
  for (const vnet of [true, false]) {
    const rig = new Rig({ vnet, udpSegment: vnet });
    rig.device.refuse = () => EIO;
    rig.receive(frame(udpPacket({ ...IN, ...PORTS })));
    const tun_refused = 'in null: UDP 10.5.72.9:4242 > 10.5.52.2:53 28 bytes';
    assert.deepEqual(told(rig), { tun_refused });
  }
});

test('one a second and reason is kept: the first of its second', () => {
  const rig = new Rig();
  const drop = (address: number, second: number) => {
    rig.publisher.rows.tick(second);
    rig.receive(new Uint8Array(30), { address });
    return samplesOf(rig).map((one) => [one.address, one.secondsAgo]);
  };
  assert.deepEqual(drop(STRANGER, 4), [[STRANGER, 6]]);
  assert.deepEqual(drop(STRANGER + 1, 4), [[STRANGER, 6]]);
  assert.deepEqual(drop(STRANGER + 1, 5), [[STRANGER + 1, 5]]);
});

test('of several threads the last one; at most so many bytes; none that is being written', () => {
  const shared = createCounters(3);
  const [one, two, three] = sampleTables(shared) as [Float64Array, Float64Array, Float64Array];
  const bytes = Uint8Array.from({ length: 300 }, (_, i) => i);
  const keep = (table: Float64Array, second: number, at: number, length: number) => {
    const samples = new DropSamples(table);
    samples.now = second;
    samples.frame(Drop.truncated, PEER_B, bytes, at, 200, length);
  };
  keep(one, 3, 10, 50);
  keep(two, 7, 20, 1000);
  keep(three, 5, 30, 1000);
  const [last, ...more] = readSamples([one, two, three], 9);
  assert.deepEqual(more, []);
  assert.deepEqual([last!.secondsAgo, last!.length, last!.bytes.length], [2, 1000, 96]);
  assert.deepEqual([last!.bytes[0], last!.bytes[95]], [20, 115]);
  assert.equal(readSamples([one], 9)[0]!.bytes.length, 50);
  // As a thread leaves it between its first word and its last.
  two.fill(0);
  assert.equal(readSamples([two], 9).length, 0);
  assert.equal(one.length, SAMPLES_LENGTH);
});
