/**
 * Finds the IPv4 packet behind a capture's link-layer header.
 *
 *   Ethernet        destination 6, source 6, [tag 4, [tag 4]], EtherType 2
 *   raw IP          nothing; the IP version is told from the first nibble
 *   Linux cooked v1 type 2, ARPHRD 2, address length 2, address 8, protocol 2       (16 bytes)
 *   Linux cooked v2 protocol 2, reserved 2, interface 4, ARPHRD 2, type 1,
 *                   address length 1, address 8                                     (20 bytes)
 *   BSD loopback    address family 4, in the byte order of the host that captured
 *
 * The cooked headers' address length is not looked at: the field always has 8 bytes, and
 * there are writers that put nonsense there. (https://www.tcpdump.org/linktypes.html)
 */
import * as ethernet from '../../dataplane/wire/ethernet.js';

const LOOPBACK = 0;
const ETHERNET = 1;
/** The same with the family in network order (OpenBSD). */
const OPENBSD_LOOPBACK = 108;
/** LINKTYPE_RAW, and what DLT_RAW was on BSD and OpenBSD. */
const RAW_IP = [101, 12, 14];
const IPV4 = 228;
const IPV6 = 229;
const COOKED_V1 = 113;
const COOKED_V2 = 276;

const COOKED_V1_HEADER = 16;
const COOKED_V1_PROTOCOL = 14;
const COOKED_V2_HEADER = 20;

/** Address families: IPv4 everywhere; IPv6 on Linux, the BSDs and macOS. */
const FAMILY = 4;
const FAMILY_IPV4 = 2;
const FAMILIES_IPV6 = [10, 24, 28, 30];

const RARP = 0x8035;
const LLDP = 0x88cc;
const TAG = 4;
const MAX_TAGS = 2;
/** Below this the field is an IEEE 802.3 length, not an EtherType. */
const FIRST_ETHERTYPE = 0x600;

const READ = 'Ethernet, raw IPv4, Linux cooked v1 and v2, BSD loopback';
const KNOWN = [ETHERNET, ...RAW_IP, IPV4, COOKED_V1, COOKED_V2, LOOPBACK, OPENBSD_LOOPBACK];

/** Link types that people meet and weft does not read, by name. */
const NAMED = new Map([
  [IPV6, 'raw IPv6, and weft tunnels IPv4 over IPv4'],
  [105, 'IEEE 802.11'],
  [127, 'IEEE 802.11 with radiotap'],
  [9, 'PPP'],
  [51, 'PPPoE'],
  [189, 'USB'],
  [253, 'netlink'],
]);

/** Where an IPv4 packet begins, or the name of what is there instead. */
export type Found = { readonly at: number } | { readonly other: string };

/** Why no packet of such a capture can be read, or undefined when all is well. */
export function refuseLinkType(linkType: number): string | undefined {
  if (KNOWN.includes(linkType)) return undefined;
  const name = NAMED.get(linkType);
  const what = name === undefined ? '' : ` (${name})`;
  return `link type ${linkType}${what} is not one weft reads: ${READ}`;
}

/**
 * Looks behind the link-layer header for an IPv4 packet.
 *
 * @param linkType one that `refuseLinkType` lets pass
 * @param bytes one record; may be cut anywhere
 */
export function findIpv4(linkType: number, bytes: Uint8Array): Found {
  switch (linkType) {
    case ETHERNET:
      return byEtherType(bytes, ethernet.HEADER - 2, ethernet.HEADER);
    case COOKED_V1:
      return byEtherType(bytes, COOKED_V1_PROTOCOL, COOKED_V1_HEADER);
    case COOKED_V2:
      return byEtherType(bytes, 0, COOKED_V2_HEADER);
    case IPV4:
      return bytes.length === 0 ? { other: 'empty' } : { at: 0 };
    case LOOPBACK:
    case OPENBSD_LOOPBACK:
      return byFamily(bytes);
    default:
      return byVersion(bytes);
  }
}

/** The EtherType at `typeAt`, the payload at `at`; one or two VLAN tags between are skipped. */
function byEtherType(bytes: Uint8Array, typeAt: number, payloadAt: number): Found {
  let type = word(bytes, typeAt);
  let at = payloadAt;
  for (let tags = 0; isTag(type); tags += 1) {
    if (tags === MAX_TAGS) return { other: `more than ${MAX_TAGS} VLAN tags` };
    type = word(bytes, at + TAG - 2);
    at += TAG;
  }
  if (type === undefined || at > bytes.length) return { other: 'a cut link-layer header' };
  if (type === ethernet.IPV4) return { at };
  return { other: etherTypeName(type) };
}

function byVersion(bytes: Uint8Array): Found {
  if (bytes.length === 0) return { other: 'empty' };
  const version = bytes[0]! >> 4;
  if (version === 4) return { at: 0 };
  return { other: version === 6 ? 'IPv6' : `IP version ${version}` };
}

/** Read in both byte orders: a family is less than 256, so one of them makes sense. */
function byFamily(bytes: Uint8Array): Found {
  if (bytes.length < FAMILY) return { other: 'a cut link-layer header' };
  const [a, b, c, d] = bytes as unknown as [number, number, number, number];
  const family = a === 0 && b === 0 ? (c << 8) | d : (b << 8) | a;
  if (family === FAMILY_IPV4) return { at: FAMILY };
  return { other: FAMILIES_IPV6.includes(family) ? 'IPv6' : `address family ${family}` };
}

function isTag(type: number | undefined): boolean {
  return type === ethernet.VLAN || type === ethernet.QINQ;
}

/** What an EtherType field says, for people. */
export function etherTypeName(type: number): string {
  if (type === ethernet.IPV6) return 'IPv6';
  if (type === ethernet.ARP) return 'ARP';
  if (isTag(type)) return 'VLAN tag';
  if (type === RARP) return 'RARP';
  if (type === LLDP) return 'LLDP';
  if (type < FIRST_ETHERTYPE) return '802.3 LLC';
  return `EtherType 0x${type.toString(16).padStart(4, '0')}`;
}

/** A 16-bit field in network order, or undefined when the record ends before it. */
function word(bytes: Uint8Array, at: number): number | undefined {
  if (at + 2 > bytes.length) return undefined;
  return (bytes[at]! << 8) | bytes[at + 1]!;
}
