import assert from 'node:assert/strict';
import fs from 'node:fs';
import test from 'node:test';
import { LaneMemory } from '../../../src/dataplane/io/memory.js';
import {
  IP_MTU_DISCOVER,
  loadNative,
  type Native,
  SO_SNDBUF,
  SOL_IP,
  SOL_SOCKET,
} from '../../../src/dataplane/io/native.js';
import { openSender, PEER_SOCKETS, PeerSockets } from '../../../src/dataplane/io/peer-sockets.js';
import * as socketAddress from '../../../src/dataplane/io/socket-address.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';

const native = loadNative();
native.attach(new LaneMemory().bytes);
const LOOPBACK = parseAddress('127.0.0.1')!;

function withPeers(
  work: (peers: PeerSockets, sender: number) => void,
  most?: number,
  calls: Native = native,
): void {
  const sender = openSender(native, LOOPBACK, 0);
  const peers = new PeerSockets(calls, sender, most);
  try {
    work(peers, sender);
  } finally {
    peers.close();
    native.close(sender);
  }
}

const openDescriptors = (): number => fs.readdirSync('/proc/self/fd').length;

test('a peer keeps its socket, and all of them share the one local port', () => {
  withPeers((peers, sender) => {
    const a = peers.socketTo(parseAddress('127.0.0.2')!, 8472);
    const b = peers.socketTo(parseAddress('127.0.0.3')!, 8472);
    assert.ok(a >= 0 && b >= 0 && a !== b);
    assert.equal(peers.socketTo(parseAddress('127.0.0.2')!, 8472), a);
    const names = [sender, a, b].map((fd) => {
      const row = new Uint8Array(32);
      native.udpName(fd, row);
      return socketAddress.port(row, 0);
    });
    assert.equal(new Set(names).size, 1);
  });
});

test('their number is bounded: beyond it the unconnected one serves, until one is idle', () => {
  const before = openDescriptors();
  withPeers((peers) => {
    const peer = (i: number): number => LOOPBACK + 1 + i;
    for (let i = 0; i < PEER_SOCKETS; i += 1) assert.ok(peers.socketTo(peer(i), 8472) >= 0);
    assert.equal(peers.socketTo(peer(PEER_SOCKETS), 8472), -1);
    assert.equal(peers.size, PEER_SOCKETS);
    // All but peer 7 stay in use for a long while.
    for (let n = 0; n < 150_000; n += 1) {
      const i = n % PEER_SOCKETS;
      if (i !== 7) peers.socketTo(peer(i), 8472);
    }
    assert.ok(peers.socketTo(peer(PEER_SOCKETS), 8472) >= 0);
    assert.equal(peers.size, PEER_SOCKETS);
    assert.equal(peers.socketTo(peer(7), 8472), -1);
  });
  assert.equal(openDescriptors(), before);
});

/** Sockets bound to loopback have no way there. */
const NOWHERE = parseAddress('203.0.113.0')!;

/** As `native` is, with how often a connect was tried. */
function counting(): { readonly native: Native; readonly tried: () => number } {
  let tries = 0;
  const udpConnect: Native['udpConnect'] = (fd, row) => {
    tries += 1;
    native.udpConnect(fd, row);
  };
  return { native: { ...native, udpConnect }, tried: () => tries };
}

test('a peer that cannot be connected to costs no descriptor, and one try a second', () => {
  const { native: counted, tried } = counting();
  withPeers(
    (peers) => {
      const before = openDescriptors();
      for (let now = 1; now <= 3; now += 1) {
        for (let i = 0; i < 1_000; i += 1) {
          assert.equal(peers.socketTo(NOWHERE, 8472, false, now), -1);
        }
        assert.equal(tried(), now);
      }
      assert.equal(openDescriptors(), before);
      assert.equal(peers.size, 0);
    },
    undefined,
    counted,
  );
});

test('many that cannot be connected to: the tries of a second are bounded, and what is remembered', () => {
  const { native: counted, tried } = counting();
  withPeers(
    (peers) => {
      for (let now = 1; now <= 3; now += 1) {
        for (let i = 0; i < 5_000; i += 1) {
          assert.equal(peers.socketTo(NOWHERE + (i % 250), 8472, false, now), -1);
        }
        assert.equal(tried(), 32 * now);
        assert.equal(peers.refused, 32);
      }
      assert.ok(peers.socketTo(LOOPBACK + 1, 8472, false, 4) >= 0, 'others get theirs');
    },
    undefined,
    counted,
  );
});

