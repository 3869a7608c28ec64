/**
 * Sends UDP datagrams of given bytes at a given rate, by sendmmsg:
 *
 *   hostile-send.js FROM TO PORT RATE SECONDS    payloads from standard input, a line each in
 *                                                hexadecimal, in turn; prints how many were sent
 */
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  ADDRESS_SIZE,
  IOVEC_ROW,
  LAYOUT,
  LaneMemory,
  MESSAGE_ROW,
  MESSAGES,
} from '../../src/dataplane/io/memory.js';
import { loadNative } from '../../src/dataplane/io/native.js';
import * as socketAddress from '../../src/dataplane/io/socket-address.js';
import { parseAddress } from '../../src/dataplane/wire/ipv4.js';

const [from = '', to = '', port = '', rate = '', seconds = ''] = process.argv.slice(2);
const payloads = fs
  .readFileSync(0, 'utf8')
  .split('\n')
  .map((line) => Buffer.from(line, 'hex'));

const native = loadNative();
const memory = new LaneMemory();
native.attach(memory.bytes);
const fd = native.udpOpen(4);
const name = new Uint8Array(ADDRESS_SIZE);
socketAddress.writeIpv4(name, 0, parseAddress(from)!, 0);
native.udpBind(fd, name);
socketAddress.writeIpv4(memory.bytes, LAYOUT.destinations, parseAddress(to)!, Number(port));

// A message a payload, laid out once.
let at = LAYOUT.outbound;
for (const [row, payload] of payloads.entries()) {
  memory.bytes.set(payload, at);
  memory.words.set([at, payload.length], (LAYOUT.sendIovecs >> 2) + row * IOVEC_ROW.words);
  memory.words.set([fd, 0, 0, 0, row, 1], (LAYOUT.messages >> 2) + row * MESSAGE_ROW.words);
  at += payload.length;
}
const { messages, sendIovecs, destinations } = LAYOUT;
const rows = payloads.length;
const total = Number(rate) * Number(seconds);
const begun = performance.now();
let sent = 0;
while (sent < total && performance.now() - begun < (Number(seconds) + 5) * 1000) {
  const due = Math.min(total, ((performance.now() - begun) / 1000) * Number(rate));
  while (sent + rows <= due) {
    native.udpSend(messages, rows, sendIovecs, rows, destinations, MESSAGES);
    sent += rows;
  }
  await sleep(1);
  if (total - sent < rows) break;
}
console.log(sent);
