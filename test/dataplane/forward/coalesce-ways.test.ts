/**
 * The two ways into a run are one: whatever the short way takes, the long way, with all its checks,
 * takes, too, and what is written is the same to the byte. So the same random datagrams, which are
 * mostly the next of a run but for a little, go through a lane that has both and one that has not.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ACK,
  concat,
  FIN,
  frame,
  ihl,
  leavePartial,
  OVERHEAD,
  PEER_B,
  PEER_C,
  PSH,
  STRANGER,
  seal,
  sealTransport,
  tcpPacket,
  udpPacket,
} from './packets.js';
import { Random } from './random.js';
import { Rig, type RigOptions } from './rig.js';
import { countShort, withoutShort } from './short-way.js';

const random = new Random();
const OPTIONS = Uint8Array.from([1, 1, 8, 10, 0, 1, 2, 3, 0, 4, 5, 6]);

interface Datagram {
  readonly payload: Uint8Array;
  readonly address: number;
  readonly tos: number;
  readonly segment: number;
}

/** Frames of one flow in a row. */
function run(isTcp: boolean, count: number, size: number, fragment: number): Uint8Array[] {
  const options = random.chance(2) ? OPTIONS : new Uint8Array(0);
  const tos = random.pick([0, 0, 2, 3]);
  const start = random.pick([1, 2 ** 32 - size, 2 ** 31 - 1]);
  return Array.from({ length: count }, (_, i) => {
    const id = (65534 + i) & 0xffff;
    const payload = random.bytes(size);
    const last = i === count - 1 && random.chance(2);
    const flags = last ? random.pick([ACK | PSH, ACK | FIN]) : ACK;
    const sequence = (start + i * size) % 2 ** 32;
    const packet = isTcp
      ? tcpPacket({ id, tos, fragment, options, flags, sequence, payload })
      : udpPacket({ id, tos, fragment, payload });
    return random.chance(8) ? leavePartial(packet) : packet;
  });
}

/** A frame with something changed, its checksums mended or not. */
function changed(original: Uint8Array): Uint8Array {
  const copy = original.slice();
  const headers = OVERHEAD + 40 + OPTIONS.length;
  const at = random.between(0, Math.min(copy.length, random.pick([headers, copy.length])) - 1);
  if (random.chance(2)) copy[at]! ^= 1 << random.between(0, 7);
  else copy[at] = random.next();
  const packet = copy.subarray(OVERHEAD);
  if (random.chance(2) && ihl(packet) >= 20 && ihl(packet) + 20 <= packet.length) {
    sealTransport(seal(packet));
  }
  return copy;
}

function batch(): Datagram[] {
  const size = random.pick([1, 2, 3, 64, 100, 101, 102, 103, 700]);
  const packets = run(!random.chance(3), random.between(2, 12), size, random.pick([0, 0x4000]));
  const frames = packets.map((packet) => {
    const one = frame(packet);
    if (random.chance(20)) return changed(one);
    return one;
  });
  if (random.chance(6)) frames.push(changed(frames.at(-1)!));
  const sender = (): number => (random.chance(30) ? random.pick([PEER_C, STRANGER]) : PEER_B);
  const tos = random.pick([0, 2, 3]);
  if (random.chance(2)) {
    const payload = concat(frames);
    return [{ payload, address: sender(), tos, segment: frames[0]!.length }];
  }
  return frames.map((payload) => ({
    payload,
    address: sender(),
    tos: random.chance(20) ? 3 : tos,
    segment: 0,
  }));
}

function outcome(options: RigOptions, datagrams: readonly Datagram[]) {
  const rig = new Rig(options);
  for (const datagram of datagrams) rig.underlay.push(datagram);
  rig.run();
  rig.checkBalance();
  return {
    written: rig.takeWritten(),
    drops: rig.drops(),
    reserved: rig.count('reserved_bits_seen'),
  };
}

test('with and without the short way the same is written and dropped', (t) => {
  t.diagnostic(`WEFT_SEED=${random.seed}`);
  let frames = 0;
  const short = countShort(() => {
    for (let i = 0; i < 150; i += 1) {
      const accept = random.pick(['peers', 'strict', 'any'] as const);
      const datagrams = Array.from({ length: 4 }, batch).flat();
      const both = outcome({ accept }, datagrams);
      let long: typeof both | undefined;
      withoutShort(() => {
        long = outcome({ accept }, datagrams);
      });
      assert.deepEqual(both, long);
      frames += datagrams.length;
    }
  });
  assert.ok(short > frames / 20, `${short} of ${frames} and more went the short way`);
});
