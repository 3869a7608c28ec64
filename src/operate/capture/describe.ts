/** One line about a packet, for verdicts: what it is, from where, to where. Takes any bytes. */
import * as ethernet from '../../dataplane/wire/ethernet.js';
import * as ipv4 from '../../dataplane/wire/ipv4.js';
import * as tcp from '../../dataplane/wire/tcp.js';
import * as udp from '../../dataplane/wire/udp.js';
import * as vxlan from '../../dataplane/wire/vxlan.js';
import { etherTypeName } from './link-layer.js';

const NAMES = new Map([
  [ipv4.ICMP, 'ICMP'],
  [2, 'IGMP'],
  [ipv4.TCP, 'TCP'],
  [ipv4.UDP, 'UDP'],
]);

const TCP_FLAGS: readonly (readonly [bit: number, letter: string])[] = [
  [tcp.SYN, 'S'],
  [tcp.FIN, 'F'],
  [tcp.RST, 'R'],
  [tcp.PSH, 'P'],
  [tcp.ACK, '.'],
];

/**
 * For example `TCP 10.10.58.2:40116 > 10.10.26.2:5000 [S.] 60 bytes`.
 *
 * @param at where the IPv4 header begins @param end where the bytes end
 */
export function describeIpv4(bytes: Uint8Array, at: number, end: number): string {
  if (at + ipv4.HEADER > end) return `IPv4 header of ${end - at} bytes, too short`;
  const header = ipv4.headerLength(bytes, at);
  if (header < ipv4.HEADER) return `malformed IPv4, ${end - at} bytes`;
  const source = ipv4.formatAddress(ipv4.source(bytes, at));
  const destination = ipv4.formatAddress(ipv4.destination(bytes, at));
  const protocol = ipv4.protocol(bytes, at);
  const name = NAMES.get(protocol) ?? `IP protocol ${protocol}`;
  const length = `${ipv4.totalLength(bytes, at)} bytes`;
  const df = ipv4.dontFragment(bytes, at) ? ' DF' : '';
  if (ipv4.isLaterFragment(bytes, at)) {
    const offset = (ipv4.fragment(bytes, at) & 0x1fff) * 8;
    return `${name} ${source} > ${destination} fragment at ${offset}, ${length}`;
  }
  const first = ipv4.isFragment(bytes, at) ? ' first fragment,' : df;

  const transport = at + header;
  if (protocol === ipv4.TCP && transport + tcp.HEADER <= end) {
    const ports = [tcp.sourcePort(bytes, transport), tcp.destinationPort(bytes, transport)];
    const set = tcp.flags(bytes, transport);
    const flags = TCP_FLAGS.filter(([bit]) => (set & bit) !== 0).map(([, letter]) => letter);
    return `TCP ${source}:${ports[0]} > ${destination}:${ports[1]} [${flags.join('')}]${first} ${length}`;
  }
  if (protocol === ipv4.UDP && transport + udp.HEADER <= end) {
    const ports = [udp.sourcePort(bytes, transport), udp.destinationPort(bytes, transport)];
    return `UDP ${source}:${ports[0]} > ${destination}:${ports[1]}${first} ${length}`;
  }
  return `${name} ${source} > ${destination}${first} ${length}`;
}

/**
 * For example `VXLAN 192.168.56.12 > 192.168.56.11 VNI 1: ICMP 10.10.26.2 > …`; without the VNI
 * flag or with something other than IPv4 inside, it says so.
 *
 * @param at where the outer IPv4 header of an unfragmented UDP packet begins
 * @param segment where to cut a train, of which the first is described; 0 for one datagram
 */
export function describeVxlan(bytes: Uint8Array, at: number, end: number, segment = 0): string {
  const payload = end - at - ipv4.headerLength(bytes, at) - udp.HEADER;
  const train = segment === 0 ? '' : `, first of a train of ${Math.ceil(payload / segment)}`;
  return `${describeOne(bytes, at, end)}${train}`;
}

function describeOne(bytes: Uint8Array, at: number, end: number): string {
  const source = ipv4.formatAddress(ipv4.source(bytes, at));
  const destination = ipv4.formatAddress(ipv4.destination(bytes, at));
  const header = at + ipv4.headerLength(bytes, at) + udp.HEADER;
  return describeInside(`VXLAN ${source} > ${destination}`, bytes, header, end, end - at);
}

/** A frame behind its VXLAN header at `at`, of which `length` bytes are told. `head`: before it. */
export function describeInside(
  head: string,
  bytes: Uint8Array,
  at: number,
  end: number,
  length: number,
): string {
  const frame = at + vxlan.HEADER;
  if (frame + ethernet.HEADER > end) return `${head}, ${length} bytes, too short`;
  if (!vxlan.hasVniFlag(bytes, at)) return `${head} without VNI flag, ${length} bytes`;
  const vni = `VNI ${vxlan.vni(bytes, at)}`;
  const type = ethernet.type(bytes, frame);
  if (type === ethernet.IPV4) {
    return `${head} ${vni}: ${describeIpv4(bytes, frame + ethernet.HEADER, end)}`;
  }
  return `${head} ${vni}: ${etherTypeName(type)}, ${length} bytes`;
}
