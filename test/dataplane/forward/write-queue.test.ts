import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EINVAL, EIO } from '../../../src/dataplane/io/native.js';
import { receive, segment, type Written } from './oracle.js';
import { ACK, FIN, frame, leavePartial, PEER_B, PSH, tcpPacket, udpPacket } from './packets.js';
import { Random } from './random.js';
import { Rig } from './rig.js';

const random = new Random(13);

/** `count` segments of one flow that will be merged; with what to be told apart by. */
function run(port: number, count: number, size = 500): Uint8Array[] {
  return Array.from({ length: count }, (_, i) =>
    tcpPacket({
      sourcePort: port,
      id: i,
      sequence: 1 + i * size,
      flags: i === count - 1 ? ACK | PSH | FIN : ACK,
      payload: random.bytes(i === count - 1 ? size - 7 : size),
    }),
  );
}

function push(rig: Rig, packets: readonly Uint8Array[]): void {
  for (const packet of packets) rig.underlay.push({ payload: frame(packet), address: PEER_B });
}

const isMerged = ({ vnet }: Written): boolean => vnet[1] !== 0;

test('a write that fails costs its packets alone; the rest is written in order', () => {
  const rig = new Rig();
  const packets = Array.from({ length: 10 }, (_, i) =>
    udpPacket({ payload: random.bytes(20 + i) }),
  );
  const refused = [0, 4, 5, 9];
  rig.device.refuse = ({ packet }) => (refused.includes(packet.length - 48) ? EIO : 0);
  push(rig, packets);
  rig.run();
  assert.deepEqual(
    rig.takeReceived(),
    packets.filter((_, i) => !refused.includes(i)),
  );
  assert.deepEqual(rig.drops(), { tun_refused: 4 });
  rig.checkBalance();
});

test('a merged packet that fails counts each of its packets', () => {
  const rig = new Rig();
  rig.device.refuse = () => EIO;
  push(rig, run(1, 5));
  rig.run();
  assert.deepEqual(rig.drops(), { tun_refused: 5 });
  assert.equal(rig.count('merging_refused'), 0);
  rig.checkBalance();
  rig.device.refuse = undefined;
  push(rig, run(1, 5));
  rig.run();
  assert.equal(rig.takeWritten().length, 1, 'EIO says nothing about merging');
});

test('EINVAL for what is merged: the same packets are written singly, then merging stops', () => {
  const rig = new Rig();
  rig.device.refuse = (written) => (isMerged(written) ? EINVAL : 0);
  const packets: Uint8Array[] = [];
  for (let i = 0; i < 8; i += 1) {
    const segments = run(i, 4);
    if (i % 2 === 1) segments[2] = leavePartial(segments[2]!);
    const batch = [udpPacket({ payload: random.bytes(30) }), ...segments];
    packets.push(...batch.map((packet) => packet.slice()));
    push(rig, batch);
    rig.run();
  }
  const expected = packets.map((packet) => receive(singly(packet))[0]!);
  assert.deepEqual(rig.takeReceived(), expected);
  assert.deepEqual(rig.drops(), {});
  assert.equal(rig.count('merging_refused'), 4, 'asked four times, then no more');
  assert.equal(rig.count('inbound_out_packets'), 40);
  assert.equal(
    rig.count('inbound_out_bytes'),
    packets.reduce((sum, packet) => sum + packet.length, 0),
  );
  rig.checkBalance();
});

test('EINVAL only where the last segment is shorter', () => {
  const rig = new Rig();
  rig.device.refuse = ({ vnet, packet }) => {
    const size = vnet[4]! + 256 * vnet[5]!;
    return vnet[1] !== 0 && (packet.length - 40) % size !== 0 ? EINVAL : 0;
  };
  const packets = [...run(1, 3), ...run(2, 2), ...run(3, 3)];
  packets.push(...run(4, 3).slice(0, 2));
  push(rig, packets);
  rig.run();
  assert.deepEqual(rig.takeReceived(), packets);
  assert.equal(rig.count('merging_refused'), 3);
  rig.checkBalance();
});

test('a packet written singly that fails as well is dropped alone', () => {
  const rig = new Rig();
  rig.device.refuse = (written) => (isMerged(written) ? EINVAL : written.packet[5] === 2 ? EIO : 0);
  const packets = run(1, 4);
  push(rig, [...packets, udpPacket({})]);
  rig.run();
  assert.deepEqual(rig.takeReceived(), [...packets.filter((_, i) => i !== 2), udpPacket({})]);
  assert.deepEqual(rig.drops(), { tun_refused: 1 });
  rig.checkBalance();
});

test('EINVAL for a single packet is a plain refusal', () => {
  const rig = new Rig();
  rig.device.refuse = () => EINVAL;
  push(rig, [tcpPacket({ payload: random.bytes(10) })]);
  rig.run();
  assert.deepEqual(rig.drops(), { tun_refused: 1 });
  assert.equal(rig.count('merging_refused'), 0);
});

test('EINVAL for a peer’s super-packets costs four of them; then they are cut here', () => {
  const rig = new Rig();
  rig.device.refuse = (written) => (isMerged(written) ? EINVAL : 0);
  const packets = Array.from({ length: 6 }, () => tcpPacket({ payload: random.bytes(4000) }));
  for (const packet of packets) {
    push(rig, [leavePartial(packet.slice())]);
    rig.run();
  }
  assert.deepEqual(
    rig.takeReceived(),
    packets.slice(4).flatMap((packet) => segment(packet, 1410)),
  );
  assert.deepEqual(rig.drops(), { tun_refused: 4 });
  assert.equal(rig.count('merging_refused'), 4);
  assert.equal(rig.lane.merges, false);
  rig.checkBalance();
});

test('a kernel that is known to refuse super-packets is never asked', () => {
  const rig = new Rig({ merges: false, uso: false });
  assert.equal(rig.lane.merges, false);
  const packet = tcpPacket({ payload: random.bytes(4000) });
  const packets = run(1, 4);
  push(rig, [leavePartial(packet.slice()), ...packets]);
  rig.run();
  const written = rig.takeWritten();
  assert.ok(!written.some(isMerged));
  assert.deepEqual(written.flatMap(receive), [...segment(packet, 1410), ...packets]);
  rig.checkBalance();
});

test('a batch of more packets than the queue has rows is written all, in order', () => {
  const rig = new Rig();
  const packets = Array.from({ length: 64 * 40 }, (_, i) => udpPacket({ id: i & 0xffff }));
  for (let i = 0; i < packets.length; i += 40) {
    const train = packets.slice(i, i + 40).map((packet) => frame(packet));
    const payload = new Uint8Array(Buffer.concat(train));
    rig.underlay.push({ payload, segment: train[0]!.length, address: PEER_B });
  }
  assert.equal(rig.lane.step(), 64);
  assert.deepEqual(rig.takeReceived(), packets);
  assert.equal(rig.count('inbound_out_packets'), 2560);
  rig.checkBalance();
});

/** As the lane writes a single packet of this test. */
function singly(packet: Uint8Array): Written {
  const partial = packet.length > 20 && packet[9] === 6 && isPartialTcp(packet);
  const vnet = Uint8Array.from([partial ? 1 : 0, 0, 0, 0, 0, 0, 20, 0, 16, 0]);
  return { vnet, packet };
}

function isPartialTcp(packet: Uint8Array): boolean {
  const copy = leavePartial(packet.slice());
  return copy[36] === packet[36] && copy[37] === packet[37];
}
