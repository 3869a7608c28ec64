/**
 * Small UDP packets whose inner checksum is only the pseudo-header's sum, in VXLAN, some 4000 a
 * second: as a kernel VTEP on a veth sends them, for a lane that has no such peer.
 *
 *   node unfinished.js UNDERLAY-ADDRESS MAC INNER-SOURCE INNER-DESTINATION
 */
import dgram from 'node:dgram';
import process from 'node:process';
import * as checksum from '../../src/dataplane/wire/checksum.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import * as udp from '../../src/dataplane/wire/udp.js';

const [underlay = '', mac = '', from = '', to = ''] = process.argv.slice(2);
const source = ipv4.parseAddress(from)!;
const destination = ipv4.parseAddress(to)!;
const PAYLOAD = 32;
const DISCARD = 9;

const packet = Buffer.alloc(ipv4.HEADER + udp.HEADER + PAYLOAD);
packet.set([0x45, 0, 0, 0, 0, 0, 0, 0, 64, ipv4.UDP, 0, 0]);
packet.writeInt32BE(source, 12);
packet.writeInt32BE(destination, 16);
ipv4.setTotalLength(packet, 0, packet.length);
ipv4.seal(packet, 0);
packet.writeUInt16BE(DISCARD, 20);
packet.writeUInt16BE(DISCARD, 22);
udp.setLength(packet, 20, udp.HEADER + PAYLOAD);
udp.setSum(packet, 20, checksum.pseudo(source, destination, ipv4.UDP, udp.HEADER + PAYLOAD));

const destinationMac = mac.split(':').map((byte) => Number.parseInt(byte, 16));
const head = [8, 0, 0, 0, 0, 0, 1, 0, ...destinationMac, 2, 0, 0, 0, 0, 2, 8, 0];
const datagram = Buffer.concat([Buffer.from(head), packet]);
const socket = dgram.createSocket('udp4');
setInterval(() => {
  for (let i = 0; i < 8; i += 1) socket.send(datagram, 8472, underlay);
}, 2);
