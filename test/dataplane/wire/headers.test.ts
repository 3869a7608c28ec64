import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import * as ethernet from '../../../src/dataplane/wire/ethernet.js';
import * as icmp from '../../../src/dataplane/wire/icmp.js';
import * as ipv6 from '../../../src/dataplane/wire/ipv6.js';
import * as tcp from '../../../src/dataplane/wire/tcp.js';
import * as udp from '../../../src/dataplane/wire/udp.js';
import * as vnet from '../../../src/dataplane/wire/vnet.js';
import * as vxlan from '../../../src/dataplane/wire/vxlan.js';
import {
  AT_ETHERNET,
  AT_TRANSPORT,
  D0,
  ECHO_REPLY_CE,
  hex,
  ROUTER_SOLICITATION,
  TCP_FRAME,
  TCP_SYN,
  UDP_DATAGRAM,
} from './frames.js';

/** Where things stand in TCP_FRAME, which has the outer headers in front. */
const OUTER_UDP = 34;
const INNER_TCP = 84;

const u16 = fc.integer({ min: 0, max: 0xffff });
const dirty = (length: number): Uint8Array => new Uint8Array(length).fill(0xa5);

test('tcp: a recorded SYN and a recorded segment', () => {
  assert.equal(tcp.check(TCP_SYN, AT_TRANSPORT, TCP_SYN.length), true);
  assert.equal(tcp.sourcePort(TCP_SYN, AT_TRANSPORT), 40001);
  assert.equal(tcp.destinationPort(TCP_SYN, AT_TRANSPORT), 7000);
  assert.equal(tcp.sequence(TCP_SYN, AT_TRANSPORT), 0x7e5b209b);
  assert.equal(tcp.acknowledgement(TCP_SYN, AT_TRANSPORT), 0);
  assert.equal(tcp.headerLength(TCP_SYN, AT_TRANSPORT), 40);
  assert.equal(tcp.flags(TCP_SYN, AT_TRANSPORT), tcp.SYN);
  assert.equal(tcp.window(TCP_SYN, AT_TRANSPORT), 0xfd5c);
  assert.equal(tcp.sum(TCP_SYN, AT_TRANSPORT), 0x6c61);
  assert.equal(tcp.flags(TCP_FRAME, INNER_TCP), tcp.PSH | tcp.ACK);
  assert.equal(tcp.headerLength(TCP_FRAME, INNER_TCP), 32);
});

test('tcp: the header must be at least 20 bytes and all there', () => {
  const end = AT_TRANSPORT + 40;
  assert.equal(tcp.check(TCP_SYN, AT_TRANSPORT, end - 1), false);
  assert.equal(tcp.check(TCP_SYN, AT_TRANSPORT, AT_TRANSPORT + 19), false);
  const short = TCP_SYN.slice();
  short[AT_TRANSPORT + 12] = 0x40;
  assert.equal(tcp.check(short, AT_TRANSPORT, end), false);
});

test('tcp: numbers are unsigned, and the writers touch their own field only', () => {
  fc.assert(
    fc.property(fc.integer(), u16, fc.integer({ min: 0, max: 255 }), (sequence, sum, flags) => {
      const bytes = dirty(24);
      tcp.setSequence(bytes, 2, sequence);
      tcp.setSum(bytes, 2, sum);
      tcp.setFlags(bytes, 2, flags);
      assert.equal(tcp.sequence(bytes, 2), sequence >>> 0);
      assert.equal(tcp.sum(bytes, 2), sum);
      assert.equal(tcp.flags(bytes, 2), flags);
      const touched = new Set([6, 7, 8, 9, 15, 18, 19]);
      for (const [i, byte] of bytes.entries()) if (!touched.has(i)) assert.equal(byte, 0xa5);
    }),
  );
  const wrapped = dirty(20);
  tcp.setSequence(wrapped, 0, 0xffffffff + 11);
  assert.equal(tcp.sequence(wrapped, 0), 10);
});

test('udp: recorded headers, outer and inner', () => {
  assert.equal(udp.check(TCP_FRAME, OUTER_UDP, TCP_FRAME.length), true);
  assert.equal(udp.sourcePort(TCP_FRAME, OUTER_UDP), 46830);
  assert.equal(udp.destinationPort(TCP_FRAME, OUTER_UDP), vxlan.PORT_LINUX);
  assert.equal(udp.length(TCP_FRAME, OUTER_UDP), 98);
  assert.equal(udp.sum(TCP_FRAME, OUTER_UDP), 0x48c2);
  assert.equal(udp.length(UDP_DATAGRAM, AT_TRANSPORT), 24);
});

