/**
 * The TUN for real. tun.test.ts runs this file as root in a network namespace of its own.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import test, { type TestContext } from 'node:test';
import { createCounters } from '../../../src/dataplane/forward/counters.js';
import { LaneThread } from '../../../src/dataplane/forward/lane-thread.js';
import { LaneMemory } from '../../../src/dataplane/io/memory.js';
import {
  EAGAIN,
  EINVAL,
  EIO,
  IP_MTU_DISCOVER,
  IP_PMTUDISC_OMIT,
  loadNative,
  type Native,
  SO_SNDBUF,
  SOL_IP,
  SOL_SOCKET,
  TUN_EXCLUSIVE,
  TUN_F_CSUM,
  TUN_F_TSO4,
  TUN_VNET_HEADER,
} from '../../../src/dataplane/io/native.js';
import { probeSegmentation } from '../../../src/dataplane/io/probe.js';
import { probeSuperPackets } from '../../../src/dataplane/io/probe-writes.js';
import { openTun } from '../../../src/dataplane/io/tun.js';
import { openUdp } from '../../../src/dataplane/io/udp.js';
import { Publisher } from '../../../src/dataplane/routes/publisher.js';
import * as vnet from '../../../src/dataplane/wire/vnet.js';
import { Arena, ipv4, LOOPBACK, openDescriptors, pattern } from './arena.js';
import { ip, isIpv4, OURS, THEIRS } from './namespace.js';
import { type Flow, flowOf, PLAIN, reversed, tcpPacket, udpPacket } from './packets.js';

const VNET = vnet.HEADER;
const FLOW: Flow = {
  source: THEIRS,
  sourcePort: 77,
  destination: OURS,
  destinationPort: 5000,
};
const [major, minor] = os.release().split('.').map(Number) as [number, number];
const HAS_USO = major > 6 || (major === 6 && minor >= 2);

ip('link', 'set', 'lo', 'up');
// Others pace a new connection so that no two segments leave together.
fs.writeFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'reno');

/** A TUN that is up, with 10.99.0.1/24; gone after the test. */
function upTun(t: TestContext, name = 'weft0'): { fd: number; native: Native; arena: Arena } {
  const arena = new Arena();
  const { native } = arena;
  const { fd } = openTun(name);
  t.after(() => native.close(fd));
  ip('address', 'add', '10.99.0.1/24', 'dev', name);
  ip('link', 'set', name, 'up');
  return { fd, native, arena };
}

/** Packets that `wanted` accepts, until there are `count` of them or nothing comes any more. */
function read(
  arena: Arena,
  fd: number,
  count: number,
  wanted: (packet: Buffer) => boolean,
): [header: Buffer, packet: Buffer][] {
  const found: [Buffer, Buffer][] = [];
  while (found.length < count && arena.readable(fd, 2000)) {
    found.push(...arena.readPackets(fd, VNET).filter(([, packet]) => wanted(packet)));
  }
  return found;
}

test('a TUN has the name that was asked for, once', (t) => {
  const { native } = new Arena();
  const before = openDescriptors();
  const fd = native.tunOpen('flannel.1', TUN_VNET_HEADER | TUN_EXCLUSIVE);
  t.after(() => native.close(fd));
  assert.match(ip('-d', 'link', 'show', 'flannel.1'), /tun type tun pi off vnet_hdr on/);
  assert.throws(() => openTun('flannel.1'), { code: 'EBUSY', syscall: 'TUNSETIFF' });
  assert.throws(() => native.tunOpen('flannel.1', TUN_VNET_HEADER), { code: 'EBUSY' });
  assert.equal(openDescriptors(), before + 1, 'a failed open keeps no descriptor');
});

test('a persistent TUN that nobody reads is EBUSY when exclusive, and opens when not', (t) => {
  const { native } = new Arena();
  ip('tuntap', 'add', 'kept0', 'mode', 'tun', 'vnet_hdr');
  t.after(() => ip('tuntap', 'del', 'kept0', 'mode', 'tun'));
  assert.throws(() => openTun('kept0'), { code: 'EBUSY' });
  native.close(native.tunOpen('kept0', TUN_VNET_HEADER));
});

test('names that are none, or too long, are refused; nothing is created', () => {
  const { native } = new Arena();
  const before = ip('-br', 'link');
  for (const name of ['a'.repeat(16), `${'a'.repeat(15)}é`, 'a'.repeat(1000), 'é'.repeat(8)]) {
    assert.throws(() => openTun(name), { code: 'ENAMETOOLONG' }, name);
  }
  for (const name of ['', 'tun%d', 'a\0b', 'a/b', '..', 'a b', 'lo']) {
    assert.throws(() => native.tunOpen(name, TUN_VNET_HEADER), { code: 'EINVAL' }, name);
  }
  assert.equal(ip('-br', 'link'), before);
  const longest = 'a'.repeat(15);
  const { fd } = openTun(longest);
  assert.match(ip('link', 'show', longest), /aaa/);
  native.close(fd);
  assert.throws(() => ip('link', 'show', longest));
});

