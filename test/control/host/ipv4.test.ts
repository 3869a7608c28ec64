import assert from 'node:assert/strict';
import test from 'node:test';
import {
  contains,
  formatPrefix,
  parseAddress,
  parsePrefix,
} from '../../../src/control/host/ipv4.js';

test('addresses', () => {
  assert.equal(parseAddress('192.168.56.11'), 0xc0a8380b);
  assert.equal(parseAddress('255.255.255.255'), 0xffffffff);
  for (const bad of [
    '',
    '1.2.3',
    '1.2.3.4.5',
    '256.1.1.1',
    '01.2.3.4',
    '1.2.3.4 ',
    'eth0',
    '::1',
  ]) {
    assert.equal(parseAddress(bad), null, bad);
  }
});

test('prefixes', () => {
  assert.equal(formatPrefix(parsePrefix('10.5.52.0/24')!), '10.5.52.0/24');
  assert.equal(formatPrefix(parsePrefix('10.5.52.7')!), '10.5.52.7/32');
  assert.equal(formatPrefix(parsePrefix('0.0.0.0/0')!), '0.0.0.0/0');
  assert.equal(formatPrefix(parsePrefix('200.0.0.0/5')!), '200.0.0.0/5');
  for (const bad of [
    '10.5.52.1/24',
    '10.5.52.0/33',
    '10.5.52.0/',
    '10.5.52.0/24/1',
    'default',
    '',
  ]) {
    assert.equal(parsePrefix(bad), null, bad);
  }
});

test('containment', () => {
  const inside = (outer: string, inner: string) =>
    contains(parsePrefix(outer)!, parsePrefix(inner)!);
  assert.ok(inside('10.5.0.0/16', '10.5.52.0/24'));
  assert.ok(inside('10.5.0.0/16', '10.5.0.0/16'));
  assert.ok(inside('0.0.0.0/0', '200.1.0.0/16'));
  assert.ok(!inside('10.5.0.0/16', '10.4.0.0/15'));
  assert.ok(!inside('10.5.0.0/16', '10.6.0.0/24'));
  assert.ok(!inside('200.0.0.0/8', '201.0.0.0/24'));
});
