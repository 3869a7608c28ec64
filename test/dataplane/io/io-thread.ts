/**
 * A thread with an instance of the addon of its own: sends batches to itself and checks what
 * arrives, for a test in threads.test.ts. Reports an empty text when all was right.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { Arena, loopbackSocket, pattern } from './arena.js';

const seed = workerData as number;
const BATCHES = 100;
const BATCH = 20;

function run(): string {
  const arena = new Arena();
  const [fd, at] = loopbackSocket(arena.native);
  for (let batch = 0; batch < BATCHES; batch += 1) {
    const parts = Array.from({ length: BATCH }, (_, i) => [pattern(i * 50, seed + batch + i)]);
    const tooLong = { fd, to: at, parts: [pattern(65508)] };
    const sent = arena.send([...parts.map((part) => ({ fd, to: at, parts: part })), tooLong]);
    if (sent !== BATCH) return `batch ${batch}: ${sent} sent`;
    const received = arena.receive(fd);
    if (received.length !== BATCH) return `batch ${batch}: ${received.length} received`;
    for (const [i, { data }] of received.entries()) {
      if (!data.equals(parts[i]![0]!)) return `batch ${batch}, datagram ${i}: not what was sent`;
    }
    if (arena.native.lastError() !== 90) return `batch ${batch}: another thread's error`;
  }
  arena.checkGuards('a thread');
  arena.native.close(fd);
  return '';
}

parentPort?.postMessage(run());
