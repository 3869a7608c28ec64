/** The sockets of several lanes: who gets what, and whose the port is. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { ADDRESS_SIZE } from '../../../src/dataplane/io/memory.js';
import { type Native, SO_REUSEPORT, SOL_SOCKET } from '../../../src/dataplane/io/native.js';
import * as socketAddress from '../../../src/dataplane/io/socket-address.js';
import { closeUdp, openUdp, openUdpLanes } from '../../../src/dataplane/io/udp.js';
import { Arena, ipv4, LOOPBACK, openDescriptors, pattern, sockets } from './arena.js';

/** A port that nobody has just now. */
function freePort(native: Native): number {
  const open = openUdp(LOOPBACK, 0);
  const at = new Uint8Array(ADDRESS_SIZE);
  native.udpName(open.listener, at);
  closeUdp([open]);
  return socketAddress.port(at, 0);
}

test('several lanes: the source port modulo their number says which listener gets a datagram', (t) => {
  const arena = new Arena();
  const { native } = arena;
  const port = freePort(native);
  const before = openDescriptors();
  for (const lanes of [2, 3, 16]) {
    const open = openUdpLanes(LOOPBACK, port, lanes);
    const name = new Uint8Array(ADDRESS_SIZE);
    const ports = open.map(({ sender }) => {
      native.udpName(sender, name);
      return socketAddress.port(name, 0);
    });
    // So what a lane sends comes in by the same lane of a peer that has as many.
    assert.deepEqual(
      ports.map((own) => own % lanes),
      [...ports.keys()],
    );
    assert.equal(new Set([...ports, port]).size, lanes + 1);

    const to = ipv4(LOOPBACK, port);
    const expected = new Array<number>(lanes).fill(0);
    for (const [fd, at] of sockets(t, native, 40)) {
      // As a train, too.
      assert.equal(arena.send([{ fd, to, segment: 50, parts: [pattern(150)] }]), 1);
      expected[socketAddress.port(at, 0) % lanes]! += 1;
    }
    open.forEach(({ listener }, lane) => {
      const got = arena.receive(listener);
      assert.equal(got.length, expected[lane]);
      for (const { from, segment } of got) {
        assert.equal(socketAddress.port(from, 0) % lanes, lane);
        assert.equal(segment, 50);
      }
    });
    closeUdp(open);
  }
  assert.equal(openDescriptors(), before + 3 * 40);
});

test('several lanes share no port with anybody else', (t) => {
  const { native } = new Arena();
  const port = freePort(native);
  const stranger = native.udpOpen(4);
  t.after(() => native.close(stranger));
  native.setOption(stranger, SOL_SOCKET, SO_REUSEPORT, 1);
  native.udpBind(stranger, ipv4(LOOPBACK, port));
  const before = openDescriptors();
  assert.throws(() => openUdpLanes(LOOPBACK, port, 2), { code: 'EADDRINUSE' });
  assert.throws(() => openUdpLanes(LOOPBACK, port, 1), { code: 'EADDRINUSE' });
  assert.throws(() => openUdpLanes(0x01020304, port, 2), { code: 'EADDRNOTAVAIL' });
  assert.equal(openDescriptors(), before);
});
