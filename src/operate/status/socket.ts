/**
 * The control socket: a unix socket beside the journal (`/run/weft/<device>.sock`) that
 * answers each connection with the status as one JSON document and closes.
 */
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import type { Status } from './status.js';

export const SOCKET_DIRECTORY = '/run/weft';

export function socketPath(device: string, directory = SOCKET_DIRECTORY): string {
  return path.join(directory, `${device}.sock`);
}

/** The devices that have a control socket, alive or left behind. */
export function listSockets(directory = SOCKET_DIRECTORY): string[] {
  try {
    return fs
      .readdirSync(directory)
      .filter((name) => name.endsWith('.sock'))
      .map((name) => name.slice(0, -'.sock'.length));
  } catch {
    return [];
  }
}

/** Answers on `file`; what stands there from a weft that died is replaced. */
export function serveStatus(file: string, status: () => Status): Promise<net.Server> {
  const server = net.createServer((connection) => {
    connection.on('error', () => connection.destroy());
    // What a client says is read and forgotten: unread, it would keep the connection for ever.
    connection.resume();
    connection.end(`${JSON.stringify(status())}\n`);
  });
  server.unref();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    fs.rmSync(file, { force: true });
    server.listen(file, () => {
      fs.chmodSync(file, 0o600);
      server.off('error', reject);
      resolve(server);
    });
  });
}

/** Asks a running weft. Rejects with the socket's error (ENOENT, ECONNREFUSED: none runs). */
export function readStatus(file: string): Promise<Status> {
  return new Promise((resolve, reject) => {
    const connection = net.connect(file);
    let text = '';
    connection.setEncoding('utf8');
    connection.on('data', (part: string) => {
      text += part;
    });
    connection.once('error', reject);
    connection.once('end', () => {
      try {
        resolve(JSON.parse(text) as Status);
      } catch {
        reject(new Error(`${file} did not answer with a status`));
      }
    });
  });
}
