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

/** What is called, and how its messages become bytes. */
export interface Method {
  /** `/etcdserverpb.KV/Range` */
  readonly path: string;
  readonly requestSerialize: (message: object) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => object;
}

/** gRPC's status codes that somebody here tells apart. */
export const CODE = {
  cancelled: 1,
  unknown: 2,
  deadlineExceeded: 4,
  permissionDenied: 7,
  resourceExhausted: 8,
  aborted: 10,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
} as const;

/** What the other end said; the message is in its words. */
export class GrpcError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** There was no answer, or not the whole of it; the message says why. */
export class ConnectionLost extends Error {}

export interface GrpcOptions {
  readonly socket: Duplex;
  /** `https` or `http`, host and port. */
  readonly origin: URL;
  readonly clock: Clock;
  /** How long the slowest step took that led to the socket: a first idea of a round trip, in ms. */
  readonly roundTrip: number;
  /** The other end spoke for the first time. */
  answered(): void;
  /** Called once, when no call can be made on it any more. */
  ended(reason: string): void;
}

/** With a stream open and nothing heard for so long, in milliseconds, a ping is sent. */
const KEEPALIVE = 10_000;
/** The same while somebody waits for an answer. */
const HURRY = 1_000;
/** etcd says "too many pings" to who asks more often than every 5 s. */
const PINGS_APART = 6_000;
const PING_WITHIN = 3_000;
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
  #roundTrip: number;
  #cancelTimer = () => {};

  constructor(options: GrpcOptions) {
    this.#options = options;
    this.#roundTrip = options.roundTrip;
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
    session.on('error', (error) => this.#lost(error.message));
    session.on('goaway', (code) => this.#lost(`etcd closes the connection (${code})`));
    session.on('close', () => this.#lost('etcd closed the connection'));
  }

  /** Whether a new call can be made on it. */
  get usable(): boolean {
    return !this.#ended && !this.#session.closed && !this.#session.destroyed;
  }

  /** What a wait of `ms` becomes on a connection this slow. */
  patience(ms: number): number {
    return Math.max(ms, TRIPS * this.#roundTrip);
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
          ? Math.max(this.#heardAt, this.#askedAt) + this.patience(HURRY)
          : this.#heardAt + KEEPALIVE;
      return Math.max(quiet, this.#pingedAt + PINGS_APART);
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
    const within = this.patience(PING_WITHIN);
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
      if (error !== null || this.#ended) return;
      this.#heardAt = clock.now();
      this.#measured(duration);
      this.#watchOver();
    });
  }

  /** A slow answer counts at once, quick ones after a while. */
  #measured(ms: number): void {
    this.#roundTrip = Math.max(ms, 0.75 * this.#roundTrip);
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

export type Metadata = Readonly<Record<string, string>>;

export interface GrpcStream {
  write(request: object): void;
  end(): void;
  cancel(): void;
  on(event: 'data', call: (message: never) => void): unknown;
  on(event: 'end', call: () => void): unknown;
  on(event: 'error', call: (error: Error) => void): unknown;
}

interface CallAnswers {
  heard(): void;
  message(message: object): void;
  /** Once: without an error when the other end says that all went well. */
  ended(error: Error | undefined): void;
}

/** Whether the bytes are compressed, always 0 here, and how many they are. */
const FRAME_HEADER = 5;

class GrpcCall {
  readonly #stream: http2.ClientHttp2Stream;
  readonly #method: Method;
  readonly #answers: CallAnswers;
  #received: Buffer[] = [];
  #length = 0;
  #status: GrpcError | 'ok' | undefined;
  #error: Error | undefined;
  #over = false;

  constructor(stream: http2.ClientHttp2Stream, method: Method, answers: CallAnswers) {
    this.#stream = stream;
    this.#method = method;
    this.#answers = answers;
    stream.on('response', (headers) => {
      answers.heard();
      this.#status ??= statusOf(headers) ?? notGrpc(headers);
    });
    stream.on('trailers', (headers) => {
      this.#status ??= statusOf(headers);
    });
    stream.on('data', (bytes: Buffer) => {
      answers.heard();
      try {
        this.#read(bytes);
      } catch (error) {
        this.#error = error as Error;
        this.cancel();
      }
    });
    stream.on('error', (error) => {
      this.#error ??= new ConnectionLost(error.message);
    });
    stream.on('end', () => this.#end());
    stream.on('close', () => this.#end());
  }

  write(request: object): void {
    if (this.#over || this.#stream.writableEnded || this.#stream.destroyed) return;
    const bytes = this.#method.requestSerialize(request);
    const header = Buffer.alloc(FRAME_HEADER);
    header.writeUInt32BE(bytes.length, 1);
    this.#stream.write(Buffer.concat([header, bytes]));
  }

  end(): void {
    if (!this.#stream.destroyed) this.#stream.end();
  }

  cancel(): void {
    if (!this.#stream.destroyed) this.#stream.close(http2.constants.NGHTTP2_CANCEL);
  }

  lose(reason: string): void {
    this.#error ??= new ConnectionLost(reason);
    this.#status = undefined;
    this.#end();
  }

  /** A message may come in many parts, and many messages in one. */
  #read(bytes: Buffer): void {
    this.#received.push(bytes);
    this.#length += bytes.length;
    while (this.#length >= FRAME_HEADER) {
      if ((this.#received[0] as Buffer).length < FRAME_HEADER) this.#join();
      const first = this.#received[0] as Buffer;
      if (first[0] !== 0) throw new GrpcError(CODE.internal, 'a compressed message, not asked for');
      const end = FRAME_HEADER + first.readUInt32BE(1);
      if (this.#length < end) return;
      const all = this.#join();
      this.#received = [all.subarray(end)];
      this.#length -= end;
      this.#answers.message(this.#method.responseDeserialize(all.subarray(FRAME_HEADER, end)));
    }
  }

  #join(): Buffer {
    const all = Buffer.concat(this.#received);
    this.#received = [all];
    return all;
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    this.cancel();
    if (this.#status === 'ok') this.#answers.ended(this.#error);
    else {
      const lost = new ConnectionLost('the connection ended before the answer');
      this.#answers.ended(this.#status ?? this.#error ?? lost);
    }
  }
}

function statusOf(headers: http2.IncomingHttpHeaders): GrpcError | 'ok' | undefined {
  const status = headers['grpc-status'];
  if (status === undefined) return undefined;
  if (status === '0') return 'ok';
  return new GrpcError(Number(status), decoded(String(headers['grpc-message'] ?? '')));
}

/** A message's bytes beyond ASCII are percent-encoded. */
function decoded(message: string): string {
  try {
    return decodeURIComponent(message);
  } catch {
    return message;
  }
}

function notGrpc(headers: http2.IncomingHttpHeaders): GrpcError | undefined {
  const { ':status': status } = headers as { ':status'?: number };
  const type = String(headers['content-type'] ?? 'no type');
  if (status === 200 && type.startsWith('application/grpc')) return undefined;
  const what = `HTTP status ${status} (${type}) in place of gRPC; is this etcd?`;
  return new GrpcError(CODE.unavailable, `it answers with ${what}`);
}
