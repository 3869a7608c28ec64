import assert from 'node:assert/strict';
import test from 'node:test';
import * as vxlan from '../../../src/dataplane/wire/vxlan.js';
import { D0, hex } from './frames.js';

const dirty = (length: number): Uint8Array => new Uint8Array(length).fill(0xa5);

test('the header of D0', () => {
  assert.equal(vxlan.hasVniFlag(D0, 0), true);
  assert.equal(vxlan.vni(D0, 0), 1);
  assert.equal(vxlan.reservedBitsSet(D0, 0), false);
});

test('flags as vendors set them', () => {
  assert.equal(vxlan.hasVniFlag(hex('00000000 00000100'), 0), false);
  assert.equal(vxlan.hasVniFlag(hex('f7000000 00000100'), 0), false);
  const groupPolicy = hex('88480064 00000100');
  assert.equal(vxlan.hasVniFlag(groupPolicy, 0), true);
  assert.equal(vxlan.vni(groupPolicy, 0), 1);
  assert.equal(vxlan.reservedBitsSet(groupPolicy, 0), true);
  assert.equal(vxlan.reservedBitsSet(hex('0c000003 00000100'), 0), true);
});

test('each of the 64 bits is I, VNI or reserved', () => {
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

test('what is written is read back, and VNI 0 is a VNI', () => {
  for (const vni of [0, 1, 0x123456, 10_000_000, 0xffffff]) {
    const bytes = dirty(12);
    vxlan.write(bytes, 2, vni);
    assert.equal(vxlan.vni(bytes, 2), vni);
    assert.equal(vxlan.hasVniFlag(bytes, 2), true);
    assert.equal(vxlan.reservedBitsSet(bytes, 2), false);
    assert.deepEqual([bytes[0], bytes[1], bytes[10], bytes[11]], [0xa5, 0xa5, 0xa5, 0xa5]);
  }
});
