import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LAYOUT } from '../../../src/dataplane/io/memory.js';
import { finished, receive, withoutId } from './oracle.js';
import {
  ACK,
  CWR,
  concat,
  ECE,
  FIN,
  frame,
  leavePartial,
  OVERHEAD,
  PEER_B,
  PEER_C,
  PSH,
  pseudoOf,
  put16,
  RST,
  SYN,
  seal,
  sealTransport,
  sumAt,
  sumOf,
  type TcpFields,
  tcpPacket,
  URG,
  udpPacket,
} from './packets.js';
import { Random } from './random.js';
import { Rig } from './rig.js';

const random = new Random(11);
const DATA = random.bytes(1398);
/** Timestamps as Linux sends them. */
const STAMP = Uint8Array.from([1, 1, 8, 10, 0, 0, 1, 2, 0, 0, 3, 4]);

/** Two or more packets of one batch; how many writes they became. */
function writesOf(...packets: Uint8Array[]): number {
  const rig = new Rig({ mtu: 1500 });
  for (const packet of packets) rig.underlay.push({ payload: frame(packet), address: PEER_B });
  rig.run();
  const written = rig.takeWritten();
  assert.deepEqual(written.flatMap(receive).map(withoutId), packets.map(finished).map(withoutId));
  rig.checkBalance();
  return written.length;
}

const first: TcpFields = { fragment: 0x4000, sequence: 1, options: STAMP, payload: DATA };
const next: TcpFields = { ...first, sequence: 1399 };

test('two segments that follow each other become one, whose every field is right', () => {
  const rig = new Rig({ mtu: 1500 });
  rig.underlay.push({ payload: frame(tcpPacket({ ...first, id: 5 })), address: PEER_B });
  const last = { ...next, id: 6, flags: ACK | PSH, payload: DATA.slice(0, 1000) };
  rig.underlay.push({ payload: frame(tcpPacket(last)), address: PEER_B });
  rig.run();
  const [written, ...more] = rig.takeWritten();
  assert.deepEqual(more, []);
  const whole = tcpPacket({
    ...first,
    id: 5,
    flags: ACK | PSH,
    payload: concat([DATA, DATA.slice(0, 1000)]),
  });
  assert.deepEqual(written!.packet, leavePartial(whole));
  // NEEDS_CSUM, TCPV4, headers 52, size 1398, sum at 20 + 16.
  assert.deepEqual([...written!.vnet], [1, 1, 52, 0, 1398 & 255, 1398 >> 8, 20, 0, 16, 0]);
  assert.equal(rig.count('inbound_out_packets'), 2);
  assert.equal(rig.count('inbound_out_bytes'), 52 + 1398 + 52 + 1000);
  assert.equal(rig.count('writes'), 1);
});

test('DF clear: the id must count up; DF set: any will do', () => {
  const clear = { ...first, fragment: 0 };
  const at = (id: number, sequence: number): Uint8Array => tcpPacket({ ...clear, id, sequence });
  assert.equal(writesOf(at(9, 1), at(10, 1399), at(11, 2797)), 1);
  assert.equal(writesOf(at(65535, 1), at(0, 1399)), 1);
  assert.equal(writesOf(at(9, 1), at(9, 1399)), 2);
  assert.equal(writesOf(at(9, 1), at(11, 1399)), 2);
  assert.equal(writesOf(at(9, 1), at(10, 1399), at(10, 2797)), 2);
  assert.equal(writesOf(tcpPacket({ ...first, id: 9 }), tcpPacket({ ...next, id: 3 })), 1);
});

const otherStamp = STAMP.slice();
otherStamp[11]! += 1;
const DIFFERENCES: readonly (readonly [string, TcpFields])[] = [
  ['TTL', { ttl: 62 }],
  ['ECN', { tos: 2 }],
  ['DSCP', { tos: 0xb8 }],
  ['DF', { fragment: 0, id: 1 }],
  ['the reserved bit', { fragment: 0xc000 }],
  ['IP options', { ipOptions: Uint8Array.from([1, 1, 1, 1]) }],
  ['a timestamp', { options: otherStamp }],
  ['the length of the options', { options: STAMP.slice(0, 8) }],
  ['no options', { options: new Uint8Array(0) }],
  ['the acknowledgement', { acknowledgement: 78 }],
  ['the window', { window: 501 }],
  ['the window, upper byte', { window: 502 + 256 }],
  ['the urgent pointer', { urgent: 1 }],
  ['the source port', { sourcePort: 40001 }],
  ['the destination port', { destinationPort: 5202 }],
  ['the source', { source: '10.5.72.10' }],
  ['the destination', { destination: '10.5.52.8' }],
  ['ECE', { flags: ACK | ECE }],
  ['CWR', { flags: ACK | CWR }],
  ['SYN', { flags: ACK | SYN }],
  ['RST', { flags: ACK | RST }],
  ['URG', { flags: ACK | URG }],
  ['no ACK', { flags: 0 }],
  ['SYN with ECE and CWR', { flags: SYN | ECE | CWR }],
];

