/**
 * The segmenter and the coalescer against the kernel itself, byte for byte, on random packets.
 * kernel-segments.test.ts runs this file as root in a network namespace of its own.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import { after, test } from 'node:test';
import { forwarded, KernelCutter } from './kernel-cutter.js';
import { finished, withoutId } from './oracle.js';
import {
  ACK,
  CWR,
  ECE,
  FIN,
  frame,
  leavePartial,
  NEEDS_CSUM,
  OVERHEAD,
  PEER_B,
  PSH,
  put16,
  sealTransport,
  sumAt,
  tcpPacket,
  thl,
  URG,
  udpPacket,
  vnetHeader,
} from './packets.js';
import { Random } from './random.js';
import { Rig } from './rig.js';

const OUT = { source: '10.5.52.7', destination: '10.5.72.9' } as const;
const IN = { source: '10.5.72.9', destination: '10.5.52.7' } as const;
const ECN = 0x80;
const [major, minor] = os.release().split('.').map(Number) as [number, number];
const hasUso = major > 6 || (major === 6 && minor >= 2);

const kernel = new KernelCutter(['10.5.72.0/24', '10.5.52.0/24']);
after(() => kernel.close());
const random = new Random();
const seed = `WEFT_SEED=${random.seed}`;

/** Fields that any packet may have; the TTL survives a hop. */
const anyIp = () => ({
  tos: random.between(0, 255),
  ttl: random.between(2, 255),
  id: random.pick([0, 1, 0xfff0, 0xffff, random.between(0, 0xffff)]),
  fragment: random.pick([0, 0x4000, 0xc000, 0x8000]),
  ipOptions: random.chance(8) ? Uint8Array.from([1, 1, 1, 0]) : new Uint8Array(0),
  sourcePort: random.between(0, 0xffff),
  destinationPort: random.between(0, 0xffff),
});

/** Several segments, the last of them short or full. */
function payloadFor(gsoSize: number, room: number, least: number, most: number): Uint8Array {
  const segments = random.between(least, Math.min(most, Math.floor(room / gsoSize)));
  const last = random.pick([gsoSize, 1, random.between(1, gsoSize)]);
  return random.bytes((segments - 1) * gsoSize + last);
}

function anyTcp(payload: (headers: number) => Uint8Array, more = 0xff): Uint8Array {
  const options = random.bytes(4 * random.pick([0, 3, random.between(0, 10)]));
  const ipFields = anyIp();
  const flags = [FIN, PSH, CWR, ECE, URG].reduce(
    (all, flag) => (random.chance(3) ? all | flag : all),
    ACK,
  );
  const packet = tcpPacket({
    ...ipFields,
    ...OUT,
    sequence: random.pick([0, 2 ** 31 - 2000, 2 ** 32 - 2000, 2 ** 32 - 1, random.next()]),
    acknowledgement: random.next(),
    flags: flags & more,
    window: random.between(0, 0xffff),
    urgent: random.chance(4) ? random.between(0, 0xffff) : 0,
    options,
    payload: payload(20 + ipFields.ipOptions.length + 20 + options.length),
  });
  // The four bits beside the data offset.
  packet[20 + ipFields.ipOptions.length + 12]! |= random.between(0, 15);
  return sealTransport(packet);
}

/** The same packet cut by weft, as it is after the hop that the kernel's has behind it. */
function cutByWeft(rig: Rig, packet: Uint8Array, vnet: Uint8Array): Uint8Array[] {
  const sent = rig.read(forwarded(packet), vnet).map(({ payload }) => payload.slice(OVERHEAD));
  assert.deepEqual(rig.drops(), {});
  return sent;
}

function compare(rig: Rig, packet: Uint8Array, gsoType: number, gsoSize: number, round: number) {
  const start = (packet[0]! & 15) * 4;
  const vnet = vnetHeader(
    NEEDS_CSUM,
    gsoType,
    start + thl(packet),
    gsoSize,
    start,
    sumAt(packet) - start,
  );
  leavePartial(packet);
  const theirs = kernel.cut(vnet, packet);
  const ours = cutByWeft(rig, packet, vnet);
  const what = `${seed}, round ${round}: gso size ${gsoSize}, ${packet.length} bytes`;
  assert.equal(ours.length, theirs.length, what);
  for (const [i, one] of ours.entries()) {
    assert.deepEqual(one, theirs[i], `${what}, segment ${i} of ${ours.length}`);
  }
}

test('TCP super-packets: weft’s segments are the kernel’s', (t) => {
  t.diagnostic(seed);
  const rig = new Rig();
  let segments = 0;
  for (let round = 0; round < 400; round += 1) {
    // (One segment alone the kernel drops as a faulty super-packet when it has TCP options.)
    const gsoSize = random.pick([1, 7, 100, 535, 536, 999, 1000, 1380, random.between(1, 1380)]);
    const packet = anyTcp((headers) => payloadFor(gsoSize, 65535 - headers, 2, 400));
    const hasCwr = (packet[(packet[0]! & 15) * 4 + 13]! & CWR) !== 0;
    const ecn = hasCwr || random.chance(4) ? ECN : 0;
    compare(rig, packet, 1 | ecn, gsoSize, round);
    segments = rig.count('outbound_out_packets');
  }
  assert.ok(segments > 4000, `${segments} segments`);
});

test('UDP super-packets: weft’s segments are the kernel’s', (t) => {
  if (!hasUso) return t.skip(`kernel ${os.release()} has no USO on a TUN (6.2 has)`);
  t.diagnostic(seed);
  const rig = new Rig();
  for (let round = 0; round < 400; round += 1) {
    const gsoSize = random.pick([1, 7, 100, 535, 1200, 1399, 1400, random.between(1, 1400)]);
    const payload = payloadFor(gsoSize, 65535 - 32, 1, 64);
    compare(rig, udpPacket({ ...anyIp(), ...OUT, payload }), 5, gsoSize, round);
  }
});

