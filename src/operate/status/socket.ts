/**
 * The control socket: a unix socket beside the journal that answers each connection with the
 * status as one JSON document and closes.
 *
 *     /run/weft/starting-<network namespace>-<process id>.sock   while the device is not known yet
 *     /run/weft/<device>.sock                                    from then on
 *
 * The second name is taken by a rename, only after the journal of the device is ours: so a weft
 * that is refused never takes the socket of the one that runs.
 */
import fs from 'node:fs';
import net from 'node:net';
import { isListening, socketPath, startingName } from '../../control/host/control-socket.js';
import type { Answer } from './status.js';

export { isStartingName, listSockets, socketPath } from '../../control/host/control-socket.js';

/**
 * Of one process number, as many as have one digit behind them (cli/run-dir.ts counts on it). One that
 * may not be asked counts for one in use, and where none may be, each is.
 */
const MOST_NAMES = 9;
/** A main thread that does not answer for so long hangs. */
const TIMEOUT_MS = 3_000;

/** The daemon's side. */
export class StatusSocket {
  readonly #server: net.Server;
  readonly #directory: string;
  readonly #name: string;
  #file: string;
  /** Which file that is, under whatever name: device and inode. */
  #made = '';

  /** `namespace`: the number of the network namespace, where that is known. */
  constructor(answer: () => Answer, pid: number, directory: string, namespace?: string) {
    this.#directory = directory;
    this.#name = startingName(pid, namespace);
    this.#file = socketPath(this.#name, directory);
    this.#server = net.createServer((connection) => {
      connection.on('error', () => connection.destroy());
      try {
        connection.end(`${JSON.stringify(answer())}\n`);
      } catch {
        // A status that cannot be told costs this answer, never the packets.
        connection.destroy();
      }
    });
    this.#server.unref();
  }

  /** Listens under the starting name. Rejects with the error of the file system. */
  async open(): Promise<void> {
    fs.mkdirSync(this.#directory, { recursive: true, mode: 0o755 });
    // Another container that shares the folder may have a process of the same number.
    for (let next = 2; await isListening(this.#file); next += 1) {
      if (next > MOST_NAMES) throw new Error(`${this.#file} and those before it are in use`);
      this.#file = socketPath(`${this.#name}-${next}`, this.#directory);
    }
    // An earlier one may have died there.
    fs.rmSync(this.#file, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#file, resolve);
    });
    // One connection that cannot be taken (no descriptor left) is no reason to end.
    this.#server.removeAllListeners('error').on('error', () => {});
    fs.chmodSync(this.#file, 0o600);
    this.#made = markOf(this.#file);
  }

  /** Takes the device's name; what a weft that died left there is replaced. Throws as `open`. */
  rename(device: string): void {
    const file = socketPath(device, this.#directory);
    fs.renameSync(this.#file, file);
    this.#file = file;
  }

  /** Whether it can be asked: somebody may have removed its file, or put another there. */
  get there(): boolean {
    return this.#server.listening && markOf(this.#file) === this.#made;
  }

  /** Harmless when it was never opened. */
  close(): void {
    if (!this.#server.listening) return;
    const isOurs = this.there;
    this.#server.close();
    if (isOurs) fs.rmSync(this.#file, { force: true });
  }
}

/** Empty where there is none. */
function markOf(file: string): string {
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  return stat === undefined ? '' : `${stat.dev} ${stat.ino}`;
}

/**
 * Asks a running weft. Rejects with the socket's error (ENOENT, ECONNREFUSED: none runs), with
 * ETIMEDOUT when it takes the connection and says nothing.
 */
export function readStatus(file: string, timeoutMs = TIMEOUT_MS): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const connection = net.connect({ path: file, timeout: timeoutMs });
    let text = '';
    connection.setEncoding('utf8');
    connection.once('timeout', () => {
      const error = new Error(`no answer within ${timeoutMs / 1000} s`);
      connection.destroy(Object.assign(error, { code: 'ETIMEDOUT' }));
    });
    connection.on('data', (part: string) => {
      text += part;
    });
    connection.once('error', reject);
    connection.once('close', () => {
      try {
        resolve(JSON.parse(text) as Answer);
      } catch {
        reject(new Error(`${file} did not answer with a status`));
      }
    });
  });
}

/** Removes the control socket of a weft that died; one that is listened on stays. */
export async function removeDeadSocket(file: string): Promise<void> {
  if (!(await isListening(file))) fs.rmSync(file, { force: true });
}