test('udp: lengths that do not fit', () => {
  const bytes = hex('9c42 1b59 0008 0000 ff');
  assert.equal(udp.check(bytes, 0, 8), true);
  assert.equal(udp.check(bytes, 0, 9), true);
  assert.equal(udp.check(bytes, 0, 7), false);
  for (const length of [0, 7, 10, 0xffff]) {
    udp.setLength(bytes, 0, length);
    assert.equal(udp.check(bytes, 0, 9), false, String(length));
  }
});

test('udp: a computed checksum of 0 goes out as ffff', () => {
  assert.equal(udp.encodeSum(0), 0xffff);
  assert.equal(udp.encodeSum(1), 1);
  const bytes = dirty(8);
  udp.setSum(bytes, 0, udp.encodeSum(0));
  assert.equal(udp.sum(bytes, 0), 0xffff);
});

test('icmp: recorded request and reply', () => {
  assert.equal(icmp.check(D0, AT_TRANSPORT, D0.length), true);
  assert.equal(icmp.check(D0, AT_TRANSPORT, AT_TRANSPORT + 7), false);
  assert.equal(icmp.type(D0, AT_TRANSPORT), icmp.ECHO_REQUEST);
  assert.equal(icmp.code(D0, AT_TRANSPORT), 0);
  assert.equal(icmp.sum(D0, AT_TRANSPORT), 0x3c4a);
  assert.equal(icmp.type(ECHO_REPLY_CE, AT_TRANSPORT), icmp.ECHO_REPLY);
  const unreachable = hex('0304 0000 0000 05aa');
  assert.equal(icmp.type(unreachable, 0), icmp.UNREACHABLE);
  assert.equal(icmp.code(unreachable, 0), icmp.FRAGMENTATION_NEEDED);
});

test('ipv6: a router solicitation, as every new interface sends', () => {
  const bytes = ROUTER_SOLICITATION;
  assert.equal(ipv6.check(bytes, 0, bytes.length), true);
  assert.equal(ipv6.version(bytes, 0), 6);
  assert.equal(ipv6.payloadLength(bytes, 0), 8);
  assert.equal(ipv6.nextHeader(bytes, 0), 58);
  assert.equal(ipv6.check(bytes, 0, bytes.length - 1), false);
  assert.equal(ipv6.check(bytes, 0, 39), false);
  assert.equal(ipv6.check(D0, 22, D0.length), false);
});

test('ethernet: both addresses and the type of D0', () => {
  assert.equal(ethernet.check(D0, AT_ETHERNET, D0.length), true);
  assert.equal(ethernet.check(D0, AT_ETHERNET, AT_ETHERNET + 13), false);
  assert.equal(ethernet.destinationHigh(D0, AT_ETHERNET), 0x0200);
  assert.equal(ethernet.destinationLow(D0, AT_ETHERNET), 0x0a);
  assert.equal(ethernet.sourceHigh(D0, AT_ETHERNET), 0x0200);
  assert.equal(ethernet.sourceLow(D0, AT_ETHERNET), 0x0b);
  assert.equal(ethernet.type(D0, AT_ETHERNET), ethernet.IPV4);
  // a6:29:a2:6d:58:52 < ba:da:a7:1f:4e:63; the low halves are negative int32s.
  assert.equal(ethernet.destinationHigh(UDP_DATAGRAM, AT_ETHERNET), 0xa629);
  assert.equal(ethernet.destinationLow(UDP_DATAGRAM, AT_ETHERNET), 0xa26d5852 | 0);
  assert.equal(ethernet.sourceLow(UDP_DATAGRAM, AT_ETHERNET), 0xa71f4e63 | 0);
});

test('ethernet: the writers give back the header they were read from', () => {
  const bytes = dirty(14);
  ethernet.setDestination(bytes, 0, 0xa629, 0xa26d5852 | 0);
  ethernet.setSource(bytes, 0, 0xbada, 0xa71f4e63 | 0);
  ethernet.setType(bytes, 0, ethernet.IPV4);
  assert.deepEqual(bytes, UDP_DATAGRAM.slice(AT_ETHERNET, AT_ETHERNET + 14));
});

test('ethernet: group addresses', () => {
  assert.equal(ethernet.isGroup(0xffff), true);
  assert.equal(ethernet.isGroup(0x0100), true);
  assert.equal(ethernet.isGroup(0x3333), true);
  assert.equal(ethernet.isGroup(0xa629), false);
  assert.equal(ethernet.isGroup(0x0200), false);
});

