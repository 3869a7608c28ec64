/** Any bytes, both ways: no exception, the balance holds, no byte is touched that is not ours. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COUNTER_NAMES } from '../../../src/dataplane/forward/counters.js';
import { DROP_NAMES } from '../../../src/dataplane/forward/drops.js';
import {
  BATCH,
  DATAGRAM_ROW,
  ENCAPSULATION,
  LAYOUT,
  PACKET_ROW,
} from '../../../src/dataplane/io/memory.js';
import { ECHO_REQUEST, TCP_FRAME, TCP_SYN, UDP_DATAGRAM } from '../wire/frames.js';
import {
  concat,
  frame,
  leavePartial,
  PEER_B,
  put16,
  STRANGER,
  seal,
  tcpPacket,
  udpPacket,
  vnetHeader,
} from './packets.js';
import { Random } from './random.js';
import { Rig } from './rig.js';
import { rowsOf, Untouched } from './untouched.js';

const ANY = new Random();

/** Something between a sound packet and noise. */
function mutated(original: Uint8Array): Uint8Array {
  let copy: Uint8Array = original.slice();
  for (let edits = ANY.pick([0, 1, 1, 2, 5]); edits > 0; edits -= 1) {
    if (copy.length === 0) return copy;
    const at = ANY.between(0, Math.min(copy.length - 1, ANY.pick([10, 50, 100])));
    switch (ANY.between(0, 4)) {
      case 0:
        copy[at] = ANY.next();
        break;
      case 1:
        copy[at]! ^= 1 << ANY.between(0, 7);
        break;
      case 2:
        copy = copy.slice(0, ANY.between(0, copy.length));
        break;
      case 3:
        copy = concat([copy, ANY.bytes(ANY.between(0, 100))]);
        break;
      default:
        if (at + 1 < copy.length) put16(copy, at, ANY.pick([0, 1, 20, 0x7fff, 0x8000, 0xffff]));
    }
  }
  return copy;
}

/** The same with the header checksum made right, so that it gets further. */
function resealed(payload: Uint8Array, at: number): Uint8Array {
  const packet = payload.subarray(at);
  if (packet.length >= 60 && (packet[0]! & 15) >= 5) seal(packet);
  return payload;
}

const PACKETS = [
  tcpPacket({ payload: new Uint8Array(1000), options: new Uint8Array(12).fill(1) }),
  udpPacket({ payload: new Uint8Array(3000) }),
  leavePartial(tcpPacket({ payload: new Uint8Array(9000) })),
  leavePartial(udpPacket({ payload: new Uint8Array(100) })),
];

test('any datagrams inwards', (t) => {
  t.diagnostic(`WEFT_SEED=${ANY.seed}`);
  const rig = new Rig();
  const untouched = new Untouched(rig.memory);
  let rows = 0;
  const receive = rig.underlay.receive.bind(rig.underlay);
  rig.underlay.receive = () => {
    rows = receive();
    untouched.take();
    return rows;
  };
  const samples = [
    TCP_SYN,
    UDP_DATAGRAM,
    ECHO_REQUEST,
    TCP_FRAME.slice(42),
    ...PACKETS.map((p) => frame(p)),
  ];
  for (const sample of samples) sample.set([2, 0, 0, 0, 0, 10], 8);
  for (let round = 0; round < 250; round += 1) {
    for (let i = 0; i < BATCH; i += 1) {
      const sample = ANY.pick(samples);
      const payload = ANY.chance(20)
        ? ANY.bytes(ANY.between(0, 200))
        : ANY.chance(2)
          ? resealed(mutated(sample), ENCAPSULATION)
          : mutated(ANY.chance(4) ? concat([sample, sample, sample]) : sample);
      rig.underlay.push({
        payload,
        address: ANY.chance(20) ? STRANGER : PEER_B,
        tos: ANY.between(0, 255),
        segment: ANY.pick([0, 0, sample.length, 1, ANY.between(0, 65535)]),
      });
    }
    rig.lane.step();
    const datagrams = rowsOf(rig.memory, LAYOUT.datagrams, DATAGRAM_ROW.words, rows, 0);
    untouched.check([
      [LAYOUT.writes, LAYOUT.headers],
      [LAYOUT.inboundHeaders, LAYOUT.outbound],
      ...datagrams,
    ]);
    rig.checkBalance();
    rig.takeWritten();
  }
  const reasons = Object.keys(rig.drops());
  assert.ok(reasons.length >= 12, `only ${reasons}`);
  assert.ok(rig.count('inbound_out_packets') > 1000);
});

test('any packets outwards', (t) => {
  t.diagnostic(`WEFT_SEED=${ANY.seed}`);
  const rig = new Rig();
  const untouched = new Untouched(rig.memory);
  let rows = 0;
  const read = rig.device.read.bind(rig.device);
  rig.device.read = () => {
    rows = read();
    untouched.take();
    return rows;
  };
  const destinations = [
    [10, 5, 72, 9],
    [10, 5, 72, 9],
    [10, 5, 52, 9],
    [224, 0, 0, 1],
  ] as const;
  const samples = destinations.flatMap((to) =>
    PACKETS.map((packet) => {
      const sample = packet.slice();
      sample.set(to, 16);
      return seal(sample);
    }),
  );
  const word = (): number => ANY.pick([0, 1, 6, 16, 20, 40, 1000, ANY.between(0, 65535)]);
  for (let round = 0; round < 250; round += 1) {
    for (let i = 0; i < BATCH; i += 1) {
      const sample = mutated(ANY.pick(samples));
      const packet = ANY.chance(20)
        ? ANY.bytes(ANY.between(0, 200))
        : ANY.chance(2)
          ? resealed(sample, 0)
          : sample;
      const type = ANY.pick([0, 0, 1, 5, 0x81, ANY.between(0, 255)]);
      const vnet = vnetHeader(ANY.between(0, 3), type, word(), word(), word(), word());
      rig.device.push(packet, ANY.chance(2) ? vnet : undefined);
    }
    rig.lane.step();
    // Segments of one byte may take several rounds of the header slots: only the packets'
    // own bytes and the place of their template are looked at.
    const packets = rowsOf(rig.memory, LAYOUT.packets, PACKET_ROW.words, rows, ENCAPSULATION);
    untouched.check([
      [LAYOUT.messages, LAYOUT.writes],
      [LAYOUT.headers, LAYOUT.outbound],
      ...packets,
    ]);
    rig.checkBalance();
    rig.underlay.sent.length = 0;
  }
  const reasons = Object.keys(rig.drops());
  assert.ok(reasons.length >= 5, `only ${reasons}`);
  assert.ok(rig.count('outbound_out_packets') > 1000);
});

test('every reason and every counter has a name of its own', () => {
  assert.equal(new Set(DROP_NAMES).size, DROP_NAMES.length);
  assert.equal(new Set(COUNTER_NAMES).size, COUNTER_NAMES.length);
  assert.equal(DROP_NAMES[0], 'none');
});
