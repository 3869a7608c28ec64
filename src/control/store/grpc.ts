/**
 * One HTTP/2 connection that carries gRPC calls: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 *
 * A call is a stream with one message there and one back, or with many. The connection is asked
 * for a sign of life (an HTTP/2 ping) while calls wait on it and nothing is heard: a connection
 * whose other end is gone without a word is lost within a few seconds. It is opened on a socket
 * that is connected already, and is never opened again.
 */
import { EventEmitter } from 'node:events';
import http2 from 'node:http2';
import type { Duplex } from 'node:stream';
import type { Clock } from '../runtime.js';
import {
  type CallAnswers,
  ConnectionLost,
  GrpcCall,
  type Metadata,
  type Method,
} from './grpc-call.js';

export interface GrpcOptions {
  readonly socket: Duplex;
  /** `https` or `http`, host and port. */
  readonly origin: URL;
  readonly clock: Clock;
  /** How long the slowest step took that led to the socket: a first idea of a round trip, in ms. */
  readonly roundTripMs: number;
  /** The other end spoke for the first time. */
  answered(): void;
  /** Called once, when no call can be made on it any more. */
  ended(reason: string): void;
}

/** With a stream open and nothing heard for so long, in milliseconds, a ping is sent. */
const KEEPALIVE_MS = 10_000;
/** The same while somebody waits for an answer. */
const HURRY_MS = 1_000;
/** etcd says "too many pings" to who asks more often than every 5 s. */
const PINGS_APART_MS = 6_000;
const PING_WITHIN_MS = 3_000;
/** How many round trips a ping, or a call, may take. */
const TRIPS = 3;
/** What may be under way to us at once, in bytes; a far store sends no more a round trip. */
const WINDOW = 4 << 20;
/** Megabytes; a listing is held until it is whole. */
const MOST_MEMORY = 1_000;

export class GrpcConnection {
  readonly #options: GrpcOptions;
  readonly #session: http2.ClientHttp2Session;
  readonly #calls = new Set<GrpcCall>();
  #waiting = 0;
  #answered = false;
  #ended = false;
  #reason = 'the connection was closed';
  #heardAt: number;
  #askedAt: number;
  #pingedAt = Number.NEGATIVE_INFINITY;
  #pinging = false;
  #roundTripMs: number;
  #cancelTimer = () => {};