test('ethernet: the forms of a MAC address', () => {
  const mac = hex('aabbccddeeff');
  for (const text of ['aa:bb:cc:dd:ee:ff', 'AA-BB-cc-dd-ee-ff', 'aabb.CCDD.eeff']) {
    assert.deepEqual(ethernet.parseMac(text), mac, text);
  }
  assert.equal(ethernet.formatMac(hex('0A0b00FF1001')), '0a:0b:00:ff:10:01');
  // biome-ignore format: a list
  const bad = ['', 'aabbccddeeff', 'aa:bb:cc:dd:ee', 'aa:bb:cc:dd:ee:ff:00:11', 'aa:bb:cc:dd:ee-ff', 'a:b:c:d:e:f',
    'aa:bb:cc:dd:ee:fg', 'aabb:ccdd:eeff', ' aa:bb:cc:dd:ee:ff', 'aa:bb:cc:dd:ee:ff\n', 'aa.bb.cc.dd.ee.ff', 'aabb.ccdd'];
  for (const text of bad) assert.equal(ethernet.parseMac(text), undefined, JSON.stringify(text));
});

test('vxlan: the header of D0', () => {
  assert.equal(vxlan.check(D0, 0, 7), false);
  assert.equal(vxlan.check(D0, 0, D0.length), true);
  assert.equal(vxlan.hasVniFlag(D0, 0), true);
  assert.equal(vxlan.vni(D0, 0), 1);
  assert.equal(vxlan.reservedBitsSet(D0, 0), false);
});

test('vxlan: flags as vendors set them', () => {
  assert.equal(vxlan.hasVniFlag(hex('00000000 00000100'), 0), false);
  assert.equal(vxlan.hasVniFlag(hex('f7000000 00000100'), 0), false);
  const groupPolicy = hex('88480064 00000100');
  assert.equal(vxlan.hasVniFlag(groupPolicy, 0), true);
  assert.equal(vxlan.vni(groupPolicy, 0), 1);
  assert.equal(vxlan.reservedBitsSet(groupPolicy, 0), true);
  assert.equal(vxlan.reservedBitsSet(hex('0c000003 00000100'), 0), true);
});

test('vxlan: each of the 64 bits is I, VNI or reserved', () => {
  for (let bit = 0; bit < 64; bit += 1) {
    const bytes = new Uint8Array(8);
    bytes[bit >> 3] = 0x80 >> (bit & 7);
    const isFlag = bit === 4;
    const isVni = bit >= 32 && bit < 56;
    assert.equal(vxlan.hasVniFlag(bytes, 0), isFlag, `bit ${bit}`);
    assert.equal(vxlan.vni(bytes, 0), isVni ? 2 ** (55 - bit) : 0, `bit ${bit}`);
    assert.equal(vxlan.reservedBitsSet(bytes, 0), !isFlag && !isVni, `bit ${bit}`);
  }
});

test('vxlan: what is written is read back, and VNI 0 is a VNI', () => {
  for (const vni of [0, 1, 0x123456, 10_000_000, 0xffffff]) {
    const bytes = dirty(12);
    vxlan.write(bytes, 2, vni);
    assert.equal(vxlan.vni(bytes, 2), vni);
    assert.equal(vxlan.hasVniFlag(bytes, 2), true);
    assert.equal(vxlan.reservedBitsSet(bytes, 2), false);
    assert.deepEqual([bytes[0], bytes[1], bytes[10], bytes[11]], [0xa5, 0xa5, 0xa5, 0xa5]);
  }
});

test('vnet: the fields are little-endian and stand where virtio has them', () => {
  const bytes = dirty(14);
  vnet.write(bytes, 2, vnet.NEEDS_CSUM, vnet.TCPV4 | vnet.ECN, 52, 1398, 20, tcp.SUM_OFFSET);
  assert.deepEqual(bytes, hex('a5a5 01 81 3400 7605 1400 1000 a5a5'));
  assert.equal(vnet.flags(bytes, 2), vnet.NEEDS_CSUM);
  assert.equal(vnet.gsoType(bytes, 2) & ~vnet.ECN, vnet.TCPV4);
  assert.equal(vnet.headerLength(bytes, 2), 52);
  assert.equal(vnet.gsoSize(bytes, 2), 1398);
  assert.equal(vnet.checksumStart(bytes, 2), 20);
  assert.equal(vnet.checksumOffset(bytes, 2), 16);
  vnet.clear(bytes, 2);
  assert.deepEqual(bytes, hex('a5a5 00000000000000000000 a5a5'));
  assert.equal(vnet.check(bytes, 2, 12), true);
  assert.equal(vnet.check(bytes, 2, 11), false);
});
