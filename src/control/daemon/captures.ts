/**
 * The capture socket of a daemon, for root alone, which does without where it cannot be made:
 * packets matter more. One capture at a time; who comes second is told who was first.
 *
 *     /run/weft/<device>.capture
 */
import fs from 'node:fs';
import net from 'node:net';
import { DROP_NAMES } from '../../dataplane/forward/drops.js';
import { capturePath } from '../host/control-socket.js';
import { errnoOf, HostError } from '../host/errors.js';
import type { Clock, Log } from '../runtime.js';
import { messageOf } from '../store/store.js';
import { type CaptureAnswer, type CaptureRequest, readRequest } from './capture-request.js';
import { CaptureSession, type Shown } from './capture-session.js';
import type { Member } from './reconcile.js';

export interface CapturesOptions {
  readonly device: string;
  readonly folder: string;
  readonly clock: Clock;
  readonly log: Log;
  /** The threads of the lanes that run. */
  readonly look: () => readonly Shown[];
  /** Where weft listens just now. */
  readonly place: () => { readonly address: string; readonly port: number };
}

/** A request is a line, and comes at once. */
const REQUEST_BYTES = 4096;
const REQUEST_MS = 3_000;

interface Running {
  readonly pid: number;
  readonly connection: net.Socket;
  readonly session: CaptureSession;
}

export class Captures implements Member {
  readonly name = 'the capture socket';
  readonly #options: CapturesOptions;
  readonly #file: string;
  #server: net.Server | undefined;
  #running: Running | undefined;

  constructor(options: CapturesOptions) {
    this.#options = options;
    this.#file = capturePath(options.device, options.folder);
  }

  /** Makes the socket where it is not there. Rejects with a HostError. */
  async reconcile(): Promise<string[]> {
    if (this.#server?.listening === true && fs.existsSync(this.#file)) return [];
    const wasThere = this.#server !== undefined;
    this.#server?.close();
    try {
      await this.#open();
    } catch (error) {
      this.#server = undefined;
      throw new HostError(
        errnoOf(error),
        `no capture socket, weft capture will not work: ${messageOf(error)}`,
      );
    }
    return wasThere ? [`made the capture socket of ${this.#options.device}`] : [];
  }

  /** Whoever captures is given what there is, and the end. */
  close(): void {
    this.#running?.session.finish();
    this.#running?.connection.end();
    this.#running = undefined;
    if (this.#server?.listening !== true) return;
    this.#server.close();
    fs.rmSync(this.#file, { force: true });
  }

  async #open(): Promise<void> {
    // Who ends his side has all he wants, and is still given the rest.
    const server = net.createServer({ allowHalfOpen: true }, (connection) =>
      this.#take(connection),
    );
    this.#server = server;
    server.unref();
    // An earlier weft may have died there; the journal is ours, so none runs.
    fs.rmSync(this.#file, { force: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#file, resolve);
    });
    // One connection that cannot be taken (no descriptor left) is no reason to end.
    server.removeAllListeners('error').on('error', () => {});
    fs.chmodSync(this.#file, 0o600);
  }

  /** Waits for the request. */
  #take(connection: net.Socket): void {
    let text = '';
    const cancel = this.#options.clock.after(REQUEST_MS, () => connection.destroy());
    connection.setEncoding('utf8');
    connection.on('error', () => connection.destroy());
    connection.on('close', () => {
      cancel();
      this.#gone(connection);
    });
    connection.on('end', () => this.#ended(connection));
    connection.on('data', (part: string) => {
      if (this.#running?.connection === connection) return;
      text += part;
      const end = text.indexOf('\n');
      if (end < 0 && text.length <= REQUEST_BYTES) return;
      cancel();
      const request = readRequest(text.slice(0, Math.max(0, end)));
      if (typeof request === 'string') answer(connection, { error: request });
      else this.#begin(connection, request);
    });
  }

  #begin(connection: net.Socket, request: CaptureRequest): void {
    const { device, clock, log, look, place } = this.#options;
    if (this.#running !== undefined) {
      const { pid } = this.#running;
      const error = `process ${pid} captures on ${device} already, and one can at a time: end that one first`;
      answer(connection, { error });
      return;
    }
    const running = look().length > 0;
    answer(connection, { device, ...place(), drops: DROP_NAMES, running });
    const session = new CaptureSession(clock, look, request, connection, (error) => {
      log.warn(`a capture on ${device} failed and is over; packets flow: ${messageOf(error)}`);
      connection.destroy();
    });
    this.#running = { pid: request.pid, connection, session };
    log.info(`process ${request.pid} captures packets on ${device}`);
  }

  /** Who captures wants no more. */
  #ended(connection: net.Socket): void {
    const running = this.#running;
    if (running?.connection !== connection) {
      connection.end();
      return;
    }
    void running.session
      .end()
      .catch(() => {})
      .then(() => connection.end());
  }

  #gone(connection: net.Socket): void {
    const running = this.#running;
    if (running?.connection !== connection) return;
    running.session.abort();
    this.#running = undefined;
    const { device, log } = this.#options;
    log.info(`process ${running.pid} captures no more packets on ${device}`);
  }
}

/** The one line; with an error also the end. */
function answer(connection: net.Socket, what: CaptureAnswer): void {
  const line = `${JSON.stringify(what)}\n`;
  if ('error' in what) connection.end(line);
  else connection.write(line);
}