  constructor(options: GrpcOptions) {
    this.#options = options;
    this.#roundTripMs = options.roundTripMs;
    const begun = options.clock.now();
    this.#heardAt = this.#askedAt = begun;
    const { origin, socket } = options;
    const session = http2.connect(origin, {
      createConnection: () => socket,
      settings: { initialWindowSize: WINDOW, enablePush: false },
      maxSessionMemory: MOST_MEMORY,
    });
    this.#session = session;
    session.once('connect', () => session.setLocalWindowSize(WINDOW));
    session.once('remoteSettings', () => {
      this.#answered = true;
      this.#measured(options.clock.now() - begun);
      options.answered();
      this.#watchOver();
    });
    // A refused certificate comes as an error of the socket, and the session does not tell of it.
    socket.on('error', (error) => this.#lost(connectionReason(error)));
    socket.on('close', () => this.#lost('etcd closed the connection'));
    session.on('error', (error) => this.#lost(connectionReason(error)));
    session.on('goaway', (code) => {
      // 0: no new calls, those under way are answered. Else a complaint, as of too many pings.
      if (code !== 0) this.#lost(`etcd closes the connection (HTTP/2 error ${code})`);
    });
    session.on('close', () => this.#lost('etcd closed the connection'));
    if (socket.destroyed) this.#lost(connectionReason(socket.errored));
  }

  /** Whether a new call can be made on it. */
  get usable(): boolean {
    return !this.#ended && !this.#session.closed && !this.#session.destroyed;
  }

  /** What a wait of `ms` becomes on a connection this slow. */
  patience(ms: number): number {
    return Math.max(ms, TRIPS * this.#roundTripMs);
  }

  /** Whether somebody waits for an answer. */
  get busy(): boolean {
    return this.#waiting > 0;
  }

  /**
   * One message there and one back. Rejects with GrpcError or ConnectionLost.
   * @param heard called whenever a part of the answer came
   */
  unary(
    method: Method,
    request: object,
    metadata: Metadata,
    heard: () => void = () => {},
  ): { answer: Promise<object>; cancel: () => void } {
    const begun = this.#options.clock.now();
    if (this.#waiting++ === 0) this.#askedAt = begun;
    let call: GrpcCall | undefined;
    const answer = new Promise<object>((resolve, reject) => {
      let message: object | undefined;
      call = this.#open(method, metadata, {
        heard,
        message: (received) => {
          message = received;
        },
        ended: (error) => {
          this.#waiting--;
          if (error !== undefined) reject(error);
          else if (message === undefined) reject(new ConnectionLost('an answer without content'));
          else {
            this.#measured(this.#options.clock.now() - begun);
            resolve(message);
          }
        },
      });
      call.write(request);
      call.end();
    });
    return { answer, cancel: () => call?.cancel() };
  }

  /** Many messages there and many back: events `data`, and at last `end` or `error`. */
  stream(method: Method, metadata: Metadata): GrpcStream {
    const events = new EventEmitter();
    const call = this.#open(method, metadata, {
      heard: () => {},
      message: (received) => events.emit('data', received),
      ended: (error) => {
        if (error === undefined) events.emit('end');
        else if (events.listenerCount('error') > 0) events.emit('error', error);
      },
    });
    return {
      write: (request) => call.write(request),
      end: () => call.end(),
      cancel: () => call.cancel(),
      on: (event: string, listener: (value: never) => void) =>
        events.on(event, listener as (value: unknown) => void),
    };
  }

  /** Ends the calls on it, with this reason. */
  close(reason: string): void {
    this.#lost(reason);
  }

  #open(method: Method, metadata: Metadata, answers: CallAnswers): GrpcCall {
    if (!this.usable) {
      const over: Pick<GrpcCall, 'write' | 'end' | 'cancel'> = {
        write() {},
        end() {},
        cancel() {},
      };
      queueMicrotask(() => answers.ended(new ConnectionLost(this.#reason)));
      return over as GrpcCall;
    }
    const { origin } = this.#options;
    const stream = this.#session.request({
      ':method': 'POST',
      ':scheme': origin.protocol.slice(0, -1),
      ':authority': origin.host,
      ':path': method.path,
      'content-type': 'application/grpc',
      'user-agent': 'weft',
      te: 'trailers',
      ...metadata,
    });
    const call = new GrpcCall(stream, method, {
      heard: () => {
        this.#heardAt = this.#options.clock.now();
        answers.heard();
      },
      message: answers.message,
      ended: (error) => {
        this.#calls.delete(call);
        const lost = error instanceof ConnectionLost && this.#ended;
        answers.ended(lost ? new ConnectionLost(this.#reason) : error);
        this.#watchOver();
      },
    });
    this.#calls.add(call);
    this.#watchOver();
    return call;
  }

  /** Sends a ping as soon as nothing was heard for too long; none while no stream is open. */
  #watchOver(): void {
    const { clock } = this.#options;
    if (this.#pinging) return;
    this.#cancelTimer();
    if (this.#ended || !this.#answered || this.#calls.size === 0) return;
    const due = () => {
      const quiet =
        this.#waiting > 0
          ? Math.max(this.#heardAt, this.#askedAt) + this.patience(HURRY_MS)
          : this.#heardAt + KEEPALIVE_MS;
      return Math.max(quiet, this.#pingedAt + PINGS_APART_MS);
    };
    this.#cancelTimer = clock.after(Math.max(0, due() - clock.now()), () => {
      if (due() <= clock.now()) this.#ping();
      this.#watchOver();
    });
  }

  #ping(): void {
    const { clock } = this.#options;
    this.#pinging = true;
    this.#pingedAt = clock.now();
    const within = this.patience(PING_WITHIN_MS);
    const wait = () => {
      const since = Math.max(this.#heardAt, this.#pingedAt);
      this.#cancelTimer = clock.after(Math.max(0, since + within - clock.now()), () => {
        // A long answer may be before the ping's.
        if (this.#heardAt + within > clock.now()) wait();
        else this.#lost(`no answer to a ping within ${Math.round(within)} ms`);
      });
    };
    wait();
    this.#session.ping((error, duration) => {
      this.#pinging = false;
      this.#cancelTimer();
      if (this.#ended) return;
      if (error === null) {
        this.#heardAt = clock.now();
        this.#measured(duration);
      }
      this.#watchOver();
    });
  }

  /** A slow answer counts at once, quick ones after a while. */
  #measured(ms: number): void {
    this.#roundTripMs = Math.max(ms, 0.75 * this.#roundTripMs);
  }

  #lost(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#reason = reason;
    this.#cancelTimer();
    for (const call of this.#calls) call.lose(reason);
    this.#session.destroy();
    this.#options.socket.destroy();
    this.#options.ended(reason);
  }
}

/** What ended a connection, in words; OpenSSL's own have more in front of them than behind. */
export function connectionReason(error: Error | null): string {
  if (error === null) return 'etcd closed the connection';
  if (error.message === 'Protocol error') {
    return 'it speaks no HTTP/2; is this etcd, and http:// right in place of https://?';
  }
  const { code, reason } = error as NodeJS.ErrnoException & { readonly reason?: unknown };
  if (typeof reason !== 'string' || !code?.startsWith('ERR_SSL_')) return error.message;
  const wanted = /alert (?:bad certificate|certificate required|handshake failure)/.test(reason);
  if (wanted) return `TLS: ${reason}: etcd wants another client certificate (-etcd-certfile)`;
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER') return `TLS: ${reason}: is it http:// there?`;
  return `TLS: ${reason}`;
}

export interface GrpcStream {
  write(request: object): void;
  end(): void;
  cancel(): void;
  on(event: 'data', call: (message: never) => void): unknown;
  on(event: 'end', call: () => void): unknown;
  on(event: 'error', call: (error: Error) => void): unknown;
}
