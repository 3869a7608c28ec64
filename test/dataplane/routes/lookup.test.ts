import assert from 'node:assert/strict';
import test from 'node:test';
import {
  FIRST_PEER,
  LOCAL,
  type LocalRoute,
  NO_ROUTE,
  type Route,
} from '../../../src/dataplane/routes/peer.js';
import type { RouteReader } from '../../../src/dataplane/routes/reader.js';
import { formatAddress } from '../../../src/dataplane/wire/ipv4.js';
import { ip, lanes, local, peer, route } from './lane.js';

/** The outer address a lookup leads to, "local" or "none". */
function answer(reader: RouteReader, destination: number): string {
  const found = reader.lookup(destination);
  if (found === NO_ROUTE) return 'none';
  return found === LOCAL ? 'local' : formatAddress(reader.address(found));
}

/** The slow oracle: look at every prefix, keep the longest that matches, of equals the last. */
function scan(routes: readonly Route[], own: readonly LocalRoute[], destination: number): string {
  let best = -1;
  let found = 'none';
  const look = (prefix: LocalRoute, value: string): void => {
    const size = 2 ** (32 - prefix.length);
    const distance = (destination >>> 0) - (prefix.network >>> 0);
    if (distance < 0 || distance >= size || prefix.length < best) return;
    best = prefix.length;
    found = value;
  };
  for (const r of routes) look(r, formatAddress(r.peer.address));
  for (const r of own) look(r, 'local');
  return found;
}

/** Publishes, and looks every address up in both ways. */
function expectAnswers(
  routes: readonly Route[],
  own: readonly LocalRoute[],
  wanted: Record<string, string>,
): void {
  const { publisher, readers, close } = lanes();
  publisher.publish(routes, own);
  readers[0]!.refresh();
  for (const [destination, expected] of Object.entries(wanted)) {
    assert.equal(answer(readers[0]!, ip(destination)), expected, destination);
    assert.equal(scan(routes, own, ip(destination)), expected, `oracle: ${destination}`);
  }
  close();
}

const P1 = peer('192.168.64.1');
const P2 = peer('192.168.64.2');
const P3 = peer('200.0.0.3');

test('an empty table knows nothing', () => {
  expectAnswers([], [], { '0.0.0.0': 'none', '10.5.72.9': 'none', '255.255.255.255': 'none' });
});

test('the usual flannel network', () => {
  expectAnswers([route('10.5.72.0/24', P1), route('10.5.73.0/24', P2)], [local('10.5.52.0/24')], {
    '10.5.71.255': 'none',
    '10.5.72.0': '192.168.64.1',
    '10.5.72.9': '192.168.64.1',
    '10.5.72.255': '192.168.64.1',
    '10.5.73.0': '192.168.64.2',
    '10.5.74.0': 'none',
    '10.5.52.7': 'local',
    '255.255.255.255': 'none',
    '0.0.0.0': 'none',
  });
});

test('a default route around nested prefixes: each address has the longest that holds it', () => {
  const routes = [
    route('0.0.0.0/0', P1),
    route('10.0.0.0/8', P2),
    route('10.5.0.0/16', P3),
    route('10.5.72.128/25', P2),
    route('10.5.72.200/32', P3),
  ];
  for (const order of [routes, [...routes].reverse()]) {
    expectAnswers(order, [local('10.5.72.0/24')], {
      '9.255.255.255': '192.168.64.1',
      '10.0.0.0': '192.168.64.2',
      '10.4.255.255': '192.168.64.2',
      '10.5.0.0': '200.0.0.3',
      '10.5.71.255': '200.0.0.3',
      '10.5.72.0': 'local',
      '10.5.72.127': 'local',
      '10.5.72.128': '192.168.64.2',
      '10.5.72.199': '192.168.64.2',
      '10.5.72.200': '200.0.0.3',
      '10.5.72.201': '192.168.64.2',
      '10.5.73.0': '200.0.0.3',
      '10.6.0.0': '192.168.64.2',
      '11.0.0.0': '192.168.64.1',
      '255.255.255.255': '192.168.64.1',
    });
  }
  // A default of our own is the answer where no peer's prefix is.
  expectAnswers([route('10.5.72.0/24', P1)], [local('0.0.0.0/0')], {
    '10.5.72.9': '192.168.64.1',
    '10.5.73.9': 'local',
  });
});

test('a default route takes all, the ends included', () => {
  expectAnswers([route('0.0.0.0/0', P1)], [], {
    '0.0.0.0': '192.168.64.1',
    '127.255.255.255': '192.168.64.1',
    '128.0.0.0': '192.168.64.1',
    '255.255.255.255': '192.168.64.1',
  });
});

test('host routes at both ends of the address space match themselves only', () => {
  expectAnswers([route('255.255.255.255/32', P1), route('0.0.0.0/32', P2)], [], {
    '255.255.255.255': '192.168.64.1',
    '255.255.255.254': 'none',
    '0.0.0.0': '192.168.64.2',
    '0.0.0.1': 'none',
    '127.255.255.255': 'none',
    '128.0.0.0': 'none',
  });
});

test('halves of the address space do not mix', () => {
  expectAnswers([route('0.0.0.0/1', P1), route('128.0.0.0/1', P2)], [], {
    '0.0.0.0': '192.168.64.1',
    '127.255.255.255': '192.168.64.1',
    '128.0.0.0': '192.168.64.2',
    '255.255.255.255': '192.168.64.2',
  });
});

