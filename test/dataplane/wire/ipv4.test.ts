import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import * as ipv4 from '../../../src/dataplane/wire/ipv4.js';
import {
  AT_IPV4,
  AT_TRANSPORT,
  D0,
  ECHO_REQUEST,
  hex,
  LAST_FRAGMENT,
  SECOND_FRAGMENT,
} from './frames.js';

/** D0 with some of its bytes replaced. */
function edited(at: number, text: string): Uint8Array {
  const bytes = D0.slice();
  bytes.set(hex(text), at);
  return bytes;
}

const check = (bytes: Uint8Array): number => ipv4.check(bytes, AT_IPV4, bytes.length);

test('every field of D0', () => {
  assert.equal(check(D0), 0);
  assert.equal(ipv4.version(D0, AT_IPV4), 4);
  assert.equal(ipv4.headerLength(D0, AT_IPV4), 20);
  assert.equal(ipv4.tos(D0, AT_IPV4), 0);
  assert.equal(ipv4.totalLength(D0, AT_IPV4), 36);
  assert.equal(ipv4.id(D0, AT_IPV4), 0x1234);
  assert.equal(ipv4.fragment(D0, AT_IPV4), 0x4000);
  assert.equal(ipv4.protocol(D0, AT_IPV4), ipv4.ICMP);
  assert.equal(ipv4.sum(D0, AT_IPV4), 0x998b);
  assert.equal(ipv4.formatAddress(ipv4.source(D0, AT_IPV4)), '10.5.72.9');
  assert.equal(ipv4.formatAddress(ipv4.destination(D0, AT_IPV4)), '10.5.52.7');
});

test('each fault has its own reason', () => {
  assert.equal(ipv4.check(D0, AT_IPV4, AT_IPV4), ipv4.BAD_SIZE);
  assert.equal(ipv4.check(D0, AT_IPV4, AT_IPV4 + 1), ipv4.BAD_SIZE);
  assert.equal(ipv4.check(D0, AT_IPV4, AT_IPV4 + 19), ipv4.BAD_SIZE);
  assert.equal(check(edited(22, '55')), ipv4.BAD_VERSION);
  assert.equal(check(edited(22, '65')), ipv4.BAD_VERSION);
  assert.equal(check(edited(22, '44000024123440003f01d897')), ipv4.BAD_HEADER_LENGTH);
  assert.equal(check(edited(22, '4f')), ipv4.BAD_HEADER_LENGTH);
  assert.equal(check(edited(22, '45000013123440003f01999c')), ipv4.BAD_HEADER_LENGTH);
  assert.equal(check(edited(22, '450005dc123440003f0193d3')), ipv4.BAD_LENGTH);
  assert.equal(check(edited(32, '998c')), ipv4.BAD_SUM);
});

test('padding behind the packet is no fault, a missing byte is', () => {
  const padded = new Uint8Array(D0.length + 10);
  padded.set(D0);
  assert.equal(check(padded), 0);
  assert.equal(ipv4.check(D0, AT_IPV4, D0.length - 1), ipv4.BAD_LENGTH);
});

test('fragments', () => {
  for (const [bytes, whole, later, dont] of [
    [D0, true, false, true],
    [ECHO_REQUEST, true, false, true],
    [SECOND_FRAGMENT, false, true, false],
    [LAST_FRAGMENT, false, true, false],
    [edited(28, '2000'), false, false, false],
    [edited(28, '0000'), true, false, false],
  ] as const) {
    assert.equal(ipv4.isFragment(bytes, AT_IPV4), !whole);
    assert.equal(ipv4.isLaterFragment(bytes, AT_IPV4), later);
    assert.equal(ipv4.dontFragment(bytes, AT_IPV4), dont);
  }
});

