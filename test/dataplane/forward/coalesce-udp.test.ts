/**
 * UDP datagrams of one flow become one super-packet; a receiver behind the TUN sees the very
 * datagrams that came, one by one.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EINVAL } from '../../../src/dataplane/io/native.js';
import { finished, isPartial, receive, withoutId } from './oracle.js';
import {
  concat,
  frame,
  get16,
  leavePartial,
  OVERHEAD,
  PEER_B,
  PEER_C,
  put16,
  seal,
  sealTransport,
  sumAt,
  tcpPacket,
  type UdpFields,
  udpPacket,
} from './packets.js';
import { Random } from './random.js';
import { Rig } from './rig.js';

const random = new Random(17);
const DATA = random.bytes(1400);
const DF = 0x4000;

/** Packets of one batch; how many writes they became. */
function writesOf(...packets: Uint8Array[]): number {
  const rig = new Rig();
  for (const packet of packets) rig.underlay.push({ payload: frame(packet), address: PEER_B });
  rig.run();
  const written = rig.takeWritten();
  assert.deepEqual(written.flatMap(receive).map(withoutId), packets.map(finished).map(withoutId));
  rig.checkBalance();
  return written.length;
}

const datagram = (size: number, more: UdpFields = {}): Uint8Array =>
  udpPacket({ fragment: DF, payload: DATA.slice(0, size), ...more });

test('three datagrams become one packet, whose every field is right', () => {
  const rig = new Rig();
  const fields = { fragment: 0, tos: 0xb8 };
  const packets = [700, 700, 300].map((size, i) => datagram(size, { ...fields, id: 9 + i }));
  for (const packet of packets) rig.underlay.push({ payload: frame(packet), address: PEER_B });
  rig.run();
  const [written, ...more] = rig.takeWritten();
  assert.deepEqual(more, []);
  const payload = concat([DATA.slice(0, 700), DATA.slice(0, 700), DATA.slice(0, 300)]);
  assert.deepEqual(written!.packet, leavePartial(udpPacket({ ...fields, id: 9, payload })));
  // NEEDS_CSUM, UDP_L4, headers 28, size 700, sum at 20 + 6.
  assert.deepEqual([...written!.vnet], [1, 5, 28, 0, 700 & 255, 700 >> 8, 20, 0, 6, 0]);
  assert.deepEqual(receive(written!), packets);
  assert.equal(rig.count('inbound_out_packets'), 3);
  assert.equal(rig.count('inbound_out_bytes'), 3 * 28 + 1700);
  assert.equal(rig.count('writes'), 1);
  rig.checkBalance();
});

test('only the last may be shorter, none longer, none empty', () => {
  const run = (...sizes: number[]): number => writesOf(...sizes.map((size) => datagram(size)));
  assert.equal(run(100, 100), 1);
  assert.equal(run(1, 1, 1, 1), 1);
  assert.equal(run(1400, 1400), 1);
  assert.equal(run(100, 99), 1);
  assert.equal(run(100, 1), 1);
  assert.equal(run(100, 99, 99), 2, 'a shorter one is the last of its run');
  assert.equal(run(100, 99, 100), 2);
  assert.equal(run(99, 100), 2);
  assert.equal(run(100, 0), 2);
  assert.equal(run(0, 0, 0), 3);
  assert.equal(run(0, 100, 100), 2);
  assert.equal(run(500, 100, 500, 100, 500, 100), 3);
});

test('64 datagrams are the most, and 65,535 bytes', () => {
  // In trains, since a batch has 64 datagrams at most.
  const run = (count: number, size: number): number => {
    const rig = new Rig();
    const packets = Array.from({ length: count }, () => datagram(size));
    for (let i = 0; i < count; i += 40) {
      const payload = concat(packets.slice(i, i + 40).map((packet) => frame(packet)));
      rig.underlay.push({ payload, segment: OVERHEAD + 28 + size, address: PEER_B });
    }
    rig.run();
    const written = rig.takeWritten();
    assert.deepEqual(written.flatMap(receive).map(withoutId), packets.map(withoutId));
    return written.length;
  };
  assert.equal(run(64, 8), 1);
  assert.equal(run(65, 8), 2);
  assert.equal(run(129, 8), 3);
  assert.equal(run(46, 1400), 1);
  assert.equal(run(47, 1400), 2);
  const tail = (size: number): number =>
    writesOf(...Array.from({ length: 46 }, () => datagram(1400)), datagram(size));
  assert.equal(tail(65535 - 28 - 46 * 1400), 1);
  assert.equal(tail(65536 - 28 - 46 * 1400), 2);
});

