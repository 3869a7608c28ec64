/**
 * Real bytes for the tests of the headers.
 *
 * D0 is a correct UDP payload between two VTEPs, made by hand. The others were recorded
 * between two kernel VTEPs of a flannel network (10.10.60.0/24 behind 192.168.56.11,
 * 10.10.37.0/24 behind 192.168.56.12, VNI 1), with every offload off, so that all checksums
 * are complete.
 */

/** The bytes of a hex string; blanks are for the eye. */
export function hex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.replace(/\s+/g, ''), 'hex'));
}

/** ICMP echo request 10.5.72.9 → 10.5.52.7: VXLAN at 0, Ethernet at 8, IPv4 at 22, ICMP at 42. */
export const D0 = hex(`
  0800000000000100
  02000000000a 02000000000b 0800
  45000024123440003f01998b0a0548090a053407
  08003c4a000100017765667477656674
`);

/** Offsets in every UDP payload here. */
export const AT_ETHERNET = 8;
export const AT_IPV4 = 22;
export const AT_TRANSPORT = 42;

/** A whole frame of the underlay: Ethernet, IPv4, UDP, VXLAN, Ethernet, IPv4, TCP with timestamps, "hello over vxlan". */
export const TCP_FRAME = hex(
  '062e25d45ae3fa8d4a224a3708004500007616d200004011723dc0a8380bc0a8380cb6ee2118006248c20800000000000100a629a26d5852badaa71f4e63080045000044b84740003f060e550a0a3c020a0a25029c411b587e5b209c0609e8918018004025cd00000101080a372fdb99ce41a21d68656c6c6f206f7665722076786c616e',
);

/** Echo request 10.10.60.2 → 10.10.37.2, DF set. */
export const ECHO_REQUEST = hex(
  '0800000000000100a629a26d5852badaa71f4e63080045000054495a40003f017d370a0a3c020a0a25020800a5597d6e0001eb33066b00000000361503000000000077656674776566747765667477656674776566747765667477656674776566747765667477656674',
);

/** Echo reply with CE in the inner header. */
export const ECHO_REPLY_CE = hex(
  '0800000000000100badaa71f4e63a629a26d5852080045030054d97900003f012d150a0a25020a0a3c020000eec87d7a0001eb33066b00000000e049030000000000101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637',
);

/** The middle one of three fragments: MF set, offset 1424; cut after 20 bytes of payload. */
export const SECOND_FRAGMENT = hex(
  '0800000000000100a629a26d5852badaa71f4e630800450005a4496120b23f01972e0a0a3c020a0a250288898a8b8c8d8e8f909192939495969798999a9b',
);

/** The last of three fragments: MF clear, offset 2848. */
export const LAST_FRAGMENT = hex(
  '0800000000000100a629a26d5852badaa71f4e63080045000098496101643f01bb880a0a3c020a0a250218191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b',
);

/** SYN 40001 → 7000 with 20 bytes of options. */
export const TCP_SYN = hex(
  '0800000000000100a629a26d5852badaa71f4e6308004500003cb84540003f060e5f0a0a3c020a0a25029c411b587e5b209b00000000a002fd5c6c610000020405820402080a372fdb99000000000103030a',
);

/** UDP 40002 → 7001, "one udp datagram". */
export const UDP_DATAGRAM = hex(
  '0800000000000100a629a26d5852badaa71f4e6308004500002cb34440003f1113650a0a3c020a0a25029c421b59001877546f6e652075647020646174616772616d',
);

/** IPv6 router solicitation, the first thing a new interface sends; the packet alone. */
export const ROUTER_SOLICITATION = hex(`
  60000000 0008 3a ff fe80000000000000 0000000000000001 ff02000000000000 0000000000000002
  8500 7bb8 00000000
`);
