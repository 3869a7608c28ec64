import assert from 'node:assert/strict';
import test from 'node:test';
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { FIRST_PEER, NO_ROUTE, type Route } from '../../../src/dataplane/routes/peer.js';
import { Publisher } from '../../../src/dataplane/routes/publisher.js';
import { RouteReader } from '../../../src/dataplane/routes/reader.js';
import { ip, lanes, OWN_MAC, peer, route } from './lane.js';
import { GENERATION_ROUTES, type Report } from './reader-thread.js';

const P1 = peer('192.168.64.1');

/** `count` /24 routes in as many different /16s: each needs a node of 1 KiB. */
const spread = (count: number): Route[] =>
  Array.from({ length: count }, (_, i) => route(`${i >> 8}.${i & 255}.7.0/24`, P1));

/** A table whose only peer has `generation` for its address. */
const generation = (n: number): Route[] => [
  route('10.5.72.0/24', { address: n, port: 8472, mac: OWN_MAC }),
];
const seen = (reader: RouteReader): number => reader.address(reader.lookup(ip('10.5.72.1')));

test('a new reader finds an empty table', () => {
  const { publisher, readers, close } = lanes();
  assert.equal(readers[0]!.lookup(ip('10.5.72.1')), NO_ROUTE);
  assert.deepEqual({ ...publisher.counts, bytes: 0 }, { routes: 0, peers: 0, bytes: 0, epoch: 1 });
  close();
});

test('a lane sees the new table from its next refresh on, not before', () => {
  const { publisher, readers, close } = lanes(2);
  const [a, b] = readers as [RouteReader, RouteReader];
  publisher.publish(generation(1), []);
  a.refresh();
  assert.equal(seen(a), 1);
  assert.equal(b.lookup(ip('10.5.72.1')), NO_ROUTE);
  publisher.publish(generation(2), []);
  assert.equal(seen(a), 1);
  b.refresh();
  assert.equal(seen(b), 2);
  close();
});

test('a table in use is never touched, and memory stays bounded, however slow a lane is', () => {
  const { publisher, readers, close } = lanes(2);
  const [slow, fast] = readers as [RouteReader, RouteReader];
  publisher.publish(generation(1), []);
  slow.refresh();
  let bytes = 0;
  for (let n = 2; n < 300; n += 1) {
    publisher.publish(generation(n), []);
    if (n % 3 === 0) fast.refresh();
    if (n > 3) assert.equal(seen(fast), n - (n % 3));
    assert.equal(seen(slow), 1);
    if (n === 10) bytes = publisher.counts.bytes;
  }
  assert.equal(publisher.counts.bytes, bytes);
  slow.refresh();
  assert.equal(seen(slow), 299);
  close();
});

test('a table published while a lane adopts the one before is adopted instead', (t) => {
  const { publisher, readers, close } = lanes();
  publisher.publish(generation(1), []);
  // The publisher comes in between the lane's look at `active` and its store of `held`.
  const store = Atomics.store;
  const mock = t.mock.method(Atomics, 'store', (words: Int32Array, at: number, value: number) => {
    mock.mock.restore();
    publisher.publish(generation(2), []);
    return store(words, at, value);
  });
  readers[0]!.refresh();
  assert.equal(mock.mock.callCount(), 1);
  assert.equal(seen(readers[0]!), 2);
  for (let n = 3; n < 10; n += 1) {
    publisher.publish(generation(n), []);
    assert.equal(seen(readers[0]!), 2);
  }
  close();
});

test('a table that grew arrives over the port, also after several growths at once', () => {
  const { publisher, readers, close } = lanes();
  const reader = readers[0]!;
  const small = publisher.counts.bytes;
  for (const count of [1, 400, 10, 900, 2500, 1200, 5000]) {
    publisher.publish(spread(count), []);
    if (count === 900) continue;
    reader.refresh();
    assert.equal(reader.lookup(ip('0.0.7.1')), FIRST_PEER);
    const last = count - 1;
    assert.equal(reader.lookup(ip(`${last >> 8}.${last & 255}.7.1`)), FIRST_PEER);
    assert.equal(reader.lookup(ip(`${count >> 8}.${count & 255}.7.1`)), NO_ROUTE);
  }
  assert.ok(publisher.counts.bytes > small + 5000 * 1024);
  close();
});