const DIFFERENCES: readonly (readonly [string, UdpFields])[] = [
  ['TTL', { ttl: 62 }],
  ['ECN', { tos: 2 }],
  ['DSCP', { tos: 0xb8 }],
  ['DF', { fragment: 0, id: 1 }],
  ['the reserved bit', { fragment: 0xc000 }],
  ['more fragments', { fragment: 0x2000 }],
  ['an offset', { fragment: 0x0010 }],
  ['IP options', { ipOptions: Uint8Array.from([1, 1, 1, 1]) }],
  ['the source port', { sourcePort: 40003 }],
  ['the destination port', { destinationPort: 7002 }],
  ['the source', { source: '10.5.72.10' }],
  ['the destination', { destination: '10.5.52.8' }],
];

for (const [what, change] of DIFFERENCES) {
  test(`${what}: never merged over`, () => {
    for (const other of [datagram(500, change), leavePartial(datagram(500, change))]) {
      const plain = datagram(500);
      if (what === 'more fragments' || what === 'an offset') sealTransport(other);
      assert.equal(writesOf(plain, other), 2);
      assert.equal(writesOf(other, plain), 2);
    }
  });
}

test('fragments and IP options, alike on both sides, are never merged', () => {
  for (const change of DIFFERENCES.filter(([what]) => /fragments|offset|options/.test(what))) {
    assert.equal(writesOf(datagram(500, change[1]), datagram(500, change[1])), 2, change[0]);
  }
});

test('DF clear: the id must count up; DF set: any will do', () => {
  const clear = (id: number): Uint8Array => datagram(500, { fragment: 0, id });
  assert.equal(writesOf(clear(9), clear(10), clear(11)), 1);
  assert.equal(writesOf(clear(65535), clear(0)), 1);
  assert.equal(writesOf(clear(9), clear(9)), 2);
  assert.equal(writesOf(clear(9), clear(10), clear(10)), 2);
  assert.equal(writesOf(datagram(500, { id: 9 }), datagram(500, { id: 3 })), 1);
});

test('no checksum is never merged, not even where the sum of all is right with it', () => {
  const none = datagram(500);
  put16(none, sumAt(none), 0);
  assert.equal(writesOf(none, none, none), 3);
  assert.equal(writesOf(datagram(500), none), 2);
  assert.equal(writesOf(datagram(500), datagram(500), none), 2);
  assert.equal(writesOf(none, datagram(500)), 2);
  // A datagram whose checksum would be computed as 0, so that 0 and ffff both sum up right.
  const chosen = datagram(500, { payload: DATA.slice(0, 500) });
  const value = get16(chosen, sumAt(chosen));
  put16(chosen, 28, (get16(chosen, 28) + value) % 65535);
  sealTransport(chosen);
  assert.equal(get16(chosen, sumAt(chosen)), 0xffff);
  assert.equal(writesOf(chosen, chosen, chosen), 1);
  const zero = chosen.slice();
  put16(zero, sumAt(zero), 0);
  assert.equal(writesOf(chosen, chosen, zero), 2);
  assert.equal(writesOf(chosen, zero), 2);
});

test('a damaged datagram is neither merged nor repaired, first, middle or last', () => {
  for (let bad = 0; bad < 4; bad += 1) {
    const packets = [0, 1, 2, 3].map(() => datagram(500));
    packets[bad]![300]! ^= 0x10;
    assert.equal(writesOf(...packets), [2, 3, 3, 2][bad], `the one at ${bad}`);
  }
});

test('incomplete checksums are merged, also with complete ones', () => {
  const partial = leavePartial(datagram(500));
  assert.equal(writesOf(datagram(500), partial, datagram(500)), 1);
  assert.equal(writesOf(partial, partial, datagram(400)), 1);
});

test('a UDP length that is not the packet’s is never merged', () => {
  const claiming = (length: number): Uint8Array => {
    const packet = datagram(500);
    put16(packet, 24, length);
    return sealTransport(packet);
  };
  for (const length of [0, 7, 8, 400, 507, 509, 1000]) {
    assert.equal(writesOf(claiming(length), claiming(length)), 2, `length ${length}`);
    assert.equal(writesOf(datagram(500), datagram(500), claiming(length)), 2, `length ${length}`);
  }
});

test('TCP and UDP of one address pair, and two flows in turn, keep their order', () => {
  const ports = { sourcePort: 5000, destinationPort: 6000, fragment: DF };
  const udp = datagram(480, ports);
  const tcp = tcpPacket({ ...ports, payload: DATA.slice(0, 468) });
  assert.equal(writesOf(udp, tcp, udp), 3);
  assert.equal(writesOf(tcp, udp, udp, tcp), 3);
  const other = datagram(480, { ...ports, sourcePort: 5001 });
  assert.equal(writesOf(udp, other, udp, other), 4);
  assert.equal(writesOf(udp, udp, other, other), 2);
});

