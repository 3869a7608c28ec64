/** gRPC on one HTTP/2 connection, against a server that answers as told. */
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import net from 'node:net';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { GrpcConnection } from '../../../src/control/store/grpc.js';
import { ConnectionLost, GrpcError, type Method } from '../../../src/control/store/grpc-call.js';
import { FakeClock, settle, until } from '../fakes.js';

const METHOD: Method = {
  path: '/test.Service/Call',
  requestSerialize: (message) => Buffer.from(JSON.stringify(message)),
  responseDeserialize: (bytes) => JSON.parse(bytes.toString()),
};

type Answer = (stream: http2.ServerHttp2Stream, request: Buffer) => void;

let server: http2.Http2Server;
let sessions: http2.ServerHttp2Session[];
let headers: http2.IncomingHttpHeaders[];
let answer: Answer;
let pings: number;
let clock: FakeClock;
let socket: net.Socket;
let connection: GrpcConnection;
let ended: string[];

beforeEach(async () => {
  sessions = [];
  headers = [];
  ended = [];
  pings = 0;
  clock = new FakeClock();
  server = http2.createServer();
  server.on('session', (session) => {
    sessions.push(session);
    session.on('ping', () => pings++);
    session.on('error', () => {});
  });
  server.on('stream', (stream, received) => {
    headers.push(received);
    stream.on('error', () => {});
    stream.once('data', (bytes: Buffer) => answer(stream, bytes.subarray(5)));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  socket = net.connect(port, '127.0.0.1');
  await new Promise((resolve) => socket.once('connect', resolve));
  await new Promise<void>((resolve) => {
    connection = new GrpcConnection({
      ...{ socket, clock, roundTripMs: 0, origin: new URL(`http://127.0.0.1:${port}`) },
      answered: resolve,
      ended: (reason) => ended.push(reason),
    });
  });
});
afterEach(async () => {
  connection.close('the test is over');
  for (const session of sessions) session.destroy();
  await new Promise((resolve) => server.close(resolve));
});

const frame = (message: object): Buffer => {
  const bytes = Buffer.from(JSON.stringify(message));
  const header = Buffer.alloc(5);
  header.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([header, bytes]);
};
const OK = { ':status': 200, 'content-type': 'application/grpc' };

/** Answers with these parts, then the status. */
const parts =
  (all: readonly Buffer[], status = '0', message?: string): Answer =>
  async (stream) => {
    stream.respond(OK, { waitForTrailers: true });
    stream.on('wantTrailers', () => {
      stream.sendTrailers({ 'grpc-status': status, ...(message && { 'grpc-message': message }) });
    });
    for (const part of all) {
      stream.write(part);
      await sleep(2);
    }
    stream.end();
  };
const call = (request: object = {}) => connection.unary(METHOD, request, { token: 't' }).answer;

test('one message there and back, with the metadata; an answer in many parts is one', async () => {
  answer = (stream, request) => parts([frame({ got: JSON.parse(`${request}`) })])(stream, request);
  assert.deepEqual(await call({ a: 1 }), { got: { a: 1 } });
  const { ':path': path, token, te, 'content-type': type } = headers[0] ?? {};
  assert.deepEqual([path, token, te, type], [METHOD.path, 't', 'trailers', 'application/grpc']);
  const bytes = frame({ text: 'long'.repeat(100) });
  const first = Array.from({ length: 12 }, (_, i) => bytes.subarray(i, i + 1));
  answer = parts([...first, bytes.subarray(12)]);
  assert.deepEqual(await call(), { text: 'long'.repeat(100) });
  const large = { text: 'x'.repeat(12 << 20) };
  answer = parts([frame(large)]);
  assert.deepEqual(await call(), large, 'more than the windows hold');
});

test('a refusal has its code and words, in trailers or alone', async () => {
  answer = parts([], '7', 'not%20for%20you%3A%20%C3%A4');
  await assert.rejects(call(), (error: GrpcError) => {
    assert.deepEqual([error.code, error.message], [7, 'not for you: ä']);
    return error instanceof GrpcError;
  });
  answer = (stream) =>
    stream.respond(
      { ...OK, 'grpc-status': '14', 'grpc-message': 'no leader' },
      { endStream: true },
    );
  await assert.rejects(call(), /no leader/);
});

test('what is no gRPC, has no status or no content, is no answer', async () => {
  answer = (stream) => {
    stream.respond({ ':status': 502, 'content-type': 'text/html' });
    stream.end('<html>');
  };
  await assert.rejects(call(), /HTTP status 502 \(text\/html\) in place of gRPC/);
  answer = (stream) => stream.respond(OK, { endStream: true });
  await assert.rejects(call(), ConnectionLost);
  answer = parts([]);
  await assert.rejects(call(), /without content/);
  answer = (stream) => stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
  await assert.rejects(call(), ConnectionLost);
});

test('a stream gives each message once, several in one part too, and ends', async () => {
  const both = Buffer.concat([frame({ n: 1 }), frame({ n: 2 }), frame({ n: 3 }).subarray(0, 7)]);
  answer = parts([both, frame({ n: 3 }).subarray(7)]);
  const stream = connection.stream(METHOD, {});
  const seen: object[] = [];
  let over = false;
  stream.on('data', (message) => seen.push(message));
  stream.on('end', () => {
    over = true;
  });
  stream.write({});
  await until(() => over);
  assert.deepEqual(seen, [{ n: 1 }, { n: 2 }, { n: 3 }]);
});

test('a connection that is cut ends its calls with the reason, and takes no more', async () => {
  answer = () => sessions[0]?.destroy();
  await assert.rejects(call(), ConnectionLost);
  assert.equal(ended.length, 1);
  assert.equal(connection.usable, false);
  await assert.rejects(call(), /closed the connection/);
  assert.equal(ended.length, 1, 'told once');
});

test('a server that goes away politely answers what is under way, and gets nothing new', async () => {
  answer = async (stream, request) => {
    sessions[0]?.goaway(0);
    await sleep(20);
    parts([frame({ late: true })])(stream, request);
  };
  assert.deepEqual(await call(), { late: true });
  assert.equal(connection.usable, false);
});

test('no ping while nothing is asked, one after a second of waiting, and not sooner than 6 s again', async () => {
  await clock.pass(60_000);
  assert.equal(pings, 0);
  answer = () => {};
  const pending = call();
  pending.catch(() => {});
  await clock.pass(999);
  assert.equal(pings, 0);
  await clock.pass(1);
  await until(() => pings === 1);
  await until(() => clock.waits.some((ms) => ms > 3_000));
  await clock.pass(5_900);
  assert.equal(pings, 1);
  await clock.pass(200);
  await until(() => pings === 2);
});

test('a watch without news is asked for a sign of life every 10 s', async () => {
  answer = () => {};
  const stream = connection.stream(METHOD, {});
  stream.on('data', () => {});
  stream.write({});
  await until(() => headers.length === 1);
  for (let n = 1; n <= 3; n++) {
    await clock.pass(9_900);
    assert.equal(pings, n - 1);
    await clock.pass(100);
    await until(() => pings === n);
    await sleep(20);
    await settle();
  }
  assert.deepEqual(ended, []);
});

test('no answer to a ping: the connection is lost after 3 s, and its calls with it', async () => {
  answer = () => {};
  const pending = call();
  await until(() => headers.length === 1);
  // Nothing is heard any more.
  (socket as net.Socket & { _handle: { readStop(): void } })._handle.readStop();
  const told = assert.rejects(pending, /no answer to a ping within 3000 ms/);
  await clock.pass(1_000);
  await clock.pass(2_999);
  assert.deepEqual(ended, []);
  await clock.pass(1);
  await told;
  assert.equal(ended.length, 1);
  assert.deepEqual(clock.waits, []);
});
