/**
 * The names of control sockets, and whether a weft listens on one. That is how a weft is known to
 * run: the kernel ends the listening with the process, however that ended, and answers for it
 * across process and network namespaces, which a process id does not. A copy of a folder has no
 * listener.
 */
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { errnoOf } from './errors.js';

const ENDING = '.sock';
const STARTING = 'starting-';

/** `name` is a device, or what `startingName` gives. */
export function socketPath(name: string, directory: string): string {
  return path.join(directory, `${name}${ENDING}`);
}

/** Where a weft listens for `weft capture`; no control socket, and not listed as one. */
export function capturePath(device: string, directory: string): string {
  return path.join(directory, `${device}.capture`);
}

/** The name of a weft that does not know its device yet. `namespace`: the number of its network's. */
export function startingName(pid: number, namespace?: string): string {
  return `${STARTING}${namespace === undefined ? '' : `${namespace}-`}${pid}`;
}

/** Whether the name is that of a weft which does not know its device yet. */
export function isStartingName(name: string): boolean {
  return name.startsWith(STARTING);
}

/** The number of the network namespace in a starting name; undefined where it has none. */
export function namespaceOfStarting(name: string): string | undefined {
  return /^starting-(\d+)-\d+/.exec(name)?.[1];
}

/** The names that have a control socket, alive or left behind. */
export function listSockets(directory: string): string[] {
  try {
    return fs
      .readdirSync(directory)
      .filter((name) => name.endsWith(ENDING))
      .map((name) => name.slice(0, -ENDING.length))
      .sort();
  } catch {
    return [];
  }
}

/** Nothing there, nobody behind it, no socket, or a path too long to be one's. */
const DEAD = new Set(['ENOENT', 'ECONNREFUSED', 'ENOTSOCK', 'ENOTDIR', 'EINVAL']);

/** Those that are alive. */
export async function listListening(directory: string): Promise<string[]> {
  const names = listSockets(directory);
  const alive = await Promise.all(names.map((name) => isListening(socketPath(name, directory))));
  return names.filter((_, i) => alive[i]);
}

/** Whether a process listens there, be it stopped or hanging. One that may not be asked counts. */
export function isListening(file: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = net.connect(file);
    connection.once('connect', () => {
      connection.destroy();
      resolve(true);
    });
    connection.once('error', (error) => resolve(!DEAD.has(errnoOf(error))));
  });
}