for (const [what, change] of DIFFERENCES) {
  test(`${what}: never merged over`, () => {
    assert.equal(writesOf(tcpPacket(first), tcpPacket({ ...next, ...change })), 2);
    assert.equal(writesOf(tcpPacket({ ...first, ...change }), tcpPacket(next)), 2);
  });
}

test('flags that never take part in a run, on both sides alike', () => {
  for (const flag of [SYN, RST, URG, CWR]) {
    const flags = ACK | flag;
    assert.equal(writesOf(tcpPacket({ ...first, flags }), tcpPacket({ ...next, flags })), 2);
  }
});

test('ECE on all segments is kept on all', () => {
  const flags = ACK | ECE;
  assert.equal(writesOf(tcpPacket({ ...first, flags }), tcpPacket({ ...next, flags })), 1);
});

test('PSH and FIN end a run and stay on it', () => {
  const third = { ...first, sequence: 2797 };
  for (const flags of [ACK | PSH, ACK | FIN, ACK | PSH | FIN]) {
    const ending = tcpPacket({ ...next, flags });
    assert.equal(writesOf(tcpPacket(first), ending), 1);
    assert.equal(writesOf(tcpPacket(first), ending, tcpPacket(third)), 2);
    assert.equal(writesOf(tcpPacket({ ...first, flags }), tcpPacket(next)), 2);
  }
});

test('only the exact continuation is merged', () => {
  const at = (sequence: number, size = 1398): Uint8Array =>
    tcpPacket({ ...first, sequence, payload: DATA.slice(0, size) });
  assert.equal(writesOf(at(1), at(1)), 2, 'a duplicate');
  assert.equal(writesOf(at(1), at(1399), at(1399)), 2, 'a duplicate later');
  assert.equal(writesOf(at(1), at(1400)), 2, 'a gap of one');
  assert.equal(writesOf(at(1), at(1398)), 2, 'an overlap of one');
  assert.equal(writesOf(at(1399), at(1)), 2, 'reordered');
  assert.equal(writesOf(at(1), at(1399, 1000), at(2399)), 2, 'nothing after a shorter one');
  assert.equal(writesOf(at(1, 1000), at(1001)), 2, 'no longer one after a shorter');
  assert.equal(writesOf(at(1), at(1399, 0)), 2, 'a pure acknowledgement is no data');
  assert.equal(writesOf(at(1, 0), at(1)), 2);
  assert.equal(writesOf(at(1, 0), at(1, 0), at(1, 0)), 3, 'duplicate acknowledgements count');
});

test('what is no plain TCP segment is never merged, be it alike on both sides', () => {
  const ipOptions = Uint8Array.from([1, 1, 1, 1]);
  assert.equal(writesOf(tcpPacket({ ...first, ipOptions }), tcpPacket({ ...next, ipOptions })), 2);
  const edited = (fields: TcpFields, at: number, value: number): Uint8Array => {
    const packet = tcpPacket(fields);
    packet[at] = value;
    return seal(packet);
  };
  const alike = (at: number, value: number): number =>
    writesOf(edited(first, at, value), edited(next, at, value));
  assert.equal(alike(6, 0x20), 2, 'first fragments');
  assert.equal(alike(7, 0x10), 2, 'later fragments');
  const short = (sequence: number): Uint8Array =>
    sealTransport(edited({ ...first, sequence }, 32, 0x40));
  assert.equal(writesOf(short(1), short(1 + 1450 - 36)), 2, 'a TCP header of 16 bytes');
  // The bytes of a TCP segment, and one protocol up its checksum is as right as before.
  const other = (fields: TcpFields): Uint8Array => {
    const packet = tcpPacket(fields);
    packet[9] = 7;
    put16(packet, 36, 0);
    put16(packet, 36, 0xffff - sumOf(packet.subarray(20), pseudoOf(packet)));
    return seal(packet);
  };
  assert.equal(writesOf(other(first), other(next)), 2, 'another protocol');
});

test('sequence numbers wrap', () => {
  for (const start of [2 ** 32 - 1398, 2 ** 32 - 1, 2 ** 31 - 700, 2 ** 31, 2 ** 32 - 2796]) {
    const packets = [0, 1, 2].map((i) =>
      tcpPacket({ ...first, sequence: (start + i * 1398) % 2 ** 32 }),
    );
    assert.equal(writesOf(...packets), 1, `from ${start}`);
  }
  assert.equal(writesOf(tcpPacket({ ...first, sequence: 2 ** 32 - 1398 }), tcpPacket(first)), 2);
});

test('a damaged segment is neither merged nor repaired, first, middle or last', () => {
  for (let bad = 0; bad < 3; bad += 1) {
    const packets = [0, 1, 2].map((i) => tcpPacket({ ...first, sequence: 1 + i * 1398 }));
    packets[bad]![700]! ^= 0x10;
    assert.equal(writesOf(...packets), bad === 1 ? 3 : 2);
  }
  const sum = [tcpPacket(first), tcpPacket(next)] as const;
  sum[1][sumAt(sum[1])]! ^= 1;
  assert.equal(writesOf(...sum), 2);
});