test('a handle older than the port will do, and so will bare messages', () => {
  const publisher = new Publisher({ vni: 1, ownMac: OWN_MAC, threads: 1 });
  const old = publisher.handle;
  publisher.publish(spread(2000), []);
  const queue: unknown[] = [];
  publisher.attach(0, { postMessage: (message) => queue.push(message) });
  const reader = new RouteReader(old, 0, () => queue.shift());
  assert.equal(reader.lookup(ip('7.7.7.7')), FIRST_PEER);
});

test('a lane whose port was never attached says so', () => {
  const publisher = new Publisher({ vni: 1, ownMac: OWN_MAC, threads: 1 });
  const reader = new RouteReader(publisher.handle, 0, () => undefined);
  publisher.publish(generation(1), []);
  assert.throws(() => reader.refresh(), /never reached thread 0; attach its port/);
});

test('a parked lane holds nothing, and may start again', () => {
  const { publisher, readers, close } = lanes();
  publisher.publish(generation(1), []);
  readers[0]!.refresh();
  publisher.park(0);
  for (let n = 2; n < 10; n += 1) publisher.publish(generation(n), []);
  const { port1, port2 } = new MessageChannel();
  publisher.attach(0, port1);
  const again = new RouteReader(publisher.handle, 0, () => receiveMessageOnPort(port2));
  assert.equal(seen(again), 9);
  for (let n = 10; n < 20; n += 1) {
    publisher.publish(generation(n), []);
    assert.equal(seen(again), 9);
  }
  again.refresh();
  assert.equal(seen(again), 19);
  port1.close();
  close();
});

test('lanes that are none are refused, and so is a MAC that is none', () => {
  assert.throws(
    () => new Publisher({ vni: 1, ownMac: new Uint8Array(8), threads: 1 }),
    /8 bytes, not 6/,
  );
  for (const count of [0, -1, 1.5, 1000]) {
    assert.throws(() => new Publisher({ vni: 1, ownMac: OWN_MAC, threads: count }), RangeError);
  }
  const publisher = new Publisher({ vni: 1, ownMac: OWN_MAC, threads: 2 });
  assert.throws(() => publisher.park(2), /thread 2; there are 2/);
  assert.throws(
    () => new RouteReader(publisher.handle, 2, () => undefined),
    /thread 2; there are 2/,
  );
});

test('a thread that looks up all the time never sees a half-built table', async () => {
  const publisher = new Publisher({ vni: 1, ownMac: OWN_MAC, threads: 1 });
  const stop = new Int32Array(new SharedArrayBuffer(8));
  const { port1, port2 } = new MessageChannel();
  publisher.attach(0, port1);
  const worker = new Worker(new URL('./reader-thread.js', import.meta.url), {
    workerData: { handle: publisher.handle, port: port2, stop: stop.buffer },
    transferList: [port2],
  });
  const report = new Promise<Report>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });

  for (let n = 1; n <= 1500; n += 1) {
    // Now and then larger or smaller by far, so that tables move into new buffers.
    const filler = n % 50 === 0 ? spread(n) : [];
    const to = { address: n, port: (n % 60000) + 1, mac: new Uint8Array(6).fill(n % 256) };
    publisher.publish([...filler, ...GENERATION_ROUTES.map((r) => ({ ...r, peer: to }))], []);
    // Let the thread come by: in lock step most of the time, overtaking it at others.
    if (n % 3 === 0) Atomics.wait(stop, 1, Atomics.load(stop, 1), 1);
  }
  Atomics.store(stop, 0, 1);
  const { mixed, backwards, generations, last } = await report;
  await worker.terminate();
  port1.close();
  assert.equal(mixed, '');
  assert.equal(backwards, 0);
  assert.equal(last, 1500);
  assert.ok(generations > 50, `the thread saw ${generations} generations only`);
});
