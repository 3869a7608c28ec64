import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  contains,
  formatSubnet,
  keyOf,
  overlaps,
  parseKey,
  parseSubnet,
  type Subnet,
  sizeOf,
} from '../../../src/control/overlay/subnet.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';

const subnet = (text: string): Subnet => parseSubnet(text) as Subnet;

test('parses prefixes and masks the host bits', () => {
  assert.deepEqual(subnet('10.20.5.6/20'), { address: 0x0a140000, length: 20 });
  assert.deepEqual(subnet('192.168.1.1/32'), { address: 0xc0a80101 | 0, length: 32 });
  assert.equal(formatSubnet(subnet('255.255.255.255/0')), '0.0.0.0/0');
  for (const text of [
    '10.5.0.0',
    '10.5.0.0/33',
    '10.5.0/16',
    '10.5.0.0/',
    '10.5.0.0/-1',
    '::/0',
    '',
  ]) {
    assert.equal(parseSubnet(text), undefined, text);
  }
});

test('knows containing and overlapping', () => {
  const net = subnet('10.5.0.0/16');
  assert.ok(contains(net, parseAddress('10.5.255.255') as number));
  assert.ok(!contains(net, parseAddress('10.6.0.0') as number));
  assert.ok(contains(subnet('0.0.0.0/0'), -1));
  assert.ok(overlaps(net, subnet('10.5.7.0/24')) && overlaps(subnet('10.5.7.0/24'), net));
  assert.ok(!overlaps(subnet('10.5.6.0/24'), subnet('10.5.7.0/24')));
  assert.equal(sizeOf(24), 256);
  assert.equal(sizeOf(0), 2 ** 32);
});

test('reads keys as flannel does', () => {
  assert.equal(keyOf(subnet('10.5.52.0/24')), '10.5.52.0-24');
  assert.deepEqual(parseKey('10.5.52.0-24'), { subnet: subnet('10.5.52.0/24'), ipv6: undefined });
  assert.deepEqual(parseKey('left/of/it10.5.52.0-24')?.subnet, subnet('10.5.52.0/24'));
  assert.deepEqual(parseKey('10.5.52.0-24&2001:db8:42:5::-64'), {
    subnet: subnet('10.5.52.0/24'),
    ipv6: '2001:db8:42:5::/64',
  });
  assert.equal(parseKey('0.0.0.0-0&2001:db8:42:20::-64')?.ipv6, '2001:db8:42:20::/64');
  for (const key of [
    '10.20.9.0',
    '10.20.9.5-33',
    '10.20.9.5-32',
    'hello',
    '10.5.52.0-24 ',
    '10.5.52.0-24&2001:DB8::-64',
    '10.5.52.0-24&2001:db8::-128',
    '300.5.52.0-24',
  ]) {
    assert.equal(parseKey(key), undefined, key);
  }
});