test('nested prefixes: the longest wins in whatever order they come', () => {
  const nest = [
    route('10.0.0.0/8', P1),
    route('10.5.0.0/16', P2),
    route('10.5.72.0/21', P3),
    route('10.5.72.0/24', P1),
    route('10.5.72.128/25', P2),
    route('10.5.72.200/32', P3),
  ];
  const wanted = {
    '10.4.0.0': '192.168.64.1',
    '10.5.0.0': '192.168.64.2',
    '10.5.73.1': '200.0.0.3',
    '10.5.72.127': '192.168.64.1',
    '10.5.72.128': '192.168.64.2',
    '10.5.72.200': '200.0.0.3',
    '10.5.72.201': '192.168.64.2',
    '10.5.80.0': '192.168.64.2',
    '11.0.0.0': 'none',
  };
  expectAnswers(nest, [], wanted);
  expectAnswers(nest.toReversed(), [], wanted);
});

test('of equal prefixes the last wins, and our own always', () => {
  const { publisher, readers, close } = lanes();
  const routes = [route('10.5.72.0/24', P1), route('10.5.72.0/24', P2), route('10.5.52.0/24', P1)];
  assert.equal(publisher.publish(routes, [local('10.5.52.0/24')]), 2);
  readers[0]!.refresh();
  assert.equal(answer(readers[0]!, ip('10.5.72.1')), '192.168.64.2');
  assert.equal(answer(readers[0]!, ip('10.5.52.1')), 'local');
  assert.equal(publisher.counts.routes, 2);
  close();
});

test('every prefix length, alone: first and last address in, neighbours out', () => {
  for (let length = 0; length <= 32; length += 1) {
    const size = 2 ** (32 - length);
    const network = 0xcafef00d - (0xcafef00d % size);
    const first = network | 0;
    const last = (network + size - 1) | 0;
    const { publisher, readers, close } = lanes();
    publisher.publish([{ network: first, length, peer: P1 }], []);
    readers[0]!.refresh();
    assert.equal(readers[0]!.lookup(first), FIRST_PEER, `/${length} first`);
    assert.equal(readers[0]!.lookup(last), FIRST_PEER, `/${length} last`);
    if (length > 0) {
      assert.equal(readers[0]!.lookup((first - 1) | 0), NO_ROUTE, `/${length} before`);
      assert.equal(readers[0]!.lookup((last + 1) | 0), NO_ROUTE, `/${length} behind`);
    }
    close();
  }
});

test('random inserts and removals answer as a linear scan does, and end empty', (t) => {
  const seed =
    process.env.WEFT_SEED === undefined
      ? Math.floor(Math.random() * 2 ** 31)
      : Number(process.env.WEFT_SEED);
  t.diagnostic(`WEFT_SEED=${seed}`);
  let state = seed;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return Math.floor(((state >>> 0) / 2 ** 32) * below);
  };
  const prefix = (): LocalRoute => {
    const length = random(4) === 0 ? random(33) : 14 + random(19);
    // Few distinct upper bytes, so that prefixes nest.
    const address = ((random(3) * 0x7f + 1) << 24) | (random(2) << 16) | random(0x10000);
    return { network: length === 0 ? 0 : address & (-1 << (32 - length)), length };
  };
  const peers = Array.from({ length: 20 }, (_, i) => peer(`192.168.64.${i + 1}`));

  const { publisher, readers, close } = lanes();
  const reader = readers[0]!;
  const routes: Route[] = [];
  const own: LocalRoute[] = [];
  const verify = (): void => {
    publisher.publish(routes, own);
    reader.refresh();
    for (let i = 0; i < 300; i += 1) {
      const near = routes[random(Math.max(1, routes.length))]?.network ?? 0;
      const destination = random(5) === 0 ? random(2 ** 32) | 0 : (near + random(600) - 300) | 0;
      const expected = scan(routes, own, destination);
      assert.equal(
        answer(reader, destination),
        expected,
        `seed ${seed}: ${formatAddress(destination)}`,
      );
    }
  };

  for (let round = 0; round < 40; round += 1) {
    for (let i = random(20); i >= 0; i -= 1) {
      routes.push({ ...prefix(), peer: peers[random(peers.length)]! });
    }
    if (random(3) === 0) own.push(prefix());
    for (let i = random(14); i > 0 && routes.length > 0; i -= 1) {
      routes.splice(random(routes.length), 1);
    }
    verify();
  }
  while (routes.length > 0) {
    routes.splice(0, 25);
    own.pop();
    verify();
  }
  own.length = 0;
  verify();
  assert.deepEqual([publisher.counts.routes, publisher.counts.peers], [0, 0]);
  for (let high = 0; high < 65536; high += 1) assert.equal(reader.lookup(high << 16), NO_ROUTE);
  close();
});

test('prefixes that are none are refused, and the table before stays', () => {
  const { publisher, readers, close } = lanes();
  publisher.publish([route('10.5.72.0/24', P1)], []);
  for (const [bad, message] of [
    [route('10.5.72.1/24', P1), /10\.5\.72\.1\/24 has host bits set/],
    [route('128.0.0.0/0', P1), /host bits/],
    [route('10.5.72.0/33', P1), /0 to 32/],
    [route('10.5.72.0/-1', P1), /0 to 32/],
    [route('10.5.72.0/x', P1), /0 to 32/],
    [
      route('10.5.72.0/24', { ...P1, mac: new Uint8Array(8) }),
      /192\.168\.64\.1: .* 6 bytes, not 8/,
    ],
    [route('10.5.72.0/24', { ...P1, port: 0 }), /port 0/],
  ] as const) {
    assert.throws(() => publisher.publish([bad], []), { name: 'RangeError', message });
  }
  readers[0]!.refresh();
  assert.equal(answer(readers[0]!, ip('10.5.72.9')), '192.168.64.1');
  assert.equal(publisher.counts.epoch, 2);
  close();
});