test('segments with incomplete checksums are merged, also with complete ones', () => {
  const partial = leavePartial(tcpPacket(next));
  assert.equal(writesOf(tcpPacket(first), partial), 1);
  assert.equal(writesOf(leavePartial(tcpPacket(first)), tcpPacket(next)), 1);
  assert.equal(writesOf(leavePartial(tcpPacket(first)), partial), 1);
  const damaged = tcpPacket(next);
  damaged[500]! ^= 1;
  assert.equal(writesOf(leavePartial(tcpPacket(first)), damaged), 2);
});

test('fragments and other protocols between two segments keep them apart', () => {
  const fragment = tcpPacket(next);
  put16(fragment, 6, 0x2000);
  assert.equal(writesOf(tcpPacket(first), seal(fragment)), 2);
  const udp = udpPacket({ payload: DATA });
  assert.equal(writesOf(tcpPacket(first), udp, tcpPacket(next)), 3, 'no reordering either');
});

test('one flow from two peers is never merged', () => {
  const rig = new Rig({ mtu: 1500 });
  // An address that is nobody's: either may send it.
  const source = '192.0.2.9';
  const packets = [tcpPacket({ ...first, source }), tcpPacket({ ...next, source })] as const;
  for (const senders of [
    [PEER_B, PEER_B],
    [PEER_B, PEER_C],
    [PEER_C, PEER_B],
  ]) {
    for (const [i, address] of senders.entries()) {
      rig.underlay.push({ payload: frame(packets[i]!), address });
    }
    rig.run();
    assert.equal(rig.takeWritten().length, senders[0] === senders[1] ? 1 : 2);
  }
});

test('a run ends with its batch', () => {
  const rig = new Rig({ mtu: 1500 });
  for (const fields of [first, next]) {
    rig.underlay.push({ payload: frame(tcpPacket(fields)), address: PEER_B });
    rig.lane.step();
  }
  assert.equal(rig.takeWritten().length, 2);
});

test('a run never exceeds what an IPv4 packet can say', () => {
  const packets = Array.from({ length: 60 }, (_, i) =>
    tcpPacket({ ...first, sequence: 1 + i * 1398 }),
  );
  const rig = new Rig({ mtu: 1500 });
  for (const packet of packets) rig.underlay.push({ payload: frame(packet), address: PEER_B });
  rig.run();
  const written = rig.takeWritten();
  assert.deepEqual(
    written.map(({ packet }) => packet.length),
    [52 + 46 * 1398, 52 + 14 * 1398],
  );
  assert.ok(written.every(({ packet }) => packet.length <= 65535));
});

test('65,535 bytes in all are the most', () => {
  const run = (tail: number): number =>
    writesOf(
      ...Array.from({ length: 46 }, (_, i) => tcpPacket({ ...first, sequence: 1 + i * 1398 })),
      tcpPacket({ ...first, sequence: 1 + 46 * 1398, payload: DATA.slice(0, tail) }),
    );
  assert.equal(run(65535 - 52 - 46 * 1398), 1);
  assert.equal(run(65536 - 52 - 46 * 1398), 2);
});

test('a super-packet between two segments keeps them apart', () => {
  const large = leavePartial(tcpPacket({ sourcePort: 9, payload: random.bytes(4000) }));
  const rig = new Rig({ mtu: 1500 });
  for (const packet of [tcpPacket(first), large, tcpPacket(next)]) {
    rig.underlay.push({ payload: frame(packet), address: PEER_B });
  }
  rig.run();
  assert.deepEqual(
    rig.takeWritten().map(({ packet }) => packet),
    [tcpPacket(first), large, tcpPacket(next)],
  );
});

test('trains of one-byte segments: never more pieces a write than writev takes', () => {
  const rig = new Rig({ mtu: 1500 });
  const rows: number[] = [];
  const write = rig.device.write.bind(rig.device);
  rig.device.write = (from, count, iovecs) => {
    for (let row = from; row < from + count; row += 1) {
      rows.push(rig.memory.words[(LAYOUT.writes >> 2) + 2 * row + 1]!);
    }
    return write(from, count, iovecs);
  };
  const packets = Array.from({ length: 64 * 64 }, (_, i) =>
    tcpPacket({ fragment: 0x4000, sequence: 1 + i, payload: Uint8Array.of(i) }),
  );
  for (let i = 0; i < packets.length; i += 64) {
    const payload = concat(packets.slice(i, i + 64).map((packet) => frame(packet)));
    rig.underlay.push({ payload, segment: OVERHEAD + 41, address: PEER_B });
  }
  rig.run();
  assert.deepEqual(rows, [1024, 1024, 1024, 1024]);
  assert.deepEqual(rig.takeReceived().map(withoutId), packets.map(withoutId));
  rig.checkBalance();
});
