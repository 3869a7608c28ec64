/**
 * Hostile input, through the whole lane: real packets and what is made of them by chance and by
 * intent, from peers and strangers, alone and in trains, under each policy. Whatever comes:
 *
 * - in + generated = out + dropped
 * - not a byte is written outside of what was received and the tables of what is to be written
 * - a receiver sees what the oracle lets in (accept-oracle.ts), byte for byte, in order, all of it
 * - what two hosts sent is never in one write
 *
 * WEFT_FUZZ_ROUNDS=100000 lets it run long. A round that fails names its seed; WEFT_SEED with that
 * number begins with that round.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DATAGRAM_ROW, LAYOUT } from '../../../src/dataplane/io/memory.js';
import type { ReceivedDatagram } from '../../../src/dataplane/io/memory-pair.js';
import { ECHO_REQUEST, LAST_FRAGMENT, TCP_FRAME, TCP_SYN, UDP_DATAGRAM } from '../wire/frames.js';
import { expected, plain } from './accept-oracle.js';
import { receive } from './oracle.js';
import {
  ACK,
  concat,
  FIN,
  frame,
  ihl,
  ip,
  leavePartial,
  MAC_B,
  MAC_C,
  OUR_MAC,
  OVERHEAD,
  PEER_B,
  PEER_C,
  PSH,
  put16,
  put32,
  STRANGER,
  seal,
  sealTransport,
  tcpPacket,
  udpPacket,
} from './packets.js';
import { Random } from './random.js';
import { Rig } from './rig.js';
import { rowsOf, Untouched } from './untouched.js';

const ROUNDS = Number(process.env.WEFT_FUZZ_ROUNDS ?? 250);

const RECORDED = [TCP_SYN, UDP_DATAGRAM, ECHO_REQUEST, LAST_FRAGMENT, TCP_FRAME.slice(42)].map(
  (recorded) => {
    const copy = recorded.slice();
    copy.set(OUR_MAC, 8);
    copy.set(ip4('10.5.72.9'), OVERHEAD + 12);
    copy.set(ip4('10.5.52.7'), OVERHEAD + 16);
    const packet = copy.subarray(OVERHEAD);
    seal(packet);
    return copy;
  },
);

function ip4(text: string): Uint8Array {
  const bytes = new Uint8Array(4);
  put32(bytes, 0, ip(text));
  return bytes;
}

const SOURCES = ['10.5.72.9', '10.5.73.1', '10.5.90.9', '10.5.52.9', '192.0.2.1', '127.0.0.1'];
const DESTINATIONS = ['10.5.52.7', '10.5.52.0', '10.5.72.1', '8.8.8.8', '224.0.0.1', '0.0.0.0'];

/** Frames of one flow in a row, mostly such as go into one run. */
function flow(random: Random): Uint8Array[] {
  const size = random.pick([0, 1, 30, 64, 100, 101, 102, 500, 1398, 1422]);
  const source = random.chance(5) ? random.pick(SOURCES) : '10.5.72.9';
  const destination = random.chance(5) ? random.pick(DESTINATIONS) : '10.5.52.7';
  const fragment = random.pick([0x4000, 0x4000, 0, 0x2000]);
  const tos = random.pick([0, 2, 2, 3]);
  const isTcp = random.chance(2);
  return Array.from({ length: random.between(1, 8) }, (_, i) => {
    const fields = { source, destination, fragment, tos, id: i, payload: random.bytes(size) };
    const flags = random.chance(10) ? random.pick([ACK | PSH, ACK | FIN, 0]) : ACK;
    const packet = isTcp
      ? tcpPacket({ ...fields, flags, sequence: 1 + i * size })
      : udpPacket(fields);
    return frame(random.chance(4) ? leavePartial(packet) : packet);
  });
}

/** What a kernel peer with offloads leaves in one piece, with the size that the kernel tells. */
function superPacket(random: Random): [Uint8Array, number] {
  const payload = random.bytes(random.between(1, random.pick([100, 3000, 60_000])));
  if (random.chance(2)) {
    const packet = tcpPacket({ payload, options: new Uint8Array(12).fill(1) });
    return [frame(random.chance(4) ? packet : leavePartial(packet)), 0];
  }
  const size = random.pick([1, 100, 500, 1422, 1423, payload.length]);
  return [frame(leavePartial(udpPacket({ payload }))), size];
}

/** Bytes changed, cut, added; the checksums mended or not. */
function mutate(random: Random, original: Uint8Array): Uint8Array {
  let copy: Uint8Array = original.slice();
  for (let edits = random.pick([1, 1, 2, 5]); edits > 0 && copy.length > 0; edits -= 1) {
    const at = random.between(0, Math.min(copy.length, random.pick([22, 64, copy.length])) - 1);
    switch (random.between(0, 5)) {
      case 0:
        copy[at] = random.next();
        break;
      case 1:
        copy[at]! ^= 1 << random.between(0, 7);
        break;
      case 2:
        copy = copy.slice(0, random.between(0, copy.length));
        break;
      case 3:
        copy = concat([copy, random.bytes(random.pick([1, 6, 100, 1500]))]);
        break;
      case 4: // a length that lies: total, header, UDP's
        if (copy.length > OVERHEAD + 40) {
          const lie = random.pick([0, 19, 20, 28, copy.length, 2 * copy.length - 22, 0xffff]);
          put16(copy, OVERHEAD + random.pick([2, 24]), lie);
        }
        break;
      default: // an address of interest
        if (copy.length > OVERHEAD + 20) {
          const address = random.pick([...SOURCES, ...DESTINATIONS]);
          copy.set(ip4(address), OVERHEAD + random.pick([12, 16]));
        }
    }
  }
  const packet = copy.subarray(OVERHEAD);
  if (packet.length >= 40 && ihl(packet) >= 20 && ihl(packet) + 20 <= packet.length) {
    if (!random.chance(3)) seal(packet);
    const mend = random.pick([sealTransport, leavePartial, undefined]);
    mend?.(packet);
  }
  return copy;
}