test('a UDP checksum that comes to zero is ffff with both', (t) => {
  if (!hasUso) return t.skip(`kernel ${os.release()} has no USO on a TUN (6.2 has)`);
  const rig = new Rig();
  // The first segment's first payload word is chosen so that its sum is all ones.
  const payload = random.bytes(300);
  const first = udpPacket({ ...OUT, payload: payload.slice(0, 100) });
  const value = first[sumAt(first)]! * 256 + first[sumAt(first) + 1]!;
  put16(payload, 0, (payload[0]! * 256 + payload[1]! + value) % 65535);
  const [segment] = cutByWeft(
    rig,
    leavePartial(udpPacket({ ...OUT, payload })),
    vnetHeader(NEEDS_CSUM, 5, 28, 100, 20, 6),
  );
  assert.equal(segment![26]! * 256 + segment![27]!, 0xffff);
  compare(rig, udpPacket({ ...OUT, payload }), 5, 100, 0);
});

/** Packets from B through the lane, what it wrote through the kernel. */
function throughBoth(rig: Rig, packets: readonly Uint8Array[]): Uint8Array[] {
  for (const packet of packets) {
    rig.underlay.push({ payload: frame(packet), address: PEER_B });
  }
  rig.run();
  return rig.takeWritten().flatMap(({ vnet, packet }) => kernel.cut(vnet, packet));
}

/** A stream of one flow: equal sizes, sometimes another, sometimes something else altogether. */
function stream(isTcp: boolean): Uint8Array[] {
  const base = {
    ...anyIp(),
    ...IN,
    tos: random.between(0, 2),
    ipOptions: new Uint8Array(0),
    options: isTcp ? random.bytes(4 * random.pick([0, 3])) : undefined,
    flags: ACK | (random.chance(3) ? ECE : 0),
  };
  const size = random.pick([1, 100, 535, 1000, 1380]);
  let sequence = random.pick([1, 2 ** 32 - 3000, random.next()]);
  const packets: Uint8Array[] = [];
  for (let i = 0; i < 150; i += 1) {
    const length = random.chance(12) ? random.between(0, size) : size;
    const { options, flags, ...fields } = {
      ...base,
      id: (base.id + i + (random.chance(30) ? 1 : 0)) & 0xffff,
      ttl: random.chance(20) ? random.between(2, 255) : base.ttl,
      flags: random.chance(8) ? ACK | PSH | (random.chance(4) ? FIN : 0) : base.flags,
    };
    const payload = random.bytes(length);
    const packet = isTcp
      ? tcpPacket({ ...fields, flags, options: options!, sequence, payload })
      : udpPacket({ ...fields, payload });
    sequence = (sequence + length) % 2 ** 32;
    const kind = random.between(1, 20);
    if (kind <= 4) leavePartial(packet);
    else if (kind === 5 && length > 0) packet[packet.length - 1]! ^= 1;
    else if (kind === 6 && !isTcp) put16(packet, sumAt(packet), 0);
    packets.push(packet);
  }
  return packets;
}

for (const [name, isTcp] of [
  ['TCP', true],
  ['UDP', false],
] as const) {
  test(`${name}: what weft merges and the kernel cuts again is what came`, (t) => {
    if (!isTcp && !hasUso) return t.skip(`kernel ${os.release()} has no USO on a TUN (6.2 has)`);
    t.diagnostic(seed);
    const rig = new Rig();
    for (let round = 0; round < 60; round += 1) {
      const packets = stream(isTcp);
      const expected = packets.map((packet) => forwarded(finished(packet)));
      const got = throughBoth(rig, packets);
      assert.equal(got.length, expected.length, `${seed}, round ${round}`);
      for (const [i, one] of got.entries()) {
        assert.deepEqual(withoutId(one), withoutId(expected[i]!), `${seed}, round ${round}, ${i}`);
      }
    }
    assert.deepEqual(rig.drops(), {});
    const { writes, inbound_out_packets: all } = {
      writes: rig.count('writes'),
      inbound_out_packets: rig.count('inbound_out_packets'),
    };
    t.diagnostic(`${name}: ${all} packets in ${writes} writes`);
    assert.ok(writes < all / 2, `${all} packets in ${writes} writes`);
  });

  test(`${name}: ids that count up come out as they were, DF or not`, (t) => {
    if (!isTcp && !hasUso) return t.skip(`kernel ${os.release()} has no USO on a TUN (6.2 has)`);
    const rig = new Rig();
    for (const fragment of [0, 0x4000]) {
      const packets = Array.from({ length: 40 }, (_, i) => {
        const fields = { ...IN, fragment, id: (0xfff0 + i) & 0xffff, payload: random.bytes(1000) };
        return isTcp ? tcpPacket({ ...fields, sequence: 1 + 1000 * i }) : udpPacket(fields);
      });
      assert.deepEqual(throughBoth(rig, packets), packets.map(forwarded));
      assert.equal(rig.count('writes'), fragment === 0 ? 1 : 2);
    }
  });
}

test('the kernel found no fault with any of them', () => {
  const rows = fs
    .readFileSync('/proc/net/snmp', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('Ip:'))
    .map((line) => line.split(' '));
  const value = (name: string): number => Number(rows[1]![rows[0]!.indexOf(name)]);
  assert.ok(value('ForwDatagrams') > 0);
  for (const name of ['InHdrErrors', 'InAddrErrors', 'InDiscards', 'OutDiscards', 'FragFails']) {
    assert.equal(value(name), 0, name);
  }
});