test('a peer whose way is back has a socket of its own in the next second', () => {
  let hasWay = false;
  const udpConnect: Native['udpConnect'] = (fd, row) => {
    if (!hasWay) throw new Error('ENETUNREACH');
    native.udpConnect(fd, row);
  };
  withPeers(
    (peers) => {
      const peer = LOOPBACK + 1;
      assert.equal(peers.socketTo(peer, 8472, false, 7), -1);
      hasWay = true;
      assert.equal(peers.socketTo(peer, 8472, false, 7), -1);
      const own = peers.socketTo(peer, 8472, false, 8);
      assert.ok(own >= 0);
      assert.equal(peers.socketTo(peer, 8472, false, 8), own);
    },
    undefined,
    { ...native, udpConnect },
  );
});

test('a peer that fills the shared socket gets one of its own, in place of the least recently used', () => {
  withPeers((peers) => {
    const [a, b, c] = [1, 2, 3].map((i) => LOOPBACK + i) as [number, number, number];
    for (const peer of [a, b]) assert.ok(peers.socketTo(peer, 8472) >= 0);
    for (let i = 0; i < 1_000; i += 1) {
      peers.socketTo(b, 8472);
      assert.equal(peers.socketTo(c, 8472), -1);
    }
    peers.full(c, 1_000_000, 5);
    assert.ok(peers.socketTo(c, 8472) >= 0);
    assert.ok(peers.socketTo(b, 8472) >= 0);
    assert.equal(peers.size, 2);
    // No two peers throw each other out again and again within a second.
    for (let i = 0; i < 300; i += 1) peers.socketTo(b, 8472);
    peers.full(a, 1_000_000, 5);
    assert.equal(peers.socketTo(a, 8472), -1);
    peers.full(a, 1_000_000, 6);
    assert.ok(peers.socketTo(a, 8472) >= 0);
  }, 2);
});

test('none at all: all peers share the one', () => {
  withPeers((peers) => assert.equal(peers.socketTo(LOOPBACK, 8472), -1), 0);
});

test('a buffer holds what its socket sends in some 20 ms, from 16 kB to 8 MiB', () => {
  withPeers((peers) => {
    const peer = LOOPBACK + 1;
    const fd = peers.socketTo(peer, 8472);
    // Without rights, the kernel gives at most what the host's administrator says.
    const limit = Number(fs.readFileSync('/proc/sys/net/core/wmem_max', 'utf8'));
    const given = (bytes: number) => (process.getuid?.() === 0 ? bytes : Math.min(bytes, limit));
    const buffer = () => native.getOption(fd, SOL_SOCKET, SO_SNDBUF) / 2;
    const first = buffer();
    assert.equal(first, given(1024 * 1024));
    peers.full(peer, 5_000_000, 10);
    assert.equal(buffer(), first, 'nothing is known of its speed');
    peers.full(peer, 6_000_000, 10);
    assert.equal(buffer(), first, 'once a second');
    peers.full(peer, 17_500_000, 11); // 100 Mb/s
    assert.equal(buffer(), given(250_000));
    peers.full(peer, 17_625_000, 12); // 1 Mb/s
    assert.equal(buffer(), 16 * 1024);
    peers.full(peer, 17_750_000, 20);
    assert.equal(buffer(), 16 * 1024, 'it had little to send in between');
    peers.full(peer, 17_750_000 + 125_000_000, 21); // 1 Gb/s
    assert.equal(buffer(), given(2_500_000));
    peers.full(peer, 17_750_000 + 10_125_000_000, 22);
    assert.equal(buffer(), given(8 * 1024 * 1024));
  });
});

test('cut by the route where that has an MTU of its own, else by the device', () => {
  withPeers((peers) => {
    const peer = LOOPBACK + 1;
    const mode = (cut: boolean) =>
      native.getOption(peers.socketTo(peer, 8472, cut), SOL_IP, IP_MTU_DISCOVER);
    assert.deepEqual([mode(false), mode(true), mode(true), mode(false)], [5, 0, 0, 5]);
    assert.equal(peers.size, 1);
  });
});
