import assert from 'node:assert/strict';
import test from 'node:test';
import * as udp from '../../../src/dataplane/wire/udp.js';
import { AT_TRANSPORT, hex, TCP_FRAME, UDP_DATAGRAM } from './frames.js';

/** Where the outer header stands in TCP_FRAME. */
const OUTER_UDP = 34;
const dirty = (length: number): Uint8Array => new Uint8Array(length).fill(0xa5);

test('recorded headers, outer and inner', () => {
  assert.equal(udp.check(TCP_FRAME, OUTER_UDP, TCP_FRAME.length), true);
  assert.equal(udp.sourcePort(TCP_FRAME, OUTER_UDP), 46830);
  assert.equal(udp.destinationPort(TCP_FRAME, OUTER_UDP), 8472);
  assert.equal(udp.length(TCP_FRAME, OUTER_UDP), 98);
  assert.equal(udp.sum(TCP_FRAME, OUTER_UDP), 0x48c2);
  assert.equal(udp.length(UDP_DATAGRAM, AT_TRANSPORT), 24);
});

test('lengths that do not fit', () => {
  const bytes = hex('9c42 1b59 0008 0000 ff');
  assert.equal(udp.check(bytes, 0, 8), true);
  assert.equal(udp.check(bytes, 0, 9), true);
  assert.equal(udp.check(bytes, 0, 7), false);
  for (const length of [0, 7, 10, 0xffff]) {
    udp.setLength(bytes, 0, length);
    assert.equal(udp.check(bytes, 0, 9), false, String(length));
  }
});

test('a computed checksum of 0 goes out as ffff', () => {
  assert.equal(udp.encodeSum(0), 0xffff);
  assert.equal(udp.encodeSum(1), 1);
  const bytes = dirty(8);
  udp.setSum(bytes, 0, udp.encodeSum(0));
  assert.equal(udp.sum(bytes, 0), 0xffff);
});
