/** What is known and seen of a peer, through any sequence of publishes. */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { FIRST_PEER, type Route } from '../../../src/dataplane/routes/peer.js';
import {
  PeerRows,
  PeerView,
  PLACES,
  SEEN_NAMES,
  Seen,
} from '../../../src/dataplane/routes/peer-rows.js';
import { Publisher } from '../../../src/dataplane/routes/publisher.js';
import { RouteReader } from '../../../src/dataplane/routes/reader.js';
import { ip, OWN_MAC, peer, route } from './lane.js';

const peerRows = (threads = 1) => {
  const rows = new PeerRows(threads);
  return {
    rows,
    views: Array.from({ length: threads }, (_, i) => new PeerView(rows.handle, i)),
  };
};

test('each column is counted for itself, and the threads are added up', () => {
  const { rows, views } = peerRows(3);
  rows.begin(4, 7, 8);
  for (const [i, name] of SEEN_NAMES.entries()) {
    for (const [thread, view] of views.entries()) {
      view.add(FIRST_PEER + 4, Seen[name], (i + 1) * 10 ** thread);
    }
  }
  const report = rows.read(4);
  for (const [i, name] of SEEN_NAMES.entries()) {
    assert.equal(report[name], (i + 1) * 111, name);
    assert.equal(rows.count(4, name), (i + 1) * 111, name);
  }
  assert.equal(rows.read(3).sentPackets, 0);
  assert.equal(rows.read(5).sentPackets, 0);
  rows.begin(4, 9, 8);
  views[1]!.add(FIRST_PEER + 4, Seen.sentPackets, 5);
  assert.equal(rows.count(4, 'sentPackets'), 5, 'of the peer that has the place now');
});

test('the lanes know of a peer what they were told', () => {
  const { rows, views } = peerRows(2);
  rows.begin(0, 5, 0x0a0a0100);
  rows.setPathMtu(0, 1400);
  for (const view of views) {
    assert.equal(view.overlay(FIRST_PEER), 0x0a0a0100);
    assert.equal(view.pathMtu(FIRST_PEER), 1400);
    assert.equal(view.overlay(FIRST_PEER + 1), 0);
  }
  rows.go(0, 5, 0x0a0a0200);
  assert.equal(views[0]!.overlay(FIRST_PEER), 0x0a0a0200);
  assert.equal(views[0]!.pathMtu(FIRST_PEER), 1400, 'it goes on');
  rows.begin(0, 6, 0x0a0a0300);
  assert.equal(views[0]!.pathMtu(FIRST_PEER), 0, 'another peer has a path of its own');
});

test('a new peer in an old place begins at 0, whatever was seen there before', () => {
  const counts = fc.record({
    amounts: fc.array(fc.nat(1000), {
      minLength: SEEN_NAMES.length,
      maxLength: SEEN_NAMES.length,
    }),
    thread: fc.nat(1),
    refused: fc.nat(3),
    heard: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(counts, { maxLength: 8 }), counts, (before, mine) => {
      const { rows, views } = peerRows(2);
      const see = ({ amounts, thread, refused, heard }: typeof mine): void => {
        for (const [i, amount] of amounts.entries()) views[thread]!.add(FIRST_PEER, i, amount);
        for (let i = 0; i < refused; i += 1) views[thread]!.refuseSegment(FIRST_PEER);
        if (heard) views[thread]!.heard(FIRST_PEER, 1, 60);
      };
      for (const [i, seen] of before.entries()) {
        rows.begin(0, i, i);
        rows.tick(i + 1);
        see(seen);
      }
      rows.begin(0, 99, 99);
      const fresh = rows.read(0);
      for (const name of SEEN_NAMES) assert.equal(fresh[name], 0, name);
      assert.equal(fresh.heardSecondsAgo, undefined);
      assert.equal(fresh.segmentAgainIn, 0);
      assert.ok(views.every((view) => view.maySegment(FIRST_PEER)));
      see({ ...mine, refused: 0, heard: false });
      for (const [i, name] of SEEN_NAMES.entries()) {
        assert.equal(rows.read(0)[name], mine.amounts[i], name);
      }
    }),
    { numRuns: 40 },
  );
});

test('when a peer was heard is told in seconds, that of the thread that heard it last', () => {
  const { rows, views } = peerRows(2);
  rows.begin(0, 1, 1);
  assert.equal(rows.read(0).heardSecondsAgo, undefined);
  rows.tick(10);
  views[0]!.heard(FIRST_PEER, 3, 300);
  rows.tick(14);
  views[1]!.heard(FIRST_PEER, 1, 100);
  rows.tick(20);
  assert.equal(rows.read(0).heardSecondsAgo, 6);
  assert.equal(rows.read(0).receivedPackets, 4);
  assert.equal(rows.read(0).receivedBytes, 400);
});

