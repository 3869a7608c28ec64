/** What the lanes saw of peers and strangers, as the status tells it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seenOf, strangersOf } from '../../../src/control/daemon/seen.js';
import { Counters, createCounters } from '../../../src/dataplane/forward/counters.js';
import { Strangers } from '../../../src/dataplane/forward/strangers.js';
import { PeerView, Seen } from '../../../src/dataplane/routes/peer-rows.js';
import { Publisher } from '../../../src/dataplane/routes/publisher.js';
import { RouteReader } from '../../../src/dataplane/routes/reader.js';

const ADDRESS = 0x0a000002;

function publisherOf(threads: number): Publisher {
  const ownMac = Uint8Array.of(2, 0, 0, 0, 0, 1);
  const publisher = new Publisher({ vni: 1, ownMac, threads: threads });
  publisher.publish(
    [1, 2].map((n) => ({
      network: 0x0a0a0000 | (n << 8),
      length: 24,
      peer: { address: ADDRESS, port: 8472, mac: Uint8Array.of(2, 0, 0, 0, 0, n) },
    })),
    [],
  );
  return publisher;
}

test('a host with two subnets is told with what both have', () => {
  const publisher = publisherOf(2);
  const { lookup, peers } = (() => {
    const reader = new RouteReader(publisher.handle, 0, () => undefined);
    return { lookup: (address: number) => reader.lookup(address), peers: reader.peers };
  })();
  const other = new PeerView(publisher.rows.handle, 1);
  const [first, second] = [lookup(0x0a0a0107), lookup(0x0a0a0207)];
  publisher.rows.tick(10);
  peers.add(first, Seen.sentPackets, 3);
  other.add(first, Seen.sentPackets, 4);
  peers.add(second, Seen.sentPackets, 5);
  peers.heard(first, 2, 100);
  publisher.rows.tick(12);
  other.heard(second, 1, 50);
  publisher.rows.setPathMtu(first - 2, 1500);
  publisher.rows.setPathMtu(second - 2, 1400);
  publisher.rows.tick(15);
  const seen = seenOf(publisher, ADDRESS);
  assert.equal(seen.sentPackets, 12);
  assert.equal(seen.receivedPackets, 3);
  assert.equal(seen.receivedBytes, 150);
  assert.equal(seen.heardSecondsAgo, 3, 'the last time, of either');
  assert.equal(seen.pathMtu, 1400, 'the shorter one');
  assert.equal(seen.segmentAgainIn, 0);
  assert.equal(seenOf(publisher, 7).heardSecondsAgo, null, 'of nobody nothing was heard');
});

test('strangers of all threads, each address once', () => {
  const publisher = publisherOf(2);
  const counters = createCounters(2);
  publisher.rows.tick(100);
  new Strangers(new Counters(counters, 0).strangers).note(0xc0a84004 | 0, 3, 90);
  new Strangers(new Counters(counters, 1).strangers).note(0xc0a84004 | 0, 4, 95);
  new Strangers(new Counters(counters, 1).strangers).note(0x0a000009, 1, 99);
  assert.deepEqual(strangersOf(counters, publisher), [
    { address: '10.0.0.9', packets: 1, secondsAgo: 1 },
    { address: '192.168.64.4', packets: 7, secondsAgo: 5 },
  ]);
});
