/** The last senders that no lease names. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  readStrangers,
  STRANGERS_LENGTH,
  Strangers,
} from '../../../src/dataplane/forward/strangers.js';
import { D0 } from '../wire/frames.js';
import { concat, PEER_B, STRANGER } from './packets.js';
import { Rig } from './rig.js';

const ROWS = 16;

test('what strangers sent is told with their addresses, what peers sent is not', () => {
  const rig = new Rig();
  rig.publisher.rows.tick(10);
  const train = concat([D0, D0, D0]);
  rig.receive(train, { segment: D0.length, address: STRANGER });
  rig.receive(D0, { address: PEER_B });
  rig.receive(D0, { address: 0 });
  rig.publisher.rows.tick(12);
  rig.receive(D0, { address: STRANGER });
  assert.deepEqual(readStrangers([rig.counters.strangers], 15), [
    { address: STRANGER, packets: 4, secondsAgo: 3 },
    { address: 0, packets: 1, secondsAgo: 5 },
  ]);
  assert.deepEqual(rig.drops(), { unknown_sender: 5 });
});

test('with any sender let in there are no strangers', () => {
  const rig = new Rig({ accept: 'any' });
  rig.receive(D0, { address: STRANGER });
  assert.deepEqual(readStrangers([rig.counters.strangers], 15), []);
});

test('whoever was seen longest ago makes room; of the same second who sent least', () => {
  const table = new Float64Array(STRANGERS_LENGTH);
  const strangers = new Strangers(table);
  for (let i = 1; i <= ROWS; i += 1) strangers.note(i, 100 + i, 20 - i);
  strangers.note(99, 1, 30);
  const addresses = (): number[] => readStrangers([table], 30).map(({ address }) => address);
  assert.ok(!addresses().includes(16), 'seen at 4, before all others');
  assert.equal(addresses()[0], 99);
  // A flood of forged sources within one second leaves the one that sent most.
  strangers.note(7, 1000, 40);
  for (let i = 0; i < 1000; i += 1) strangers.note(1000 + i, 1, 40);
  assert.ok(addresses().includes(7));
  assert.equal(addresses().length, ROWS);
});

test('as long as there are no more than rows, every packet is counted under its sender', () => {
  const address = fc.integer({ min: -8, max: 7 });
  const note = fc.tuple(address, fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 50 }));
  fc.assert(
    fc.property(fc.array(note), (notes) => {
      const table = new Float64Array(STRANGERS_LENGTH);
      const strangers = new Strangers(table);
      const counts = new Map<number, number>();
      for (const [from, packets, now] of notes) {
        strangers.note(from, packets, now);
        counts.set(from, (counts.get(from) ?? 0) + packets);
      }
      const seen = readStrangers([table], 50);
      assert.deepEqual(new Map(seen.map((one) => [one.address, one.packets])), counts);
      const ages = seen.map(({ secondsAgo }) => secondsAgo);
      assert.deepEqual(
        ages,
        [...ages].sort((a, b) => a - b),
      );
    }),
  );
});
