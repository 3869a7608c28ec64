/**
 * Datagrams as they are told, byte for byte. Run inside a namespace:
 *
 *   frames.js receive PORT                       prints "SIZE FIRST-BYTES" of each datagram that comes
 *   frames.js send ADDRESS PORT SEGMENT HEX      one datagram; with a SEGMENT above 0 several of that
 *                                                size in one UDP_SEGMENT send, so that UDP_GRO has them
 *                                                merged at a receiver on the same machine
 */
import dgram from 'node:dgram';
import { LAYOUT, LaneMemory, MESSAGE_ROW, MESSAGES } from '../../../src/dataplane/io/memory.js';
import { loadNative } from '../../../src/dataplane/io/native.js';
import * as socketAddress from '../../../src/dataplane/io/socket-address.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';

function receive(port: number): void {
  const socket = dgram.createSocket('udp4');
  socket.on('message', (message) => {
    console.log(`${message.length} ${message.subarray(0, 8).toString('hex')}`);
  });
  // Not as bind's callback: Node would then take an error for handled, and end with 0.
  socket.once('listening', () => console.log('listening'));
  socket.bind(port, '0.0.0.0');
}

function send(address: string, port: number, segment: number, hex: string): void {
  const native = loadNative();
  const memory = new LaneMemory();
  native.attach(memory.bytes);
  const payload = Buffer.from(hex, 'hex');
  memory.bytes.set(payload, LAYOUT.outbound);
  const { messages, sendIovecs, destinations } = LAYOUT;
  socketAddress.writeIpv4(memory.bytes, destinations, parseAddress(address)!, port);
  memory.words.set([LAYOUT.outbound, payload.length], sendIovecs >> 2);
  const row = messages >> 2;
  memory.words[row + MESSAGE_ROW.fd] = native.udpOpen(4);
  memory.words[row + MESSAGE_ROW.address] = 0;
  memory.words[row + MESSAGE_ROW.segment] = segment;
  memory.words[row + MESSAGE_ROW.tos] = 0;
  memory.words[row + MESSAGE_ROW.first] = 0;
  memory.words[row + MESSAGE_ROW.count] = 1;
  const sent = native.udpSend(messages, 1, sendIovecs, 1, destinations, MESSAGES);
  if (sent !== 1) throw new Error(native.errnoName(native.lastError()));
}

const [what = '', a = '', b = '', c = '', d = ''] = process.argv.slice(2);
if (what === 'receive') receive(Number(a));
else if (what === 'send') send(a, Number(b), Number(c), d);
else throw new Error(`frames: what is ${JSON.stringify(what)}?`);
