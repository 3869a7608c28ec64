import assert from 'node:assert/strict';
import test from 'node:test';
import * as icmp from '../../../src/dataplane/wire/icmp.js';
import { AT_TRANSPORT, D0, ECHO_REPLY_CE, hex } from './frames.js';

test('the types of a recorded request and reply; neither is an error', () => {
  assert.equal(icmp.type(D0, AT_TRANSPORT), 8);
  assert.equal(icmp.type(ECHO_REPLY_CE, AT_TRANSPORT), 0);
  assert.equal(icmp.isError(8), false);
  assert.equal(icmp.isError(0), false);
});

test('the errors of RFC 792, and nothing else, are errors', () => {
  const errors = Array.from({ length: 256 }, (_, type) => type).filter(icmp.isError);
  assert.deepEqual(errors, [3, 4, 5, 11, 12]);
});

test('fragmentation needed: type 3, code 4, the MTU, a sum over header and quote', () => {
  const quote = '4500 0024 1234';
  const bytes = hex(`a5a5 ffffffffffffffff ${quote} a5a5`);
  icmp.writeFragmentationNeeded(bytes, 2, icmp.HEADER + 6, 1450);
  // 0304 + 05aa + 4500 + 0024 + 1234 = 6006, whose complement is 9ff9.
  assert.deepEqual(bytes, hex(`a5a5 0304 9ff9 0000 05aa ${quote} a5a5`));
});
