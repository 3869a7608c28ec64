/** Scattered reads: whatever was guessed, the datagrams that leave are those of the packets. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EIO } from '../../../src/dataplane/io/native.js';
import { segment } from './oracle.js';
import {
  GSO_TCPV4,
  GSO_UDP_L4,
  ihl,
  ipv4Packet,
  leavePartial,
  NEEDS_CSUM,
  OVERHEAD,
  PEER_B,
  sumAt,
  tcpPacket,
  udpPacket,
  vnetHeader,
} from './packets.js';
import { Random } from './random.js';
import { Rig } from './rig.js';

const TO_B = { source: '10.5.52.7', destination: '10.5.72.9' } as const;
/** 22 + 20 + 32 + 1398 bytes a segment: a multiple of 4. */
const OPTIONS = new Uint8Array(12).fill(1);
const SIZE = 1398;

interface Sample {
  readonly packet: Uint8Array;
  readonly vnet: Uint8Array;
  readonly pieces: readonly Uint8Array[];
}

function superPacket(packet: Uint8Array, type: number, size: number): Sample {
  const start = ihl(packet);
  return {
    packet: leavePartial(packet.slice()),
    vnet: vnetHeader(NEEDS_CSUM, type, 0, size, start, sumAt(packet) - start),
    pieces: segment(packet, size),
  };
}

const single = (packet: Uint8Array): Sample => ({
  packet,
  vnet: vnetHeader(0),
  pieces: [packet],
});

function bulk(random: Random, length = 65_000, size = SIZE): Sample {
  const payload = random.bytes(length);
  const packet = tcpPacket({ ...TO_B, flags: random.between(0, 255), options: OPTIONS, payload });
  return superPacket(packet, GSO_TCPV4, size);
}

/** A rig that tells how each batch was read. */
function openRig(): { rig: Rig; sizes: number[] } {
  const rig = new Rig();
  const sizes: number[] = [];
  const read = rig.device.read.bind(rig.device);
  rig.device.read = (headers, size) => {
    const rows = read(headers, size);
    if (rows > 0) sizes.push(size ?? 0);
    return rows;
  };
  return { rig, sizes };
}

function carry(rig: Rig, samples: readonly Sample[]): void {
  for (const { packet, vnet } of samples) rig.device.push(packet, vnet);
  rig.run();
  assert.deepEqual(
    rig.takeSent().map(({ payload }) => payload.slice(OVERHEAD)),
    samples.flatMap(({ pieces }) => pieces),
  );
  assert.deepEqual(rig.drops(), {});
  rig.checkBalance();
}

test('a stream is read scattered from the third batch on, and a message is one piece', () => {
  const random = new Random(1);
  const { rig, sizes } = openRig();
  for (let i = 0; i < 5; i += 1) carry(rig, [bulk(random)]);
  assert.deepEqual(sizes, [0, 0, SIZE, SIZE, SIZE]);

  const send = rig.underlay.send.bind(rig.underlay);
  const iovecs: number[] = [];
  rig.underlay.send = (from, rows, iovecRows) => {
    iovecs.push(iovecRows / rows);
    return send(from, rows, iovecRows);
  };
  carry(rig, [bulk(random)]);
  assert.deepEqual(iovecs, [1]);
});

test('behind a batch without super-packets there is no guess, another shape ends it', () => {
  const random = new Random(2);
  const { rig, sizes } = openRig();
  const acknowledgement = single(tcpPacket({ ...TO_B, payload: new Uint8Array(0) }));
  for (let i = 0; i < 3; i += 1) carry(rig, [bulk(random)]);
  carry(rig, [acknowledgement]);
  carry(rig, [bulk(random), acknowledgement]);
  carry(rig, [bulk(random, 9000, 1000)]);
  carry(rig, [bulk(random)]);
  carry(rig, [bulk(random)]);
  carry(rig, [bulk(random), bulk(random, 9000, 1000)]);
  carry(rig, [bulk(random)]);
  assert.deepEqual(sizes, [0, 0, SIZE, SIZE, 0, SIZE, 0, 0, SIZE, 0]);
});

test('no guess where its headers would lie beside a word, or its pieces be short', () => {
  const random = new Random(3);
  for (const size of [SIZE - 1, SIZE - 2, SIZE - 3, 510]) {
    const { rig, sizes } = openRig();
    for (let i = 0; i < 4; i += 1) carry(rig, [bulk(random, 20_000, size)]);
    assert.deepEqual(sizes, [0, 0, 0, 0], `${size}`);
  }
});

test('whatever comes after a guess: the same datagrams leave', () => {
  const random = new Random(4);
  for (let round = 0; round < 300; round += 1) {
    const { rig } = openRig();
    const size = random.pick([SIZE, 514, 1002, 1450 - 40]);
    for (let i = 0; i < 3; i += 1) carry(rig, [bulk(random, 30_000, size)]);
    const samples = Array.from({ length: random.between(1, 6) }, () => {
      const kind = random.between(0, 5);
      const payload = random.bytes(random.between(1, 60_000));
      if (kind === 0) return bulk(random, payload.length, size);
      if (kind === 1) return bulk(random, payload.length, random.between(512, 1398));
      if (kind === 2) {
        return superPacket(tcpPacket({ ...TO_B, payload }), GSO_TCPV4, size);
      }
      if (kind === 3) return superPacket(udpPacket({ ...TO_B, payload }), GSO_UDP_L4, size);
      // No super-packet, be it as long as one.
      if (kind === 4) return single(ipv4Packet(TO_B, payload));
      return single(udpPacket({ ...TO_B, payload: payload.subarray(0, 1400) }));
    });
    carry(rig, samples);
  }
});

test('a scattered message is taken apart when UDP_SEGMENT is refused, also piece by piece', () => {
  const random = new Random(5);
  for (let round = 0; round < 40; round += 1) {
    const { rig } = openRig();
    for (let i = 0; i < 3; i += 1) carry(rig, [bulk(random, 30_000)]);
    rig.underlay.refuse = ({ segment: size, payload, address }) => {
      assert.equal(address, PEER_B);
      if (size > 0) return EIO;
      assert.ok(payload.length <= OVERHEAD + 52 + SIZE);
      return 0;
    };
    carry(rig, [bulk(random, random.between(2000, 65_000)), bulk(random, 5000)]);
    assert.equal(rig.peer(PEER_B).segmentRefused, 1);
  }
});
