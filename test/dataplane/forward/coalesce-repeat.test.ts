/**
 * The short way of coalescing (`Coalescer.extend`) takes a frame for the run's first one again.
 * So: a run in which one later frame differs in any single bit must give a receiver just what
 * the frames give when each comes alone.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { receive, withoutId } from './oracle.js';
import {
  ACK,
  concat,
  frame,
  OVERHEAD,
  PEER_B,
  seal,
  sealTransport,
  tcpPacket,
  udpPacket,
} from './packets.js';
import { Random } from './random.js';
import { Rig } from './rig.js';
import { countShort } from './short-way.js';

const random = new Random(11);
/** So that every frame of a train has its IPv4 header on a word, as bulk flows have. */
const PAYLOAD = 102;
/** NOP, NOP, timestamp: the options that bulk flows have. */
const OPTIONS = Uint8Array.from([1, 1, 8, 10, 0, 1, 2, 3, 0, 4, 5, 6]);
const RUN = 5;

function tcpRun(fragment: number): Uint8Array[] {
  return Array.from({ length: RUN }, (_, i) =>
    tcpPacket({
      id: 100 + i,
      fragment,
      flags: ACK,
      sequence: 0xffffff00 + i * PAYLOAD,
      options: OPTIONS,
      payload: random.bytes(PAYLOAD),
    }),
  );
}

function udpRun(fragment: number): Uint8Array[] {
  return Array.from({ length: RUN }, (_, i) =>
    udpPacket({ id: 100 + i, fragment, payload: random.bytes(PAYLOAD) }),
  );
}

/** What a receiver sees and what is counted when the frames come as `datagrams`. */
function outcome(rig: Rig, datagrams: { payload: Uint8Array; segment?: number; tos?: number }[]) {
  const dropsBefore = JSON.stringify(rig.drops());
  const reservedBefore = rig.count('reserved_bits_seen');
  const written = datagrams.flatMap(({ payload, ...more }) => {
    rig.underlay.push({ payload, address: PEER_B, ...more });
    rig.run();
    return rig.takeWritten();
  });
  return {
    writes: written.length,
    received: written.flatMap(receive),
    dropped: dropsBefore === JSON.stringify(rig.drops()) ? 0 : 1,
    reserved: rig.count('reserved_bits_seen') - reservedBefore,
  };
}

for (const [name, runOf, fragment, headers] of [
  ['TCP, DF', tcpRun, 0x4000, 40 + OPTIONS.length],
  ['TCP, no DF', tcpRun, 0, 40 + OPTIONS.length],
  ['UDP, DF', udpRun, 0x4000, 28],
  ['UDP, no DF', udpRun, 0, 28],
] as const) {
  const run = (): Uint8Array[] => runOf(fragment);
  test(`${name}: a run goes the short way and is one packet`, () => {
    const packets = run();
    const payload = concat(packets.map((packet) => frame(packet)));
    const short = countShort(() => {
      const { writes, received } = outcome(new Rig(), [
        { payload, segment: OVERHEAD + headers + PAYLOAD },
      ]);
      assert.equal(writes, 1);
      assert.deepEqual(received.map(withoutId), packets.map(withoutId));
    });
    assert.equal(short, RUN - 2, 'all but the first, and the second that verifies it');
  });

  test(`${name}: any bit of a later frame's headers, its sums mended or not`, () => {
    const together = new Rig();
    const alone = new Rig();
    for (let bit = 0; bit < (OVERHEAD + headers + 2) * 8; bit += 1) {
      for (const mended of [false, true]) {
        for (const which of [2, RUN - 1]) {
          const frames = run().map((packet) => frame(packet));
          const changed = frames[which]!;
          changed[bit >> 3]! ^= 1 << (bit & 7);
          if (mended) {
            const packet = changed.subarray(OVERHEAD);
            try {
              sealTransport(seal(packet));
            } catch {
              continue; // a header length that cannot be sealed
            }
          }
          const train = outcome(together, [
            { payload: concat(frames), segment: OVERHEAD + headers + PAYLOAD },
          ]);
          const single = outcome(
            alone,
            frames.map((payload) => ({ payload })),
          );
          const what = `bit ${bit & 7} of byte ${(bit >> 3) - OVERHEAD}, frame ${which}, mended ${mended}`;
          assert.deepEqual(train.received.map(withoutId), single.received.map(withoutId), what);
          assert.equal(train.dropped, single.dropped, what);
          assert.equal(train.reserved, single.reserved, what);
        }
      }
    }
    together.checkBalance();
  });
}

test('a run over datagrams whose outer ECN differs: each gets its own', () => {
  for (const inner of [0, 1, 2, 3]) {
    for (const outer of [0, 1, 2, 3]) {
      const frames = tcpRun(0x4000).map((packet) => {
        packet[1] = inner;
        return frame(seal(packet));
      });
      const tos = [0, 0, outer, outer, 0];
      const rig = new Rig();
      for (const [i, payload] of frames.entries()) {
        rig.underlay.push({ payload, address: PEER_B, tos: tos[i]! });
      }
      rig.run();
      const alone = outcome(
        new Rig(),
        frames.map((payload, i) => ({ payload, tos: tos[i]! })),
      );
      const seen = rig.takeReceived().map(withoutId);
      assert.deepEqual(seen, alone.received.map(withoutId), `inner ${inner}, outer ${outer}`);
      rig.checkBalance();
    }
  }
});
