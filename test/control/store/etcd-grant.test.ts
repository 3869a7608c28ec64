/** A server that grants less than it is asked for: etcd itself grants more at most. */
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { EtcdStore } from '../../../src/control/store/etcd.js';
import { Lines, realClock } from '../fakes.js';

/** A field that is a number of less than 2^14, as protobuf has it. */
const field = (number: number, value: number) =>
  value < 128 ? [number << 3, value] : [number << 3, (value & 127) | 128, value >> 7];

test('a lease that is granted for less than was asked for is known, until one is whole', async () => {
  let seconds = 60;
  const server = http2.createServer();
  server.on('stream', (stream, { ':path': path = '' }) => {
    stream.resume();
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc' },
      { waitForTrailers: true },
    );
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    // LeaseGrantResponse.TTL, TxnResponse.succeeded, and nothing of any other.
    const message = path.endsWith('LeaseGrant')
      ? field(3, seconds)
      : path.endsWith('Txn')
        ? field(2, 1)
        : [];
    stream.end(Buffer.from([0, 0, 0, 0, message.length, ...message]));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const store = new EtcdStore({
    ...{ endpoints: [`http://127.0.0.1:${port}`], prefix: '/net' },
    ...{ clock: realClock, log: new Lines() },
  });
  after(async () => {
    await store.close();
    server.close();
  });
  assert.equal(store.shortLease, undefined);
  await store.leases.create('10.5.1.0-24', '{}', 900).catch(() => undefined);
  assert.deepEqual(store.shortLease, { asked: 900, granted: 60 });
  seconds = 900;
  await store.leases.create('10.5.1.0-24', '{}', 900).catch(() => undefined);
  assert.equal(store.shortLease, undefined);
});