function hostile(random: Random): ReceivedDatagram[] {
  const address = random.pick([PEER_B, PEER_B, PEER_B, PEER_B, PEER_C, STRANGER]);
  const tos = random.pick([0, 0, 1, 2, 3, 0xff]);
  switch (random.between(0, 6)) {
    case 0:
      return [{ payload: random.bytes(random.between(0, 200)), address, tos }];
    case 1: {
      const [payload, segment] = superPacket(random);
      const changed = random.chance(3) ? mutate(random, payload) : payload;
      return [{ payload: changed.subarray(0, 65_507), address, tos, segment }];
    }
    case 2:
      return [{ payload: mutate(random, random.pick(RECORDED)), address, tos }];
    case 3: // one by one, now and then from somebody else
      return flow(random).map((payload) => ({
        payload: random.chance(10) ? mutate(random, payload) : payload,
        address: random.chance(10) ? random.pick([PEER_C, STRANGER]) : address,
        tos,
      }));
    case 4: {
      const payload = random.pick(RECORDED);
      return [{ payload, address, tos, segment: random.pick([0, 1, 22, payload.length]) }];
    }
    default: {
      // A train, as UDP_GRO merges equal ones; each padded to one size, one of them changed.
      const frames = flow(random);
      const size = frames[0]!.length + random.pick([0, 0, 0, 1, 6]);
      const which = random.pick([-1, -1, 0, 1, frames.length - 1]);
      const pieces = frames.map((one, i) => {
        const piece = new Uint8Array(size).fill(0xee);
        const changed = i === which ? mutate(random, one) : one;
        piece.set(changed.subarray(0, size));
        return piece;
      });
      const whole = concat(pieces);
      const payload = random.chance(8) ? mutate(random, whole) : whole;
      const segment = random.chance(12) ? random.between(1, payload.length + 2) : size;
      return [{ payload: payload.subarray(0, 65_507), address, tos, segment }];
    }
  }
}

function rigOf(random: Random): { rig: Rig; accept: 'peers' | 'strict' | 'any' } {
  const accept = random.pick(['peers', 'strict', 'any'] as const);
  const vnet = !random.chance(5);
  const uso = vnet && !random.chance(4);
  const rig = new Rig({ accept, vnet, uso, merges: !random.chance(5) });
  const peer = (address: number, mac: number[]) => ({
    address,
    port: 8472,
    mac: Uint8Array.from(mac),
  });
  rig.publisher.publish(
    [
      { network: ip('10.5.72.0'), length: 24, peer: peer(PEER_B, MAC_B) },
      { network: ip('10.5.73.0'), length: 24, peer: peer(PEER_B, [2, 0, 0, 0, 0, 0x1b]) },
      { network: ip('10.5.90.0'), length: 24, peer: peer(PEER_C, MAC_C) },
    ],
    [{ network: ip('10.5.52.0'), length: 24 }],
  );
  return { rig, accept };
}

/** Returns how many packets were delivered. */
function round(random: Random): number {
  const { rig, accept } = rigOf(random);
  const untouched = new Untouched(rig.memory);
  const take = rig.underlay.receive.bind(rig.underlay);
  let rows = 0;
  rig.underlay.receive = () => {
    rows = take();
    untouched.take();
    return rows;
  };
  const wanted: { packet: Uint8Array; sender: number }[] = [];
  for (let i = 0; i < 30; i += 1) {
    for (const datagram of hostile(random)) {
      rig.underlay.push(datagram);
      for (const packet of expected({ accept, mtu: 1450 }, datagram)) {
        wanted.push({ packet: plain(packet), sender: datagram.address });
      }
    }
  }
  let delivered = 0;
  while (rig.lane.step() > 0) {
    untouched.check([
      [LAYOUT.writes, LAYOUT.headers],
      [LAYOUT.inboundHeaders, LAYOUT.outbound],
      ...rowsOf(rig.memory, LAYOUT.datagrams, DATAGRAM_ROW.words, rows, 0),
    ]);
    for (const written of rig.takeWritten()) {
      const seen = written.vnet.length === 0 ? [written.packet] : receive(written);
      const senders = new Set<number>();
      for (const packet of seen) {
        const want = wanted[delivered];
        assert.deepEqual(plain(packet), want?.packet, `packet ${delivered} that a receiver sees`);
        senders.add(want!.sender);
        delivered += 1;
      }
      assert.equal(senders.size, 1, 'what two hosts sent is in one write');
    }
    rig.checkBalance();
  }
  assert.equal(delivered, wanted.length, 'all that is to be let in is delivered');
  return delivered;
}

test('hostile input, from each sender, under each policy', (t) => {
  const { seed } = new Random();
  t.diagnostic(`WEFT_SEED=${seed}, ${ROUNDS} rounds (WEFT_FUZZ_ROUNDS)`);
  let delivered = 0;
  for (let i = 0; i < ROUNDS; i += 1) {
    try {
      delivered += round(new Random(seed + i));
    } catch (error) {
      throw new Error(`round ${i}: WEFT_SEED=${seed + i} WEFT_FUZZ_ROUNDS=1 shows it again`, {
        cause: error,
      });
    }
  }
  assert.ok(delivered > ROUNDS, `only ${delivered} packets were delivered`);
});
