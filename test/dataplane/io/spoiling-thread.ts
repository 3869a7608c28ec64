/** A thread that changes words of another's tables all the time, for threads.test.ts. */
import { parentPort, workerData } from 'node:worker_threads';

const { stop, memory, spoils } = workerData as {
  stop: SharedArrayBuffer;
  memory: SharedArrayBuffer;
  /** Word index, and the two values that it is to have in turn. */
  spoils: [word: number, right: number, wrong: number][];
};
const words = new Int32Array(memory);
const stopped = new Int32Array(stop);
parentPort?.postMessage('begun');
for (let turn = 0; Atomics.load(stopped, 0) === 0; turn += 1) {
  const wrong = turn % 4 === 0;
  for (const [word, right, bad] of spoils) Atomics.store(words, word, wrong ? bad : right);
}
