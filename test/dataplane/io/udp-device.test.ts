/** Sockets that are bound to a device, as those in a VRF are. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import test from 'node:test';
import { ADDRESS_SIZE, LaneMemory } from '../../../src/dataplane/io/memory.js';
import { loadNative } from '../../../src/dataplane/io/native.js';
import { PeerSockets } from '../../../src/dataplane/io/peer-sockets.js';
import * as socketAddress from '../../../src/dataplane/io/socket-address.js';
import { TIERS } from '../../../src/dataplane/io/tiers.js';
import { closeUdp, openUdp, openUdpLanes } from '../../../src/dataplane/io/udp.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';

const native = loadNative();
native.attach(new LaneMemory().bytes);
const LOOPBACK = parseAddress('127.0.0.1')!;
const OUTSIDE = parseAddress('192.0.2.1')!;
const SOL_SOCKET = 1;
const SO_BINDTOIFINDEX = 62;
/** The number of `lo`, which is the same in every network namespace. */
const LO = 1;

const openDescriptors = (): number => fs.readdirSync('/proc/self/fd').length;
/** 0: bound to none. */
const boundTo = (fd: number): number => native.getOption(fd, SOL_SOCKET, SO_BINDTOIFINDEX);

test('a socket is bound to a device by its name, which must be one', () => {
  const fd = native.udpOpen(4);
  assert.equal(boundTo(fd), 0);
  for (const [name, code] of [
    ['', 'EINVAL'],
    ['l\0o', 'EINVAL'],
    ['weft-has-no-such', 'ENAMETOOLONG'],
    ['weft-none', 'ENODEV'],
  ] as const) {
    assert.throws(() => native.udpBindDevice(fd, name), { code, syscall: 'SO_BINDTODEVICE' }, name);
  }
  assert.equal(boundTo(fd), 0, 'what is refused changes nothing');
  native.udpBindDevice(fd, 'lo');
  assert.equal(boundTo(fd), LO);
  native.close(fd);
  assert.throws(() => native.udpBindDevice(-1, 'lo'), { code: 'EBADF' });
});

test('every socket is bound: the listener, the sender, those of the peers, and of each lane', () => {
  const before = openDescriptors();
  for (const lanes of [1, 2]) {
    const probe = openUdp(LOOPBACK, 0);
    const at = new Uint8Array(ADDRESS_SIZE);
    native.udpName(probe.listener, at);
    closeUdp([probe]);
    const opened = openUdpLanes(LOOPBACK, socketAddress.port(at, 0), lanes, TIERS.segment, 'lo');
    for (const { listener, sender, device } of opened) {
      assert.deepEqual([boundTo(listener), boundTo(sender), device], [LO, LO, 'lo']);
      const peers = new PeerSockets(native, sender, undefined, device);
      const peer = peers.socketTo(parseAddress('127.0.0.2')!, 8472);
      assert.ok(peer >= 0);
      assert.equal(boundTo(peer), LO);
      peers.close();
    }
    closeUdp(opened);
  }
  const plain = openUdp(LOOPBACK, 0);
  assert.deepEqual([boundTo(plain.listener), boundTo(plain.sender)], [0, 0]);
  assert.equal(plain.device, undefined);
  closeUdp([plain]);
  assert.equal(openDescriptors(), before);
});

test('a device that cannot be used is an error with its name, and no socket stays open', () => {
  const before = openDescriptors();
  for (const lanes of [1, 2]) {
    assert.throws(() => openUdpLanes(OUTSIDE, 0, lanes, TIERS.segment, 'weft-none'), {
      code: 'ENODEV',
      syscall: 'SO_BINDTODEVICE',
    });
  }
  assert.equal(openDescriptors(), before);
});
