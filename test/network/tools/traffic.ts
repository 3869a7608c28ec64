/**
 * Traffic between containers, checked at both ends. Run inside a namespace:
 *
 *   traffic.js tcp-receive PORT             prints "BYTES SHA256" of what one connection brings
 *   traffic.js tcp-send ADDRESS PORT BYTES  sends noise, prints "BYTES SHA256" of it
 *   traffic.js udp-echo PORT                sends each datagram back to where it came from
 *   traffic.js udp-count PORT COUNT         prints the sizes of the next COUNT datagrams, and whether
 *                                           the bytes of all of them count up as sent
 *   traffic.js udp-gso ADDRESS PORT SEGMENT TOTAL  one send of TOTAL bytes with UDP_SEGMENT
 *   traffic.js udp-no-sum ADDRESS PORT SIZES  a datagram of each size, its UDP checksum zero
 *   traffic.js udp-ask ADDRESS PORT SIZES   "0-1422,2000": asks with each size, compares the echo
 *   traffic.js udp-pace ADDRESS PORT RATE SECONDS  RATE datagrams of 1250 bytes a second; prints how many
 *   traffic.js udp-count-all PORT           prints every 100 ms how many have come, while some come
 *   traffic.js udp-sweep ADDRESS…           two datagrams to each
 */
import { createHash } from 'node:crypto';
import dgram from 'node:dgram';
import net from 'node:net';
import { LAYOUT, LaneMemory, MESSAGES } from '../../../src/dataplane/io/memory.js';
import { loadNative, SOL_SOCKET } from '../../../src/dataplane/io/native.js';
import * as socketAddress from '../../../src/dataplane/io/socket-address.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';

const BLOCK = 256 * 1024;

/** Noise that is the same each time: block `n` of a stream. */
function noise(n: number, length = BLOCK): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let x = (n * 2654435761 + 12345) >>> 0 || 1;
  for (let i = 0; i < length; i += 1) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    bytes[i] = x;
  }
  return bytes;
}

function tcpReceive(port: number): void {
  const server = net.createServer((socket) => {
    const hash = createHash('sha256');
    let total = 0;
    socket.on('data', (part) => {
      total += part.length;
      hash.update(part);
    });
    socket.once('end', () => {
      socket.end();
      server.close();
      console.log(`${total} ${hash.digest('hex')}`);
    });
  });
  server.listen(port, '0.0.0.0', () => console.log('listening'));
}

async function tcpSend(address: string, port: number, total: number): Promise<void> {
  const hash = createHash('sha256');
  const socket = net.connect(port, address);
  await new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  // A few blocks in turn: making new noise all the time would measure that.
  const blocks = [0, 1, 2, 3, 4, 5, 6].map((n) => noise(n));
  let sent = 0;
  for (let n = 0; sent < total; n += 1) {
    const block = blocks[n % blocks.length]!.subarray(0, Math.min(BLOCK, total - sent));
    hash.update(block);
    sent += block.length;
    if (!socket.write(block)) await new Promise((resolve) => socket.once('drain', resolve));
  }
  socket.end();
  await new Promise((resolve) => socket.once('close', resolve));
  console.log(`${sent} ${hash.digest('hex')}`);
}

function udpEcho(port: number): void {
  const socket = dgram.createSocket('udp4');
  socket.on('message', (message, from) => socket.send(message, from.port, from.address));
  socket.bind(port, '0.0.0.0', () => console.log('listening'));
}

function udpCount(port: number, count: number): void {
  const sizes: number[] = [];
  let right = true;
  let next = 0;
  const socket = dgram.createSocket('udp4');
  socket.on('message', (message) => {
    sizes.push(message.length);
    for (const byte of message) {
      right &&= byte === (next & 0xff);
      next += 1;
    }
    if (sizes.length < count) return;
    console.log(`${sizes.join(',')} ${right ? 'right' : 'wrong'}`);
    socket.close();
  });
  socket.bind(port, '0.0.0.0', () => console.log('listening'));
}