test('one flow from two peers is never merged, and a run ends with its batch', () => {
  const rig = new Rig({ accept: 'any' });
  for (const address of [PEER_B, PEER_C]) {
    rig.underlay.push({ payload: frame(datagram(500)), address });
  }
  rig.run();
  assert.equal(rig.takeWritten().length, 2);
  for (let i = 0; i < 2; i += 1) {
    rig.underlay.push({ payload: frame(datagram(500)), address: PEER_B });
    rig.lane.step();
  }
  assert.equal(rig.takeWritten().length, 2);
});

test('where the TUN takes no UDP super-packets nothing is merged', () => {
  for (const options of [{ uso: false }, { vnet: false, uso: false }, { merges: false }]) {
    const rig = new Rig(options);
    const packets = [500, 500, 500].map((size) => datagram(size));
    const payload = concat(packets.map((packet) => frame(packet)));
    rig.underlay.push({ payload, segment: OVERHEAD + 528, address: PEER_B });
    rig.run();
    assert.deepEqual(
      rig.takeWritten().map(({ packet }) => packet),
      packets,
    );
  }
});

test('EINVAL for a merged run: the same datagrams are written singly, then merging stops', () => {
  const rig = new Rig();
  rig.device.refuse = ({ vnet }) => (vnet[1] !== 0 ? EINVAL : 0);
  const packets: Uint8Array[] = [];
  for (let i = 0; i < 8; i += 1) {
    const batch = [400, 400, 400, 123].map((size) => datagram(size, { id: i }));
    if (i % 2 === 1) batch[2] = leavePartial(batch[2]!);
    if (i % 3 === 1) batch[0] = leavePartial(batch[0]!);
    packets.push(...batch.map(finished));
    for (const packet of batch) rig.underlay.push({ payload: frame(packet), address: PEER_B });
    assert.equal(rig.lane.merges, i < 4);
    rig.run();
  }
  assert.deepEqual(rig.takeReceived(), packets);
  assert.equal(rig.count('merging_refused'), 4);
  assert.deepEqual(rig.drops(), {});
  rig.checkBalance();
});

test('whatever datagrams come in, a receiver sees the same in the same order', (t) => {
  const any = new Random();
  t.diagnostic(`WEFT_SEED=${any.seed}`);
  const rig = new Rig();
  let merged = 0;
  for (let round = 0; round < 60; round += 1) {
    const flows = Array.from({ length: any.between(1, 3) }, (_, i) => ({
      sourcePort: 1000 + i,
      fragment: any.pick([0, DF]),
      size: any.pick([1, 64, 700, 1400]),
      id: any.pick([0, 65500]),
    }));
    let flow = flows[0]!;
    const packets: Uint8Array[] = [];
    while (packets.length < 300) {
      if (any.chance(8)) flow = any.pick(flows);
      let { size } = flow;
      if (any.chance(12)) size = any.between(0, size);
      if (any.chance(40)) size = Math.min(1400, size + 1);
      if (any.chance(25)) flow.id += any.pick([-1, 1, 7]);
      flow.id = (flow.id + 1) & 0xffff;
      const more: UdpFields = any.chance(12)
        ? any.pick<UdpFields>([
            { ttl: 60 },
            { tos: any.between(0, 3) },
            { ipOptions: Uint8Array.from([1, 1, 1, 0]) },
            { fragment: 0x2000 },
            { destination: '10.5.52.8' },
          ])
        : {};
      let packet = udpPacket({ ...flow, payload: any.bytes(size), ...more });
      const isFragment = more.fragment === 0x2000;
      const spoiled = any.between(1, 40);
      if (spoiled <= 10 && !isFragment) packet = leavePartial(packet);
      else if (spoiled <= 13) put16(packet, sumAt(packet), 0);
      else if (spoiled <= 16 && size > 0) {
        packet[any.between(28, packet.length - 1)]! ^= 1 << any.between(0, 7);
        if (isPartial(packet)) continue;
      }
      packets.push(seal(packet));
    }
    let at = 0;
    while (at < packets.length) {
      // Single datagrams and trains of equal ones.
      let end = at + 1;
      const { length } = packets[at]!;
      while (end < packets.length && packets[end]!.length === length && end - at < 40) end += 1;
      const train = packets.slice(at, end).map((packet) => frame(packet));
      const segment = end - at > 1 ? OVERHEAD + length : 0;
      rig.underlay.push({ payload: concat(train), segment, address: PEER_B });
      at = end;
    }
    rig.run();
    const written = rig.takeWritten();
    merged += packets.length - written.length;
    assert.deepEqual(
      written.flatMap(receive).map(withoutId),
      packets.map(finished).map(withoutId),
      `WEFT_SEED=${any.seed}, round ${round}`,
    );
    rig.checkBalance();
  }
  assert.deepEqual(rig.drops(), {});
  assert.ok(merged > 3000, `only ${merged} of 18000 datagrams were merged`);
});
