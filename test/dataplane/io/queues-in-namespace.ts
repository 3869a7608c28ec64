/**
 * Several queues of one TUN. queues.test.ts runs this file as root in a network namespace of its
 * own.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';
import {
  type NativeError,
  TUN_MULTI_QUEUE,
  TUN_VNET_HEADER,
} from '../../../src/dataplane/io/native.js';
import { TIERS } from '../../../src/dataplane/io/tiers.js';
import { openTun } from '../../../src/dataplane/io/tun.js';
import { HEADER as VNET } from '../../../src/dataplane/wire/vnet.js';
import { Arena, ipv4, pattern } from './arena.js';
import { ip, isIpv4, OURS, THEIRS } from './namespace.js';
import { type Flow, PLAIN, tcpPacket, udpPacket } from './packets.js';

test('two queues of one TUN: both are written, and flows spread over both', (t) => {
  const arena = new Arena();
  const { native } = arena;
  const flags = TUN_VNET_HEADER | TUN_MULTI_QUEUE;
  const queues = [native.tunOpen('multi0', flags), native.tunOpen('multi0', flags)];
  t.after(() => {
    for (const fd of queues) native.close(fd);
  });
  assert.throws(() => native.tunOpen('multi0', TUN_VNET_HEADER), { code: 'EINVAL' });
  ip('address', 'add', '10.99.0.1/24', 'dev', 'multi0');
  ip('link', 'set', 'multi0', 'up');

  const socket = native.udpOpen(4);
  t.after(() => native.close(socket));
  native.udpBind(socket, ipv4(OURS, 5000));
  queues.forEach((fd, index) => {
    const flow: Flow = {
      source: THEIRS,
      sourcePort: 70 + index,
      destination: OURS,
      destinationPort: 5000,
    };
    assert.equal(arena.writePackets(fd, [[PLAIN, udpPacket(flow, pattern(9))]]), 1);
  });
  assert.equal(arena.receive(socket).length, 2);

  const ports = Array.from({ length: 64 }, (_, i) => 6000 + i);
  assert.equal(
    arena.send(ports.map((port) => ({ fd: socket, to: ipv4(THEIRS, port), parts: [pattern(4)] }))),
    64,
  );
  // A send runs to the TUN's queue before it returns, so all of it is there to be read.
  const counts = queues.map(
    (fd) =>
      [1, 2].flatMap(() => arena.readPackets(fd, VNET)).filter(([, p]) => isIpv4(17)(p)).length,
  );
  assert.equal(counts[0]! + counts[1]!, 64);
  assert.ok(counts[0]! > 0 && counts[1]! > 0, `all in one queue: ${counts.join(' and ')}`);
});

/** What native/steer.c computes, spelled out: the lane of a packet that leaves. */
function laneOf(packet: Buffer, lanes: number): number {
  let hash = (packet.readInt32BE(12) + packet.readInt32BE(16)) | 0;
  if (packet[9] === 6 && (packet.readUInt16BE(6) & 0x3fff) === 0) {
    const at = (packet[0]! & 15) * 4;
    hash = Math.imul(hash, 0x9e3779b1);
    hash ^= packet.readUInt16BE(at) ^ packet.readUInt16BE(at + 2);
  }
  return (Math.imul(hash, 0x85ebca6b) >>> 16) % lanes;
}

/** Sends an IPv4 packet as it is, options and fragments and all, by a raw socket. */
const RAW = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for line in sys.stdin:
    data = bytes.fromhex(line)
    s.sendto(data, (socket.inet_ntoa(data[16:20]), 0))
`;

test('steered queues: a packet’s is a function of addresses and TCP ports, and none but ours', (t) => {
  const arena = new Arena();
  const { native } = arena;
  const lanes = 3;
  let queues: readonly number[] = [];
  try {
    ({ queues } = openTun('multi0', TIERS.segment, lanes));
  } catch (error) {
    if ((error as NativeError).syscall !== 'bpf') throw error;
    return t.skip(`may not load programs into the kernel: ${error}`);
  }
  // As another process may open it: the kernel counts this queue, the lanes do not.
  const foreign = native.tunOpen('multi0', TUN_VNET_HEADER | TUN_MULTI_QUEUE);
  t.after(() => {
    for (const fd of [...queues, foreign]) native.close(fd);
  });
  ip('address', 'add', '10.99.0.1/16', 'dev', 'multi0');
  ip('link', 'set', 'multi0', 'up');

  const packets: Buffer[] = [];
  for (let i = 0; i < 60; i += 1) {
    const flow: Flow = {
      source: OURS,
      sourcePort: 40_000 + i,
      destination: THEIRS + i * 7,
      destinationPort: 80 + (i % 3),
    };
    const answer: Flow = { ...flow, ...{ sourcePort: 80 + (i % 3), destinationPort: 40_000 + i } };
    const syn = tcpPacket(flow, 2, i, 0);
    const fragment = Buffer.from(syn);
    fragment[6] = 0x20;
    const longer = Buffer.concat([syn.subarray(0, 20), Buffer.alloc(8, 1), syn.subarray(20)]);
    longer[0] = 0x47;
    longer.writeUInt16BE(longer.length, 2);
    packets.push(syn, tcpPacket(answer, 16, 0, i), fragment, longer, udpPacket(flow, pattern(9)));
    assert.equal(laneOf(syn, lanes), laneOf(tcpPacket(answer, 16, 0, i), lanes));
    assert.equal(laneOf(fragment, lanes), laneOf(udpPacket(flow, pattern(9)), lanes));
  }
  const input = packets.map((packet) => `${packet.toString('hex')}\n`).join('');
  const sent = spawnSync('python3', ['-c', RAW], { input, encoding: 'utf8' });
  if (sent.error !== undefined) return t.skip('needs python3 for raw sockets');
  assert.equal(sent.status, 0, sent.stderr);

  const ipv4Of = (fd: number) =>
    Array.from({ length: 6 }, () => arena.readPackets(fd, VNET))
      .flat()
      .map(([, packet]) => packet)
      .filter((packet) => packet[0]! >> 4 === 4);
  const got = queues.map(ipv4Of);
  assert.deepEqual(ipv4Of(foreign), []);
  assert.equal(got.flat().length, packets.length);
  got.forEach((all, lane) => {
    assert.ok(all.length > 40, got.map(({ length }) => length).join());
    for (const packet of all) assert.equal(laneOf(packet, lanes), lane);
  });
});
