/**
 * Whether the kernel takes super-packets written to a TUN, found out before the device is used:
 * some kernels take the vnet header and then refuse such writes with EINVAL, all of them or only
 * those of certain lengths (6.6.42 to 6.6.46, and others with the same patch).
 *
 * The probe writes to the TUN while it is still down. The kernel reads the vnet header first and
 * refuses it with EINVAL, or accepts it and only then finds the device down: EIO
 * (drivers/net/tun.c, tun_get_user). So no packet enters the stack, and nobody sees more than
 * some drops in the device's own statistics. Should somebody have set the device up, the packets
 * are cut short and end where their length is checked, before any firewall. Kernels before 5.1
 * may look at the device first: then the answer is yes, and writing singly after a refusal
 * (forward/write-queue.ts) is what remains.
 *
 * Whether what was accepted is also cut right cannot be seen without sending it somewhere: see
 * `udpSuperPacketsAreSafe` for what is known of that.
 */
import * as ipv4 from '../wire/ipv4.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import * as vnet from '../wire/vnet.js';
import { EINVAL, type Native } from './native.js';

/** Super-packets that may be written to a TUN. */
export interface TakenSuperPackets {
  readonly tcp: boolean;
  readonly udp: boolean;
}

const SEGMENT = 1000;
/** A full last segment, and one that ends a few bytes into the next thousand, headers counted. */
const PAYLOADS = [2 * SEGMENT, 2 * SEGMENT - 30];

const TABLE = 64;
const IOVECS = 96;
const PACKET = 128;
const SIZE = PACKET + vnet.HEADER + ipv4.HEADER + tcp.HEADER + 2 * SEGMENT;

/**
 * @param fd a TUN with vnet header that is down
 * Registers a memory of its own with `native`: for a thread whose addon has none in use.
 */
export function probeSuperPackets(native: Native, fd: number): TakenSuperPackets {
  const bytes = new Uint8Array(new SharedArrayBuffer(SIZE + 2));
  native.attach(bytes);
  const takes = (gsoType: number): boolean =>
    PAYLOADS.every((payload) => isTaken(native, fd, bytes, gsoType, payload));
  return { tcp: takes(vnet.TCPV4), udp: takes(vnet.UDP_L4) };
}

function isTaken(
  native: Native,
  fd: number,
  bytes: Uint8Array,
  gsoType: number,
  payload: number,
): boolean {
  const isTcp = gsoType === vnet.TCPV4;
  const headers = ipv4.HEADER + (isTcp ? tcp.HEADER : udp.HEADER);
  const packet = PACKET + vnet.HEADER;
  bytes.fill(0);
  const sumOffset = isTcp ? tcp.SUM_OFFSET : udp.SUM_OFFSET;
  vnet.writeSuper(bytes, PACKET, gsoType, ipv4.HEADER, sumOffset, headers, SEGMENT);
  bytes[packet] = 0x45;
  bytes[packet + 8] = 1; // TTL
  bytes[packet + 9] = isTcp ? ipv4.TCP : ipv4.UDP;
  ipv4.setTotalLength(bytes, packet, 0xffff); // cut short, as the stack sees it
  ipv4.seal(bytes, packet);
  if (isTcp) bytes[packet + ipv4.HEADER + 12] = (tcp.HEADER >> 2) << 4;
  const words = new Int32Array(bytes.buffer, 0, SIZE >> 2);
  words.set([0, 1], TABLE >> 2);
  words.set([PACKET, vnet.HEADER + headers + payload], IOVECS >> 2);
  return native.tunWrite(fd, TABLE, 1, IOVECS, 1) === 1 || native.lastError() !== EINVAL;
}

/**
 * Whether a kernel of this release (`os.release()`) can be trusted with UDP super-packets that
 * come from a TUN. Told by the release, since trying it could crash the machine:
 *
 * - Before 6.8.5, one that lands in the socket of a kernel tunnel (VXLAN, Geneve or WireGuard in
 *   a container, say) is decapsulated as if it were one packet: corrupt packets, or a BUG in
 *   skb_segment that stops the machine. Fixed by commit 3d010c8031e3, "udp: do not accept
 *   non-tunnel GSO skbs landing in a tunnel" (CVE-2024-35884). Older series have it as well from
 *   some patch level on, but a distribution's release does not tell.
 * - From 7.0 to 7.1.4, segments of equal length may leave with wrong UDP lengths and checksums,
 *   depending on the network card (commits b10b446, 78effd8, 5f17ae0).
 *
 * What cannot be read, and release candidates, are not trusted.
 */
export function udpSuperPacketsAreSafe(release: string): boolean {
  const [, major, minor, patch = '0'] = /^(\d+)\.(\d+)(?:\.(\d+))?(?![\d.])/.exec(release) ?? [];
  if (major === undefined || minor === undefined || /-rc/.test(release)) return false;
  const version = Number(major) * 1e8 + Number(minor) * 1e4 + Number(patch);
  return version >= 6_0008_0005 && !(version >= 7_0000_0000 && version <= 7_0001_0004);
}
