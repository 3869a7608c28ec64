/**
 * A program for inside containers: sends random bytes over one TCP connection, or receives
 * them; either side prints what passed as one line of JSON: {"bytes": n, "sha256": "…"}.
 *
 *   node transfer.js receive PORT            (says "listening" first)
 *   node transfer.js send HOST PORT BYTES
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/** This program's own path, for running it. */
export const TRANSFER = fileURLToPath(import.meta.url);

/** What one side saw. */
export interface Transferred {
  bytes: number;
  sha256: string;
}

const CHUNK = 1 << 20;

async function receive(port: number): Promise<Transferred> {
  const server = net.createServer().listen(port);
  await once(server, 'listening');
  process.stdout.write('listening\n');
  const [socket] = (await once(server, 'connection')) as [net.Socket];
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const data of socket as AsyncIterable<Buffer>) {
    hash.update(data);
    bytes += data.length;
  }
  server.close();
  return { bytes, sha256: hash.digest('hex') };
}

async function send(host: string, port: number, bytes: number): Promise<Transferred> {
  const socket = net.connect(port, host);
  await once(socket, 'connect');
  const hash = createHash('sha256');
  for (let left = bytes; left > 0; left -= CHUNK) {
    const data = randomBytes(Math.min(left, CHUNK));
    hash.update(data);
    if (!socket.write(data)) await once(socket, 'drain');
  }
  socket.end();
  await once(socket.resume(), 'close');
  return { bytes, sha256: hash.digest('hex') };
}

if (process.argv[1] === TRANSFER) {
  const [how, ...args] = process.argv.slice(2);
  const seen =
    how === 'receive'
      ? await receive(Number(args[0]))
      : await send(args[0]!, Number(args[1]), Number(args[2]));
  process.stdout.write(`${JSON.stringify(seen)}\n`);
}
