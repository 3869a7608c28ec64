/** One gRPC call on an HTTP/2 stream: its frames, and how it ended. */
import http2 from 'node:http2';

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

export type Metadata = Readonly<Record<string, string>>;

export interface CallAnswers {
  heard(): void;
  message(message: object): void;
  /** Once: without an error when the other end says that all went well. */
  ended(error: Error | undefined): void;
}

/** Whether the bytes are compressed, always 0 here, and how many they are. */
const FRAME_HEADER = 5;

/** What one answer may have, in bytes; gRPC's own default of 4 MiB is too little for a listing. */
export const LARGEST_MESSAGE = 64 * 2 ** 20;

export class GrpcCall {
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
      const length = first.readUInt32BE(1);
      if (length > LARGEST_MESSAGE) {
        const sizes = `${length} vs. ${LARGEST_MESSAGE}`;
        throw new GrpcError(CODE.resourceExhausted, `the answer is larger than max (${sizes})`);
      }
      const end = FRAME_HEADER + length;
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
