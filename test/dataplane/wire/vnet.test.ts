import assert from 'node:assert/strict';
import test from 'node:test';
import * as tcp from '../../../src/dataplane/wire/tcp.js';
import * as vnet from '../../../src/dataplane/wire/vnet.js';
import { hex } from './frames.js';

const dirty = (length: number): Uint8Array => new Uint8Array(length).fill(0xa5);

test('the fields are little-endian and stand where virtio has them', () => {
  const bytes = dirty(14);
  vnet.writeSuper(bytes, 2, vnet.TCPV4 | vnet.ECN, 20, tcp.SUM_OFFSET, 52, 1398);
  assert.deepEqual(bytes, hex('a5a5 01 81 3400 7605 1400 1000 a5a5'));
  assert.equal(vnet.flags(bytes, 2), vnet.NEEDS_CSUM);
  assert.equal(vnet.gsoType(bytes, 2) & ~vnet.ECN, vnet.TCPV4);
  assert.equal(vnet.headerLength(bytes, 2), 52);
  assert.equal(vnet.gsoSize(bytes, 2), 1398);
  assert.equal(vnet.checksumStart(bytes, 2), 20);
  assert.equal(vnet.checksumOffset(bytes, 2), 16);
  vnet.clear(bytes, 2);
  assert.deepEqual(bytes, hex('a5a5 00000000000000000000 a5a5'));
});

test('a single packet to be summed has no sizes, whatever stood there', () => {
  const bytes = dirty(14);
  vnet.writeSingle(bytes, 2, 24, 6);
  assert.deepEqual(bytes, hex('a5a5 01 00 0000 0000 1800 0600 a5a5'));
});
