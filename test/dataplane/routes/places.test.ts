/** Which place each peer has, through any sequence of publishes. */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Peer } from '../../../src/dataplane/routes/peer.js';
import { type Placed, Places } from '../../../src/dataplane/routes/places.js';

/** Few addresses and MACs, so that peers come back, restart with a new MAC, and share addresses. */
const anyPeer: fc.Arbitrary<Peer> = fc
  .tuple(fc.integer({ min: -3, max: 3 }), fc.nat(2), fc.constantFrom(8472, 4789))
  .map(([address, mac, port]) => ({ address, port, mac: Uint8Array.of(2, 0, 0, 0, 0, mac) }));
const anyPublishes = fc.array(fc.array(anyPeer, { maxLength: 12 }), { maxLength: 12 });

/** Runs them and gives, for each, who had which place before, who has it now, and the answer. */
function run(
  publishes: readonly (readonly Peer[])[],
  look: (
    before: ReadonlyMap<string, number>,
    now: ReadonlyMap<string, number>,
    placed: readonly Placed[],
    peers: ReadonlyMap<string, Peer>,
    places: Places,
  ) => void,
): void {
  const places = new Places();
  const known = new Map<string, Peer>();
  let before = new Map<string, number>();
  for (const peers of publishes) {
    for (const peer of peers) known.set(identityOf(peer), peer);
    const { placed, places: inOrder } = places.assign(peers);
    const now = new Map(placed.map(({ peer, place }) => [identityOf(peer), place]));
    assert.deepEqual(new Set(now.keys()), new Set(peers.map(identityOf)), 'all of them, once');
    assert.equal(placed.length, now.size);
    assert.deepEqual(
      inOrder,
      peers.map((peer) => now.get(identityOf(peer))),
      'in their order',
    );
    look(before, now, placed, known, places);
    before = now;
  }
}

const identityOf = ({ address, port, mac }: Peer): string => `${address}:${port} ${[...mac]}`;

test('a peer keeps its place as long as it is a peer', () => {
  fc.assert(
    fc.property(anyPublishes, (publishes) =>
      run(publishes, (before, now, placed) => {
        for (const { peer, place, isNew } of placed) {
          const had = before.get(identityOf(peer));
          if (had === undefined) continue;
          assert.equal(place, had);
          assert.equal(isNew, false);
        }
        assert.equal(now.size, placed.length);
      }),
    ),
  );
});

test('nobody shares a place', () => {
  fc.assert(
    fc.property(anyPublishes, (publishes) =>
      run(publishes, (_before, now) => {
        assert.equal(new Set(now.values()).size, now.size);
      }),
    ),
  );
});

test('a place freed in a publish goes to nobody in the same one but a peer of the same address', () => {
  let inherited = 0;
  let kept = 0;
  fc.assert(
    fc.property(anyPublishes, (publishes) =>
      run(publishes, (before, now, placed, known) => {
        const owners = new Map([...before].map(([identity, place]) => [place, identity]));
        for (const { peer, place, isNew } of placed) {
          if (before.has(identityOf(peer))) continue;
          const owner = owners.get(place);
          assert.equal(isNew, owner === undefined);
          if (owner === undefined) continue;
          assert.ok(!now.has(owner), 'the one before is gone');
          assert.equal(known.get(owner)!.address, peer.address);
          inherited += 1;
        }
        for (const [identity, place] of before) {
          if (!now.has(identity) && ![...now.values()].includes(place)) kept += 1;
        }
      }),
    ),
  );
  assert.ok(inherited > 0 && kept > 0, 'both were seen');
});

test('the peer of an address that restarted has the place of the one before', () => {
  const places = new Places();
  const one = (mac: number): Peer => ({ address: 7, port: 8472, mac: Uint8Array.of(mac) });
  assert.deepEqual(places.assign([one(1)]).placed, [{ peer: one(1), place: 0, isNew: true }]);
  assert.deepEqual(places.assign([one(2)]).placed, [{ peer: one(2), place: 0, isNew: false }]);
  const both = places.assign([one(3), one(4)]).placed.map(({ place, isNew }) => [place, isNew]);
  assert.deepEqual(both, [
    [0, false],
    [1, true],
  ]);
});

test('the lowest place that was free is taken, and the next publish may have what was freed', () => {
  const places = new Places();
  const peer = (address: number): Peer => ({ address, port: 1, mac: Uint8Array.of(2) });
  const of = (...addresses: number[]): number[] => [...places.assign(addresses.map(peer)).places];
  assert.deepEqual(of(1, 2, 3), [0, 1, 2]);
  assert.deepEqual(of(1, 3, 4), [0, 2, 3], 'not that of 2');
  assert.deepEqual(of(1, 3, 4, 5), [0, 2, 3, 1]);
});

test('the places of an address are those of its peers', () => {
  fc.assert(
    fc.property(anyPublishes, (publishes) =>
      run(publishes, (_before, now, placed, _known, places) => {
        for (let address = -3; address <= 3; address += 1) {
          const own = placed.filter(({ peer }) => peer.address === address);
          assert.deepEqual(
            places.of(address),
            own.map(({ place }) => place).sort((a, b) => a - b),
          );
        }
        assert.equal(places.of(99).length, 0, String(now.size));
      }),
    ),
  );
});

test('hosts behind one address whose MACs have the same bytes in another order are two', () => {
  const peer = (...mac: number[]): Peer => ({ address: 7, port: 8472, mac: Uint8Array.from(mac) });
  const { places } = new Places().assign([
    peer(2, 0, 0, 0, 0, 1),
    peer(2, 0, 0, 0, 1, 0),
    peer(2, 0, 0, 0, 0, 1),
  ]);
  assert.deepEqual(places, [0, 1, 0]);
});
