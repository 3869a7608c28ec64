import assert from 'node:assert/strict';
import test from 'node:test';
import * as icmp from '../../../src/dataplane/wire/icmp.js';
import { AT_TRANSPORT, D0, ECHO_REPLY_CE, hex } from './frames.js';

test('recorded request and reply', () => {
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