test('offloads: what the kernel has is accepted, what it has not is EINVAL', (t) => {
  const { native } = new Arena();
  const { fd, tso, uso } = openTun('weft0');
  t.after(() => native.close(fd));
  assert.equal(tso, true);
  assert.equal(uso, HAS_USO);
  assert.equal(native.tunOffload(fd, 0x40000000), -22);
  assert.equal(native.tunOffload(fd, LOWEST), -22);
  assert.equal(native.tunOffload(-1, TUN_F_CSUM), -9);
});
const LOWEST = -(2 ** 31);

/** All counters of the IP stack but the time-outs and rates that pass by themselves. */
function stackCounters(): string {
  return fs.readFileSync('/proc/net/snmp', 'utf8') + fs.readFileSync('/proc/net/netstat', 'utf8');
}

test('a TUN that is down is asked for super-packets, and the stack sees none of it', (t) => {
  const { native } = new Arena();
  const { fd } = openTun('weft0');
  t.after(() => native.close(fd));
  ip('address', 'add', '10.99.0.1/24', 'dev', 'weft0');
  const before = stackCounters();
  assert.deepEqual(probeSuperPackets(native, fd), { tcp: true, udp: HAS_USO });
  assert.equal(stackCounters(), before);
  const [link] = JSON.parse(ip('-s', '-j', 'link', 'show', 'weft0'));
  assert.deepEqual(
    [link.operstate, link.stats64.rx.packets, link.stats64.tx.packets],
    ['DOWN', 0, 0],
  );
  t.diagnostic(`the device's statistics, rx: ${JSON.stringify(link.stats64.rx)}`);
});

test('a TUN that is down tells a faulty vnet header (EINVAL) from its being down (EIO)', (t) => {
  if (major < 5 || (major === 5 && minor < 1)) return t.skip('before 5.1 it may say EIO to both');
  const { native } = new Arena();
  const { fd } = openTun('weft0');
  t.after(() => native.close(fd));
  const packet = tcpPacket(FLOW, 0x10, 1, 1);
  const large = Buffer.concat([packet, pattern(2500)]);
  const answer = (type: number, size: number): number => {
    const arena = new Arena();
    const header = Buffer.alloc(VNET);
    vnet.writeSuper(header, 0, type, 20, 16, 40, size);
    assert.equal(arena.writePackets(fd, [[header, large]]), 0);
    return native.lastError();
  };
  assert.equal(answer(vnet.TCPV4, 1000), EIO);
  assert.equal(answer(vnet.TCPV4, 0), EINVAL);
  assert.equal(answer(2, 1000), EINVAL, 'a type that there is none of');
});

test('should the TUN be up, the probe still answers, and nothing leaves or comes back', (t) => {
  const { fd, native, arena } = upTun(t);
  fs.writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
  t.after(() => fs.writeFileSync('/proc/sys/net/ipv4/ip_forward', '0'));
  assert.deepEqual(probeSuperPackets(native, fd), { tcp: true, udp: HAS_USO });
  native.attach(arena.bytes);
  const answers = arena.readPackets(fd, VNET).filter(([, packet]) => packet[0]! >> 4 === 4);
  assert.deepEqual(answers, []);
});

test('UDP_SEGMENT is not used where the loopback device cannot be reached', (t) => {
  const memory = new LaneMemory();
  const native = loadNative();
  native.attach(memory.bytes);
  assert.equal(probeSegmentation(native, memory), true);
  ip('link', 'set', 'lo', 'down');
  t.after(() => ip('link', 'set', 'lo', 'up'));
  assert.equal(probeSegmentation(native, memory), false);
});

test('what the kernel says on a new interface is read, headers and all', (t) => {
  if (!fs.existsSync('/proc/sys/net/ipv6/conf/all')) return t.skip('this kernel has no IPv6');
  const { arena, fd } = upTun(t);
  const got = read(arena, fd, 1, (packet) => packet[0]! >> 4 === 6);
  assert.ok(got.length > 0, 'neither a router solicitation nor a multicast report came');
  const [header, packet] = got[0]!;
  assert.equal(header.length, VNET);
  assert.equal(vnet.gsoType(header, 0), vnet.NONE);
  assert.equal(packet.length, 40 + packet.readUInt16BE(4));
  arena.checkGuards('reading');
});

