import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  get16,
  get32,
  ihl,
  ip,
  ipv4Packet,
  leavePartial,
  OVERHEAD,
  PEER_B,
  PEER_C,
  put16,
  seal,
  tcpPacket,
  udpPacket,
} from './packets.js';
import { offloadOf, TO_B, TO_C } from './push.js';
import { Random } from './random.js';
import { Rig } from './rig.js';

const random = new Random(31);
const DF = 0x4000;
/** To B 1350 bytes of inner packet fit. */
const PATH_MTU = 1400;

function openRig(): Rig {
  const rig = new Rig();
  rig.setPathMtu(PEER_B, PATH_MTU);
  return rig;
}

function withDf(packet: Uint8Array, fragment = DF): Uint8Array {
  put16(packet, 6, fragment);
  return seal(packet);
}

/** Looks at the message word by word (RFC 792, RFC 1191), and at both sums. */
function checkMessage(message: Uint8Array, about: Uint8Array, mtu: number): void {
  const quoted = ihl(about) + 8;
  assert.equal(message[0], 0x45);
  assert.equal(get16(message, 2), 20 + 8 + quoted);
  assert.equal(message.length, 20 + 8 + quoted);
  assert.equal(message[9], 1);
  assert.equal(get32(message, 12), ip('10.5.72.0'), 'from the VTEP that it could not reach');
  assert.equal(get32(message, 16), get32(about, 12));
  assert.deepEqual([...message.subarray(20, 22)], [3, 4]);
  assert.equal(get16(message, 24), 0);
  assert.equal(get16(message, 26), mtu);
  assert.deepEqual(message.subarray(28), about.subarray(0, quoted));
  for (const [from, to] of [
    [0, 20],
    [20, message.length],
  ] as const) {
    let sum = 0;
    for (let at = from; at < to; at += 2) sum += get16(message, at);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    assert.equal(sum, 0xffff);
  }
}

test('a packet with DF that does not fit: it leaves all the same, and its sender is told', () => {
  const rig = openRig();
  for (const total of [1350, 1351, 1450]) {
    const packet = withDf(ipv4Packet({ ...TO_B, protocol: 17 }, random.bytes(total - 20)));
    const sent = rig.read(packet);
    assert.deepEqual(
      sent.map(({ payload }) => payload.slice(OVERHEAD)),
      [packet],
    );
    const written = rig.takeWritten();
    assert.equal(written.length, total > 1350 ? 1 : 0, `${total}`);
    for (const { vnet, packet: message } of written) {
      assert.ok(vnet.every((byte) => byte === 0));
      checkMessage(message, packet, 1350);
    }
    rig.checkBalance();
  }
  assert.equal(rig.peer(PEER_B).tooBigTold, 2);
  assert.equal(rig.peer(PEER_B).inFragments, 2);
  assert.equal(rig.count('generated_packets'), 2);
});

test('a TCP super-packet whose segments do not fit: one message, about its headers as they came', () => {
  const rig = openRig();
  for (const [gso, told] of [
    [1298, false],
    [1299, true],
    [1398, true],
  ] as const) {
    const packet = withDf(
      tcpPacket({ ...TO_B, options: new Uint8Array(12).fill(1), payload: random.bytes(9000) }),
    );
    leavePartial(packet);
    const before = packet.slice();
    const counted = rig.peer(PEER_B).inFragments;
    rig.device.push(packet, offloadOf(packet, 1, gso));
    rig.run();
    const written = rig.takeWritten();
    assert.equal(written.length, told ? 1 : 0, `${gso}`);
    for (const { packet: message } of written) checkMessage(message, before, 1350);
    assert.equal(rig.takeSent().length, Math.ceil(9000 / gso));
    assert.equal(rig.peer(PEER_B).inFragments - counted, told ? Math.ceil(9000 / gso) : 0);
    rig.checkBalance();
  }
});

test('who did not forbid fragments, and who must not be told, is not', () => {
  const big = random.bytes(1400);
  const error = (type: number) => {
    const payload = big.slice();
    payload[0] = type;
    return withDf(ipv4Packet({ ...TO_B, protocol: 1 }, payload));
  };
  const cases: [string, Uint8Array, number][] = [
    ['no DF', ipv4Packet(TO_B, big), 0],
    ['a later fragment', withDf(ipv4Packet(TO_B, big), DF | 100), 0],
    ['the first fragment', withDf(ipv4Packet({ ...TO_B, protocol: 17 }, big), DF | 0x2000), 1],
    ...[3, 4, 5, 11, 12].map((type): [string, Uint8Array, number] => [
      `an ICMP error, type ${type}`,
      error(type),
      0,
    ]),
    ['a ping', error(8), 1],
    ...['0.0.0.0', '127.0.0.1', '224.0.0.1', '255.255.255.255'].map(
      (source): [string, Uint8Array, number] => [
        `from ${source}`,
        withDf(ipv4Packet({ ...TO_B, source }, big)),
        0,
      ],
    ),
    ['to another peer', withDf(ipv4Packet(TO_C, big)), 0],
  ];
  for (const [what, packet, messages] of cases) {
    const rig = openRig();
    assert.equal(rig.read(packet).length, 1, what);
    assert.equal(rig.takeWritten().length, messages, what);
    assert.equal(rig.peer(PEER_B).inFragments, what === 'to another peer' ? 0 : 1, what);
    assert.equal(rig.peer(PEER_C).inFragments, 0, what);
  }
});

test('no more than 256 a second, and then again', () => {
  const rig = openRig();
  const packet = withDf(udpPacket({ ...TO_B, payload: random.bytes(1400) }));
  const tell = () => {
    for (let i = 0; i < 1000; i += 1) rig.device.push(packet);
    rig.run();
    rig.takeSent();
    return rig.takeWritten().length;
  };
  assert.equal(tell(), 256);
  assert.equal(tell(), 0);
  rig.publisher.rows.tick(2);
  assert.equal(tell(), 256);
  assert.equal(rig.peer(PEER_C).tooBigTold, 0);
  rig.checkBalance();
});

test('a path too small for IPv4 is told to nobody', () => {
  const rig = new Rig();
  rig.setPathMtu(PEER_B, 117);
  const packet = withDf(udpPacket({ ...TO_B, payload: random.bytes(400) }));
  assert.equal(rig.read(packet).length, 1);
  assert.deepEqual(rig.takeWritten(), []);
});
