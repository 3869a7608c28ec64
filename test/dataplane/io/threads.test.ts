/** Each thread has an instance of the addon of its own. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  ADDRESSES,
  Arena,
  IOVECS,
  loopbackSocket,
  MESSAGES,
  openDescriptors,
  PAYLOAD,
  pattern,
  SIZE,
  TABLE,
} from './arena.js';

test('threads in parallel do not see each other: memory, errors, results', async () => {
  const before = openDescriptors();
  const arena = new Arena();
  const [fd, at] = loopbackSocket(arena.native);
  assert.equal(arena.send([{ fd, to: at, parts: [pattern(65508)] }]), 0);
  const reports = await Promise.all(
    [100, 2000, 30000, 400000].map(async (seed) => {
      const worker = new Worker(new URL('./io-thread.js', import.meta.url), { workerData: seed });
      const [[report]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
      return report as string;
    }),
  );
  assert.deepEqual(reports, ['', '', '', '']);
  // This thread's memory and last error are as they were.
  assert.equal(arena.native.errnoName(arena.native.lastError()), 'EMSGSIZE');
  assert.equal(arena.send([{ fd, to: at, parts: [pattern(7)] }]), 1);
  assert.deepEqual(arena.receive(fd)[0]?.data, pattern(7));
  arena.native.close(fd);
  assert.ok(openDescriptors() <= before + 2, 'threads leave descriptors behind');
});

test('a thread that ends by terminate leaves the addon usable for others', async () => {
  const arena = new Arena();
  for (let i = 0; i < 5; i += 1) {
    const worker = new Worker(new URL('./io-thread.js', import.meta.url), { workerData: i });
    await once(worker, 'online');
    await worker.terminate();
  }
  const [fd, at] = loopbackSocket(arena.native);
  arena.send([{ fd, to: at, parts: [pattern(7)] }]);
  assert.deepEqual(arena.receive(fd)[0]?.data, pattern(7));
  arena.native.close(fd);
});

test('a table that changes while a call reads it leads to no byte outside the memory', async () => {
  const arena = new Arena();
  const { native, words } = arena;
  const [fd, at] = loopbackSocket(native);
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const iovec = (words.byteOffset + IOVECS) >> 2;
  const spoiler = new Worker(new URL('./spoiling-thread.js', import.meta.url), {
    workerData: {
      stop: stop.buffer,
      memory: arena.whole.buffer,
      // Places of words, with a value that is right and one that is not.
      spoils: [
        [iovec, PAYLOAD, SIZE - 8],
        [iovec + 1, 64, SIZE + 64],
        [iovec + 2, PAYLOAD, -64],
      ],
    },
  });
  await once(spoiler, 'message');
  arena.layOut([{ fd, to: at, parts: [new Uint8Array(64), new Uint8Array(64)] }]);
  const seen = { sent: 0, threw: 0 };
  const rounds = 20_000;
  const end = performance.now() + 10_000;
  // Longer while the other thread has not had its turn: the machine may be busy.
  const enough = (round: number) =>
    (round >= rounds && seen.sent > 0 && seen.threw > 0) || performance.now() > end;
  for (let round = 0; !enough(round); round += 1) {
    const write = round % 2 === 1;
    if (write) words.set([0, 2], TABLE >> 2);
    else words[(MESSAGES >> 2) + 5] = 2;
    try {
      seen.sent += write
        ? native.tunWrite(-1, TABLE, 1, IOVECS, 2)
        : native.udpSend(MESSAGES, 1, IOVECS, 2, ADDRESSES, 1);
    } catch (error) {
      assert.ok(error instanceof RangeError, String(error));
      seen.threw += 1;
    }
    if (seen.sent % 50 === 49) {
      for (const { data } of arena.receive(fd)) {
        assert.ok(!data.includes(0xa5), 'a byte of the guard was sent');
      }
    }
  }
  Atomics.store(stop, 0, 1);
  await once(spoiler, 'exit');
  arena.checkGuards('a table that changes');
  native.close(fd);
  assert.ok(seen.sent > 0 && seen.threw > 0, JSON.stringify(seen));
});