test('packets that are written arrive, pieces joined, at local sockets', (t) => {
  const { arena, native, fd } = upTun(t);
  const socket = native.udpOpen(4);
  t.after(() => native.close(socket));
  native.udpBind(socket, ipv4(OURS, 5000));
  const packets = [0, 1, 500, 1300].map((length) => {
    const packet = udpPacket(FLOW, pattern(length));
    return [PLAIN, packet.subarray(0, 20), packet.subarray(20, 25), packet.subarray(25)];
  });
  assert.equal(arena.writePackets(fd, packets), packets.length);
  assert.equal(native.lastError(), 0);
  assert.deepEqual(
    arena.receive(socket).map(({ data }) => data),
    [0, 1, 500, 1300].map((length) => pattern(length)),
  );
});

test('a write that the TUN refuses names its row; the rest can go on', (t) => {
  const { arena, native, fd } = upTun(t);
  const socket = native.udpOpen(4);
  t.after(() => native.close(socket));
  native.udpBind(socket, ipv4(OURS, 5000));
  const good = [PLAIN, udpPacket(FLOW, pattern(9))];
  assert.equal(arena.writePackets(fd, [good, good, [PLAIN.subarray(0, 5)], good]), 2);
  assert.equal(native.errnoName(native.lastError()), 'EINVAL');
  assert.equal(arena.writePackets(fd, [good]), 1);
  assert.equal(arena.receive(socket).length, 3);

  ip('link', 'set', 'weft0', 'down');
  assert.equal(arena.writePackets(fd, [good]), 0);
  assert.equal(native.lastError(), EIO);
});

test('UDP super-packets come out whole with USO, in pieces without', (t) => {
  if (!HAS_USO) return t.skip(`kernel ${os.release()} has no USO on a TUN (6.2 has)`);
  const { arena, native, fd } = upTun(t);
  const socket = native.udpOpen(4);
  t.after(() => native.close(socket));
  const data = pattern(9500);
  const send = () =>
    arena.send([{ fd: socket, to: ipv4(THEIRS, 9), segment: 1000, parts: [data] }]);
  assert.equal(send(), 1);
  const [[header, packet] = []] = read(arena, fd, 1, isIpv4(17));
  assert.ok(header && packet);
  assert.equal(vnet.gsoType(header, 0), vnet.UDP_L4);
  assert.equal(vnet.gsoSize(header, 0), 1000);
  assert.equal(vnet.checksumStart(header, 0), 20);
  assert.equal(vnet.checksumOffset(header, 0), 6);
  assert.deepEqual(packet.subarray(28), data);

  assert.equal(native.tunOffload(fd, TUN_F_CSUM | TUN_F_TSO4), 0);
  assert.equal(send(), 1);
  const pieces = read(arena, fd, 10, isIpv4(17));
  assert.deepEqual(
    pieces.map(([, piece]) => piece.length - 28),
    [...new Array<number>(9).fill(1000), 500],
  );
});

test('DF is clear on what the underlay sends, and set on a socket as it comes', (t) => {
  const { arena, native, fd } = upTun(t);
  const plain = native.udpOpen(4);
  const clear = native.udpOpen(4);
  t.after(() => {
    native.close(plain);
    native.close(clear);
  });
  native.setOption(clear, SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT);
  const to = ipv4(THEIRS, 9);
  arena.send([
    { fd: plain, to, tos: 1, parts: [pattern(10)] },
    { fd: clear, to, tos: 2, parts: [pattern(10)] },
    { fd: clear, to, segment: 700, tos: 3, parts: [pattern(700 * 3)] },
  ]);
  const got = read(arena, fd, 3, isIpv4(17)).map(([, packet]) => [packet[1], packet[6]! & 0x40]);
  assert.deepEqual(got[0], [1, 0x40]);
  assert.deepEqual(got[1], [2, 0]);
  assert.ok(got.length >= 3 && got.slice(2).every(([tos, df]) => tos === 3 && df === 0));

  // Over the interface's MTU of 1500 a datagram leaves in fragments; segments of one are refused.
  assert.equal(arena.send([{ fd: clear, to, tos: 4, parts: [pattern(1473)] }]), 1);
  const fragments = read(arena, fd, 2, isIpv4(17)).map(([, packet]) => packet);
  assert.deepEqual(
    fragments.map((packet) => [packet[1], packet.readUInt16BE(2), packet.readUInt16BE(6)]),
    [
      [4, 1500, 0x2000],
      [4, 21, 185],
    ],
  );
  assert.equal(arena.send([{ fd: clear, to, segment: 1473, parts: [pattern(1473 * 2)] }]), 0);
  assert.equal(native.errnoName(native.lastError()), 'EMSGSIZE');
});

