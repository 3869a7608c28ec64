/**
 * Several TCP connections and several flows of numbered datagrams at once. Run inside a namespace:
 *
 *   flows.js receive PORT CONNECTIONS FLOWS
 *       prints one line of JSON when all connections and flows have ended: see Seen
 *   flows.js send ADDRESS PORT CONNECTIONS BYTES SOURCES COUNT SIZES
 *       BYTES over each connection; from each of the SOURCES (addresses of this namespace, with
 *       commas) COUNT datagrams, of the SIZES in turn; prints the same for what was sent
 *
 * Each burst of datagrams holds some of each flow, so that they lie mixed in whatever merges them.
 */
import { createHash } from 'node:crypto';
import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Seen {
  /** SHA-256 of each connection, sorted. */
  readonly connections: readonly string[];
  readonly datagrams: number;
  /** Datagrams that came after one of the same flow with a higher number. */
  readonly reordered: number;
}

/** The number of a datagram that ends its flow. */
const END = 0xffffffff;
const ENDS = 250;
const BLOCK = 64 * 1024;

async function receive(port: number, connections: number, flows: number): Promise<Seen> {
  const sums: string[] = [];
  const last = new Map<string, number>();
  const ended = new Set<string>();
  let datagrams = 0;
  let reordered = 0;
  let done = () => {};
  const all = new Promise<void>((resolve) => {
    done = resolve;
  });
  const look = () => {
    if (sums.length === connections && ended.size === flows) done();
  };
  const server = net.createServer(async (socket) => {
    const hash = createHash('sha256');
    for await (const part of socket as AsyncIterable<Buffer>) hash.update(part);
    sums.push(hash.digest('hex'));
    socket.end();
    look();
  });
  const socket = dgram.createSocket('udp4');
  socket.on('message', (message, from) => {
    const flow = `${from.address}:${from.port}`;
    const number = message.readUInt32BE(0);
    if (number === END) {
      ended.add(flow);
      return socket.send(message, from.port, from.address, look);
    }
    datagrams += 1;
    const before = last.get(flow) ?? -1;
    if (number < before) reordered += 1;
    else last.set(flow, number);
  });
  socket.bind(port, '0.0.0.0');
  server.listen(port, '0.0.0.0');
  await Promise.all([once(socket, 'listening'), once(server, 'listening')]);
  console.log('listening');
  await all;
  socket.close();
  server.close();
  return { connections: sums.sort(), datagrams, reordered };
}

async function stream(address: string, port: number, number: number, bytes: number) {
  const socket = net.connect(port, address);
  await once(socket, 'connect');
  const hash = createHash('sha256');
  const block = Buffer.alloc(BLOCK);
  for (let sent = 0; sent < bytes; sent += BLOCK) {
    block.fill((number * 31 + sent / BLOCK) & 0xff);
    const part = Buffer.from(block.subarray(0, bytes - sent));
    hash.update(part);
    if (!socket.write(part)) await once(socket, 'drain');
  }
  socket.end();
  await once(socket.resume(), 'close');
  return hash.digest('hex');
}

async function datagrams(
  address: string,
  port: number,
  sources: readonly string[],
  count: number,
  sizes: readonly number[],
): Promise<number> {
  const sockets = await Promise.all(
    sources.map(async (source) => {
      const socket = dgram.createSocket('udp4').bind(0, source);
      await once(socket, 'listening');
      return socket;
    }),
  );
  const send = (socket: dgram.Socket, number: number, size: number) =>
    new Promise<void>((resolve) => {
      const data = Buffer.alloc(size);
      data.writeUInt32BE(number, 0);
      socket.send(data, port, address, () => resolve());
    });
  for (let number = 0; number < count; number += 1) {
    const size = sizes[number % sizes.length]!;
    await Promise.all(sockets.map((socket) => send(socket, number, size)));
    if (number % 2 === 1) await sleep(1);
  }
  // The end is told until it is answered: a socket that is full loses it.
  const open = new Set(sockets);
  for (const socket of sockets) socket.once('message', () => open.delete(socket));
  for (let i = 0; i < ENDS && open.size > 0; i += 1) {
    await Promise.all([...open].map((socket) => send(socket, END, 4)));
    await sleep(20);
  }
  for (const socket of sockets) socket.close();
  return sources.length * count;
}

const [what, ...rest] = process.argv.slice(2);
if (what === 'receive') {
  const [port, connections, flows] = rest.map(Number) as [number, number, number];
  console.log(JSON.stringify(await receive(port, connections, flows)));
} else {
  const [address = '', port, connections, bytes, sources = '', count, sizes = ''] = rest;
  const from = sources === '' ? [] : sources.split(',');
  const [sent, ...sums] = await Promise.all([
    datagrams(address, Number(port), from, Number(count), sizes.split(',').map(Number)),
    ...Array.from({ length: Number(connections) }, (_, number) =>
      stream(address, Number(port), number, Number(bytes)),
    ),
  ]);
  const seen: Seen = { connections: sums.sort(), datagrams: sent, reordered: 0 };
  console.log(JSON.stringify(seen));
}