test('a peer whose UDP_SEGMENT was refused goes without it, each time twice as long, up to 256 s', () => {
  const { rows, views } = peerRows(2);
  const [view, other] = views as [PeerView, PeerView];
  rows.begin(0, 1, 1);
  rows.begin(1, 2, 2);
  let now = 1;
  for (const wait of [1, 2, 4, 8, 16, 32, 64, 128, 256, 256]) {
    view.refuseSegment(FIRST_PEER);
    assert.equal(rows.read(0).segmentAgainIn, wait);
    for (let i = 0; i < wait; i += 1) {
      assert.equal(view.maySegment(FIRST_PEER), false, `${wait}: ${i}`);
      assert.equal(other.maySegment(FIRST_PEER), true, "the other thread's own");
      assert.equal(view.maySegment(FIRST_PEER + 1), true, "the other peer's own");
      now += 1;
      rows.tick(now);
    }
    assert.equal(view.maySegment(FIRST_PEER), true);
  }
  assert.equal(rows.read(0).segmentRefused, 10);
});

test('the wait ends with the peer: the next one in its place is not made to wait, nor longer', () => {
  const { rows, views } = peerRows();
  const [view] = views as [PeerView];
  rows.begin(0, 1, 1);
  for (let i = 0; i < 5; i += 1) view.refuseSegment(FIRST_PEER);
  assert.equal(view.maySegment(FIRST_PEER), false);
  rows.begin(0, 2, 2);
  assert.equal(view.maySegment(FIRST_PEER), true);
  view.refuseSegment(FIRST_PEER);
  assert.equal(rows.read(0).segmentAgainIn, 1);
  rows.go(0, 2, 3);
  assert.equal(view.maySegment(FIRST_PEER), false, 'who only goes on waits on');
});

test('peers beyond the last row share it, and nothing is written behind it', () => {
  const { rows, views } = peerRows(2);
  const [first, second] = views as [PeerView, PeerView];
  first.add(FIRST_PEER + PLACES + 10, Seen.sentPackets, 5);
  first.add(FIRST_PEER + PLACES - 1, Seen.sentPackets, 7);
  assert.equal(rows.read(PLACES - 1).sentPackets, 12);
  assert.equal(rows.read(PLACES + 3).sentPackets, 12);
  assert.equal(rows.read(0).sentPackets, 0, 'where the next thread begins');
  assert.equal(second.maySegment(FIRST_PEER), true);
});

test('what the lanes count under an answer of the table is told for that peer, publish by publish', () => {
  const peers = ['192.168.64.1', '192.168.64.2', '192.168.64.3', '192.168.64.4'].map((address) =>
    peer(address),
  );
  const subset = fc.subarray([0, 1, 2, 3]);
  fc.assert(
    fc.property(fc.array(subset, { minLength: 1, maxLength: 8 }), (publishes) => {
      const publisher = new Publisher({ vni: 1, ownMac: OWN_MAC, threads: 1 });
      const counted = new Map<number, number>();
      for (const which of publishes) {
        const routes: Route[] = which.map((i) => route(`10.5.${i}.0/24`, peers[i]!));
        publisher.publish(routes, []);
        const reader = new RouteReader(publisher.handle, 0, () => undefined);
        for (const i of [...counted.keys()]) if (!which.includes(i)) counted.delete(i);
        for (const i of which) {
          reader.peers.add(reader.lookup(ip(`10.5.${i}.9`)), Seen.sentPackets, i + 1);
          counted.set(i, (counted.get(i) ?? 0) + i + 1);
          assert.equal(reader.peers.overlay(reader.lookup(ip(`10.5.${i}.9`))), ip(`10.5.${i}.0`));
        }
        for (const i of which) {
          const [place] = publisher.places(peers[i]!.address);
          assert.equal(publisher.rows.read(place!).sentPackets, counted.get(i), `peer ${i}`);
        }
      }
    }),
    { numRuns: 30 },
  );
});

test("a peer's address on the overlay is in the last of its subnets, from publish to publish", () => {
  const publisher = new Publisher({ vni: 1, ownMac: OWN_MAC, threads: 1 });
  const view = new PeerView(publisher.handle.rows, 0);
  const one = peer('192.168.0.7');
  publisher.publish([route('10.5.1.0/24', one), route('10.5.2.0/24', one)], []);
  assert.equal(view.overlay(FIRST_PEER), ip('10.5.2.0'));
  publisher.publish([route('10.5.2.0/24', one), route('10.5.1.0/24', one)], []);
  assert.equal(view.overlay(FIRST_PEER), ip('10.5.1.0'));
});