test('setTos keeps the header checksum right for every pair of values', () => {
  const bytes = D0.slice();
  for (let before = 0; before < 256; before += 5) {
    for (let after = 0; after < 256; after += 1) {
      ipv4.setTos(bytes, AT_IPV4, before);
      ipv4.setTos(bytes, AT_IPV4, after);
      assert.equal(check(bytes), 0, `${before} to ${after}`);
      assert.equal(ipv4.tos(bytes, AT_IPV4), after);
    }
  }
});

test('the writers and seal make a sound packet in a dirty buffer', () => {
  const u16 = fc.integer({ min: 0, max: 0xffff });
  fc.assert(
    fc.property(u16, fc.integer({ min: 20, max: 36 }), fc.nat(3), (id, length, shift) => {
      const at = AT_IPV4 + shift;
      const bytes = new Uint8Array(D0.length + 8).fill(0xa5);
      bytes.set(D0, shift);
      ipv4.setId(bytes, at, id);
      ipv4.setTotalLength(bytes, at, length);
      ipv4.setSum(bytes, at, 0xa5a5);
      ipv4.seal(bytes, at);
      assert.equal(ipv4.check(bytes, at, at + 36), 0);
      assert.equal(ipv4.id(bytes, at), id);
      assert.equal(ipv4.totalLength(bytes, at), length);
      const untouched = bytes.slice(at + 20, at + 36);
      assert.deepEqual(untouched, D0.slice(AT_TRANSPORT));
    }),
  );
});

test('seal covers the options', () => {
  const bytes = hex('46000018 00000000 40110000 0a000001 0a000002 94040000');
  ipv4.seal(bytes, 0);
  assert.equal(ipv4.check(bytes, 0, 24), 0);
});

test('addresses as text', () => {
  assert.equal(ipv4.parseAddress('192.168.0.1'), 0xc0a80001 | 0);
  assert.equal(ipv4.parseAddress('255.255.255.255'), -1);
  assert.equal(ipv4.parseAddress('0.0.0.0'), 0);
  fc.assert(
    fc.property(fc.integer(), (address) => {
      assert.equal(ipv4.parseAddress(ipv4.formatAddress(address)), address);
    }),
  );
  // biome-ignore format: a list
  const bad = ['', '1', '1.2.3', '1.2.3.4.5', '1.2.3.256', '01.2.3.4', '1.2.3.00', ' 1.2.3.4', '1.2.3.4 ',
    '1.2.3.4\n', '1..3.4', '.1.2.3', '-1.2.3.4', '+1.2.3.4', '1e1.2.3.4', '0x1.2.3.4', '1.2.3.1000', '::1', '1,2,3,4', '١.2.3.4'];
  for (const text of bad) assert.equal(ipv4.parseAddress(text), undefined, JSON.stringify(text));
});

test('kinds of addresses', () => {
  const of = (text: string): number => ipv4.parseAddress(text)!;
  // biome-ignore format: a table
  const kinds: [string, (address: number) => boolean, string[], string[]][] = [
    ['multicast', ipv4.isMulticast, ['224.0.0.0', '239.255.255.255'], ['223.255.255.255', '240.0.0.0', '255.255.255.255', '0.0.0.0']],
    ['loopback', ipv4.isLoopback, ['127.0.0.0', '127.0.0.1', '127.255.255.255'], ['126.255.255.255', '128.0.0.0', '255.0.0.1']],
    ['limited broadcast', ipv4.isLimitedBroadcast, ['255.255.255.255'], ['255.255.255.254', '0.0.0.0', '10.255.255.255']],
    ['unspecified', ipv4.isUnspecified, ['0.0.0.0', '0.255.255.255'], ['1.0.0.0', '128.0.0.0', '255.255.255.255']],
  ];
  for (const [name, is, yes, no] of kinds) {
    for (const text of yes) assert.equal(is(of(text)), true, `${text} is ${name}`);
    for (const text of no) assert.equal(is(of(text)), false, `${text} is not ${name}`);
  }
  assert.equal(ipv4.isLimitedBroadcast(0xffffffff), true);
});