test('a local TCP sender hands over super-packets', async (t) => {
  const { arena, fd } = upTun(t);
  const client = net.connect({ host: '10.99.0.2', port: 80 });
  client.on('error', () => {});
  t.after(() => client.destroy());
  await new Promise((resolve) => setImmediate(resolve));

  const [[, syn] = []] = read(arena, fd, 1, isIpv4(6));
  assert.ok(syn, 'no SYN came');
  const back = reversed(flowOf(syn));
  const next = syn.readUInt32BE(24) + 1;
  assert.equal(arena.writePackets(fd, [[PLAIN, tcpPacket(back, 0x12, 1000, next)]]), 1);
  await new Promise<void>((resolve) => client.once('connect', resolve));
  client.write(pattern(40_000));
  await new Promise((resolve) => setImmediate(resolve));

  const packets = read(arena, fd, 2, (p) => isIpv4(6)(p) && p.length > 60);
  const longest = packets.sort(([, a], [, b]) => b.length - a.length)[0];
  assert.ok(longest, 'no data came');
  const [header, packet] = longest;
  assert.equal(vnet.gsoType(header, 0), vnet.TCPV4);
  assert.equal(vnet.gsoSize(header, 0), 1460);
  assert.ok(packet.length > 1500, `the longest has ${packet.length} bytes`);
  assert.equal(packet.readUInt16BE(2), packet.length);
  const from = packet.readUInt32BE(24) - next;
  assert.deepEqual(packet.subarray(40), pattern(40_000).subarray(from, from + packet.length - 40));
  arena.writePackets(fd, [[PLAIN, tcpPacket(back, 0x04, 1001, 0)]]); // reset
});

test('a full send buffer is EAGAIN, at the row that did not fit', (t) => {
  const arena = new Arena();
  const { native } = arena;
  // Nobody answers ARP here, so what is sent waits, and is charged to its socket.
  ip('link', 'add', 'left0', 'type', 'veth', 'peer', 'name', 'right0');
  t.after(() => ip('link', 'delete', 'left0'));
  ip('address', 'add', '10.98.0.1/24', 'dev', 'left0');
  ip('link', 'set', 'left0', 'up');
  ip('link', 'set', 'right0', 'arp', 'off', 'up');
  const socket = native.udpOpen(4);
  t.after(() => native.close(socket));
  assert.equal(native.setOption(socket, SOL_SOCKET, SO_SNDBUF, 1), 0);
  const row = { fd: socket, to: ipv4(0x0a620002, 9), parts: [pattern(1400)] };
  const sent = arena.send(new Array(20).fill(row));
  assert.ok(sent > 0 && sent < 20, `${sent} sent`);
  assert.equal(native.lastError(), EAGAIN);
  assert.equal(arena.send([row]), 0);
  assert.equal(native.lastError(), EAGAIN);
});

test('a TUN that was deleted says so on reading and on writing', (t) => {
  const { arena, fd, native } = upTun(t);
  ip('link', 'delete', 'weft0');
  assert.throws(() => arena.readPackets(fd, VNET), /EBADFD/);
  assert.equal(arena.writePackets(fd, [[PLAIN, pattern(40)]]), 0);
  assert.equal(native.errnoName(native.lastError()), 'EBADFD');
});

test('a lane on a real TUN: stops while idle, and ends by itself when the TUN is deleted', async (t) => {
  const { fd, native } = upTun(t);
  const udp = openUdp(LOOPBACK, 0);
  t.after(() => {
    native.close(udp.listener);
    native.close(udp.sender);
  });
  const mac = new Uint8Array([2, 0, 0, 0, 0, 1]);
  const start = () =>
    new LaneThread({
      lane: 0,
      counters: createCounters(1),
      publisher: new Publisher({ vni: 1, ownMac: mac, threads: 1 }),
      tun: fd,
      listener: udp.listener,
      sender: udp.sender,
      options: { vni: 1, mac, mtu: 1450, uso: false, udpSegment: true, vnet: true },
    });
  const until = async (what: () => boolean) => {
    const end = Date.now() + 10_000;
    while (!what() && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.ok(what());
  };
  const first = start();
  await until(() => first.running);
  first.stop();
  assert.equal(await first.ended, undefined);

  const second = start();
  await until(() => second.running);
  ip('link', 'set', 'weft0', 'down');
  ip('link', 'set', 'weft0', 'up');
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.ok(second.running, 'down is not gone');
  ip('link', 'delete', 'weft0');
  assert.match(String((await second.ended)?.message), /TUN is gone/);
  second.stop();
});
