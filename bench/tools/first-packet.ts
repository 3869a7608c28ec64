/**
 * The two ends of the join measurement. Times are CLOCK_MONOTONIC in nanoseconds, the same
 * clock in every namespace.
 *
 *   first-packet.js send ADDRESS     a small UDP packet each 0.1 ms, for ever
 *   first-packet.js listen ADDRESS   as a VTEP would, on port 8472: prints the time of the first
 *                                    datagram after each silence of 20 ms
 */
import dgram from 'node:dgram';
import { LAYOUT, LaneMemory, MESSAGES } from '../../src/dataplane/io/memory.js';
import { loadNative } from '../../src/dataplane/io/native.js';
import * as socketAddress from '../../src/dataplane/io/socket-address.js';
import { parseAddress } from '../../src/dataplane/wire/ipv4.js';

const SILENCE = 20_000_000n;

function send(address: string): never {
  const native = loadNative();
  const memory = new LaneMemory();
  native.attach(memory.bytes);
  const fd = native.udpOpen(4);
  socketAddress.writeIpv4(memory.bytes, LAYOUT.destinations, parseAddress(address)!, 9);
  memory.words.set([LAYOUT.outbound, 16], LAYOUT.sendIovecs >> 2);
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (;;) {
    memory.words.set([fd, 0, 0, 0, 0, 1], LAYOUT.messages >> 2);
    native.udpSend(LAYOUT.messages, 1, LAYOUT.sendIovecs, 1, LAYOUT.destinations, MESSAGES);
    Atomics.wait(pause, 0, 0, 0.1);
  }
}

function listen(address: string): void {
  let last = 0n;
  const socket = dgram.createSocket('udp4');
  socket.on('message', () => {
    const now = process.hrtime.bigint();
    if (now - last > SILENCE) console.log(`first ${now}`);
    last = now;
  });
  socket.bind(8472, address, () => console.log('listening'));
}

const [what, address = ''] = process.argv.slice(2);
if (what === 'send') send(address);
else listen(address);
