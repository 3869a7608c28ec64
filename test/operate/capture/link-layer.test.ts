import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { findIpv4, refuseLinkType } from '../../../src/operate/capture/link-layer.js';
import { hex } from './captures.js';

const MACS = '02000000000b 02000000000a';
const IPV4 = '4500001400000000400100000a0a3a020a0a1a02';
const cookedV1 = (length: string, type: string) => `0000 0001 ${length} 0011223344556677 ${type}`;
const cookedV2 = (type: string) => `${type} 0000 00000003 0001 00 06 0011223344550000`;

describe('link layer', () => {
  const found: readonly (readonly [name: string, linkType: number, header: string])[] = [
    ['Ethernet', 1, `${MACS} 0800`],
    ['Ethernet, one VLAN tag', 1, `${MACS} 8100 0005 0800`],
    ['Ethernet, two VLAN tags', 1, `${MACS} 88a8 0005 8100 0006 0800`],
    ['raw IP', 101, ''],
    ['raw IP as on BSD', 12, ''],
    ['raw IP as on OpenBSD', 14, ''],
    ['raw IPv4', 228, ''],
    ['Linux cooked v1', 113, cookedV1('0006', '0800')],
    ['Linux cooked v1, address length 50438', 113, cookedV1('c506', '0800')],
    ['Linux cooked v1, VLAN tag', 113, `${cookedV1('0006', '8100')} 0005 0800`],
    ['Linux cooked v2', 276, cookedV2('0800')],
    ['BSD loopback', 0, '02000000'],
    ['BSD loopback of a big-endian host', 0, '00000002'],
    ['OpenBSD loopback', 108, '00000002'],
  ];
  for (const [name, linkType, header] of found) {
    it(`finds IPv4: ${name}`, () => {
      const at = hex(header).length;
      assert.deepEqual(findIpv4(linkType, hex(header + IPV4)), { at });
    });
    it(`names a cut header: ${name}`, () => {
      const bytes = hex(header);
      for (let length = 0; length < bytes.length; length += 1) {
        assert.ok('other' in findIpv4(linkType, bytes.subarray(0, length)));
      }
    });
  }

  const others: readonly (readonly [other: string, linkType: number, bytes: string])[] = [
    ['ARP', 1, `${MACS} 0806 0001`],
    ['IPv6', 1, `${MACS} 86dd 60`],
    ['IPv6', 1, `${MACS} 8100 0005 86dd 60`],
    ['LLDP', 1, `${MACS} 88cc`],
    ['802.3 LLC', 1, `${MACS} 0032 4242`],
    ['802.3 LLC', 1, `${MACS} 05ff 4242`],
    ['EtherType 0x0600', 1, `${MACS} 0600 4242`],
    ['EtherType 0x8847', 1, `${MACS} 8847 00`],
    ['more than 2 VLAN tags', 1, `${MACS} 8100 0005 8100 0005 8100 0005 0800 45`],
    ['IPv6', 101, '60'],
    ['IP version 5', 101, '55'],
    ['empty', 101, ''],
    ['empty', 228, ''],
    ['IPv6', 0, '0a000000 60'],
    ['IPv6', 108, '0000001e 60'],
    ['address family 7', 0, '07000000'],
    ['ARP', 113, cookedV1('0006', '0806')],
    ['RARP', 276, cookedV2('8035')],
    ['IPv6', 276, cookedV2('86dd')],
  ];
  for (const [other, linkType, bytes] of others) {
    it(`names ${other} (link type ${linkType}, ${bytes.length} digits)`, () => {
      assert.deepEqual(findIpv4(linkType, hex(bytes)), { other });
    });
  }

  it('refuses other link types by number', () => {
    assert.match(refuseLinkType(999) ?? '', /^link type 999 is not one weft reads: Ethernet, raw/);
    assert.match(refuseLinkType(105) ?? '', /link type 105 \(IEEE 802\.11\) is not/);
    assert.equal(refuseLinkType(276), undefined);
  });

  it('refuses raw IPv6 by name', () => {
    assert.match(refuseLinkType(229) ?? '', /link type 229 \(raw IPv6, .*IPv4 over IPv4\) is not/);
  });

  it('takes any bytes', () => {
    const linkTypes = fc.constantFrom(0, 1, 12, 14, 101, 108, 113, 228, 276);
    fc.assert(
      fc.property(linkTypes, fc.uint8Array({ maxLength: 60 }), (linkType, bytes) => {
        const result = findIpv4(linkType, bytes);
        if ('at' in result) assert.ok(result.at <= bytes.length);
      }),
    );
  });
});
