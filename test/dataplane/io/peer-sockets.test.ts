import assert from 'node:assert/strict';
import fs from 'node:fs';
import test from 'node:test';
import { LaneMemory } from '../../../src/dataplane/io/memory.js';
import { loadNative } from '../../../src/dataplane/io/native.js';
import { openSender, PEER_SOCKETS, PeerSockets } from '../../../src/dataplane/io/peer-sockets.js';
import * as socketAddress from '../../../src/dataplane/io/socket-address.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';

const native = loadNative();
native.attach(new LaneMemory().bytes);
const LOOPBACK = parseAddress('127.0.0.1')!;

function withPeers(work: (peers: PeerSockets, sender: number) => void): void {
  const sender = openSender(native, LOOPBACK, 0);
  const peers = new PeerSockets(native, sender);
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

test('a peer that cannot be connected to costs no descriptor and is not tried each time', () => {
  withPeers((peers) => {
    const before = openDescriptors();
    // A socket bound to loopback has no way there.
    const unreachable = parseAddress('192.0.2.1')!;
    for (let i = 0; i < 1_000; i += 1) assert.equal(peers.socketTo(unreachable, 8472), -1);
    assert.equal(openDescriptors(), before);
    assert.equal(peers.size, 0);
  });
});
