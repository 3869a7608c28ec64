import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import * as tcp from '../../../src/dataplane/wire/tcp.js';
import { AT_TRANSPORT, TCP_FRAME, TCP_SYN } from './frames.js';

/** Where the inner header stands in TCP_FRAME, which has the outer ones in front. */
const INNER_TCP = 84;
const u16 = fc.integer({ min: 0, max: 0xffff });
const dirty = (length: number): Uint8Array => new Uint8Array(length).fill(0xa5);

test('a recorded SYN and a recorded segment', () => {
  assert.equal(tcp.check(TCP_SYN, AT_TRANSPORT, TCP_SYN.length), true);
  assert.equal(tcp.sourcePort(TCP_SYN, AT_TRANSPORT), 40001);
  assert.equal(tcp.destinationPort(TCP_SYN, AT_TRANSPORT), 7000);
  assert.equal(tcp.sequence(TCP_SYN, AT_TRANSPORT), 0x7e5b209b);
  assert.equal(tcp.headerLength(TCP_SYN, AT_TRANSPORT), 40);
  assert.equal(tcp.flags(TCP_SYN, AT_TRANSPORT), tcp.SYN);
  assert.equal(tcp.sum(TCP_SYN, AT_TRANSPORT), 0x6c61);
  assert.equal(tcp.flags(TCP_FRAME, INNER_TCP), tcp.PSH | tcp.ACK);
  assert.equal(tcp.headerLength(TCP_FRAME, INNER_TCP), 32);
});

test('the header must be at least 20 bytes and all there', () => {
  const end = AT_TRANSPORT + 40;
  assert.equal(tcp.check(TCP_SYN, AT_TRANSPORT, end - 1), false);
  assert.equal(tcp.check(TCP_SYN, AT_TRANSPORT, AT_TRANSPORT + 19), false);
  const short = TCP_SYN.slice();
  short[AT_TRANSPORT + 12] = 0x40;
  assert.equal(tcp.check(short, AT_TRANSPORT, end), false);
});

test('numbers are unsigned, and the writers touch their own field only', () => {
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