/** A socket whose messages are bytes that count up from `first`; throws what goes wrong. */
function openSender(address: string, port: number) {
  const native = loadNative();
  const memory = new LaneMemory();
  native.attach(memory.bytes);
  const fd = native.udpOpen(4);
  socketAddress.writeIpv4(memory.bytes, LAYOUT.destinations, parseAddress(address)!, port);
  const send = (first: number, length: number, segment: number): void => {
    for (let i = 0; i < length; i += 1) memory.bytes[LAYOUT.outbound + i] = first + i;
    memory.words.set([LAYOUT.outbound, length], LAYOUT.sendIovecs >> 2);
    memory.words.set([fd, 0, segment, 0, 0, 1], LAYOUT.messages >> 2);
    const { messages, sendIovecs, destinations } = LAYOUT;
    const sent = native.udpSend(messages, 1, sendIovecs, 1, destinations, MESSAGES);
    if (sent !== 1) throw new Error(`not sent: ${native.errnoName(native.lastError())}`);
  };
  return { native, fd, send };
}

function udpGso(address: string, port: number, segment: number, total: number): void {
  openSender(address, port).send(0, total, segment);
}

/** socket(7): send without a checksum. */
const SO_NO_CHECK = 11;

function udpNoSum(address: string, port: number, sizes: readonly number[]): void {
  const { native, fd, send } = openSender(address, port);
  if (native.setOption(fd, SOL_SOCKET, SO_NO_CHECK, 1) !== 0) throw new Error('no SO_NO_CHECK');
  let first = 0;
  for (const size of sizes) {
    send(first, size, 0);
    first += size;
  }
}

async function udpPace(
  address: string,
  port: number,
  rate: number,
  seconds: number,
): Promise<void> {
  const socket = dgram.createSocket('udp4');
  const payload = Buffer.alloc(1250);
  const begun = performance.now();
  let sent = 0;
  while (sent < rate * seconds) {
    const due = Math.min(rate * seconds, ((performance.now() - begun) / 1000) * rate);
    // An error tells of an earlier datagram, or that the socket is full: neither ends it.
    for (; sent < due; sent += 1) socket.send(payload, port, address, () => {});
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  socket.close();
  console.log(sent);
}

function udpCountAll(port: number): void {
  const socket = dgram.createSocket({ type: 'udp4', recvBufferSize: 8 * 1024 * 1024 });
  let count = 0;
  let told = 0;
  socket.on('message', () => {
    count += 1;
  });
  setInterval(() => {
    if (count > told) console.log(count);
    told = count;
  }, 100);
  socket.bind(port, '0.0.0.0', () => console.log('listening'));
}

async function udpSweep(addresses: readonly string[]): Promise<void> {
  const socket = dgram.createSocket('udp4');
  for (let round = 0; round < 2; round += 1) {
    for (const address of addresses) {
      await new Promise((resolve) => socket.send('sweep', 9, address, resolve));
    }
  }
  socket.close();
}

function parseSizes(text: string): number[] {
  return text.split(',').flatMap((part) => {
    const [first = 0, last = first] = part.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

async function udpAsk(address: string, port: number, sizes: readonly number[]): Promise<void> {
  const socket = dgram.createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '0.0.0.0', resolve));
  const wrong: number[] = [];
  for (const size of sizes) {
    const payload = noise(size + 1, size);
    const echoed = new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), 2_000);
      socket.once('message', (message) => {
        clearTimeout(timer);
        resolve(message.equals(payload));
      });
    });
    socket.send(payload, port, address);
    if (!(await echoed)) {
      wrong.push(size);
      socket.removeAllListeners('message');
      if (wrong.length >= 5) break;
    }
  }
  socket.close();
  console.log(wrong.length === 0 ? `${sizes.length} sizes intact` : `wrong or lost: ${wrong}`);
  if (wrong.length > 0) process.exitCode = 1;
}

const [what = '', a = '', b = '', c = '', d = ''] = process.argv.slice(2);
switch (what) {
  case 'tcp-receive':
    tcpReceive(Number(a));
    break;
  case 'tcp-send':
    await tcpSend(a, Number(b), Number(c));
    break;
  case 'udp-echo':
    udpEcho(Number(a));
    break;
  case 'udp-count':
    udpCount(Number(a), Number(b));
    break;
  case 'udp-gso':
    udpGso(a, Number(b), Number(c), Number(d));
    break;
  case 'udp-no-sum':
    udpNoSum(a, Number(b), parseSizes(c));
    break;
  case 'udp-ask':
    await udpAsk(a, Number(b), parseSizes(c));
    break;
  case 'udp-pace':
    await udpPace(a, Number(b), Number(c), Number(d));
    break;
  case 'udp-count-all':
    udpCountAll(Number(a));
    break;
  case 'udp-sweep':
    await udpSweep(process.argv.slice(3));
    break;
  default:
    throw new Error(`traffic: what is ${JSON.stringify(what)}?`);
}
