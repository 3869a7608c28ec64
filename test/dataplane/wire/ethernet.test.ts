import assert from 'node:assert/strict';
import test from 'node:test';
import * as ethernet from '../../../src/dataplane/wire/ethernet.js';
import { AT_ETHERNET, D0, hex, UDP_DATAGRAM } from './frames.js';

const dirty = (length: number): Uint8Array => new Uint8Array(length).fill(0xa5);

test('both addresses and the type of D0', () => {
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

test('the writer of the type touches nothing else', () => {
  const bytes = dirty(16);
  ethernet.setType(bytes, 1, ethernet.IPV4);
  assert.deepEqual(bytes, dirty(16).fill(0x08, 13, 14).fill(0x00, 14, 15));
});

test('group addresses', () => {
  assert.equal(ethernet.isGroup(0xffff), true);
  assert.equal(ethernet.isGroup(0x0100), true);
  assert.equal(ethernet.isGroup(0x3333), true);
  assert.equal(ethernet.isGroup(0xa629), false);
  assert.equal(ethernet.isGroup(0x0200), false);
});

test('the forms of a MAC address', () => {
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
