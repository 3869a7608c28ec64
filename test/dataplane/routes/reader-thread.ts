/**
 * A lane that does nothing but look up: the other half of a test in publish.test.ts. In every
 * generation all of GENERATION_ROUTES lead to one peer, whose address is the generation and
 * whose port and MAC follow from it; so any mixture of two tables shows.
 */
import {
  isMainThread,
  type MessagePort,
  parentPort,
  receiveMessageOnPort,
  workerData,
} from 'node:worker_threads';
import { RouteReader } from '../../../src/dataplane/routes/reader.js';
import type { RoutesHandle } from '../../../src/dataplane/routes/snapshot.js';
import { ip, local } from './lane.js';

/** One for each depth of the trie, and many, so that a look at all of them takes a while. */
export const GENERATION_ROUTES = [
  local('172.16.0.0/12'),
  local('10.5.0.0/16'),
  local('10.6.7.0/24'),
  local('200.1.2.128/25'),
  ...Array.from({ length: 60 }, (_, i) => local(`100.${i}.${i}.${i}/32`)),
];

export interface Report {
  /** What did not fit together, or ''. */
  mixed: string;
  /** How often an older table followed a newer one. */
  backwards: number;
  /** How many different tables were seen. */
  generations: number;
  /** The last one. */
  last: number;
}

function lookAllTheTime(): Report {
  const { handle, port, stop } = workerData as {
    handle: RoutesHandle;
    port: MessagePort;
    stop: SharedArrayBuffer;
  };
  const words = new Int32Array(stop);
  const reader = new RouteReader(handle, 0, () => receiveMessageOnPort(port));
  const destinations = [ip('172.31.255.255'), ...GENERATION_ROUTES.map((r) => r.network)];
  const bytes = new Uint8Array(22);
  const report: Report = { mixed: '', backwards: 0, generations: 0, last: 0 };

  for (let stopping = false; !stopping && report.mixed === ''; ) {
    // Read before the refresh: what was published before the stop is then seen.
    stopping = Atomics.load(words, 0) !== 0;
    reader.refresh();
    const first = reader.lookup(destinations[0]!);
    if (first === 0) continue;
    const generation = reader.address(first);
    // Longer than a publication takes, now and then.
    for (let round = 0; round < 40 && report.mixed === ''; round += 1) {
      for (const destination of destinations) {
        const peer = reader.lookup(destination);
        reader.stamp(bytes, 22, peer);
        const sound =
          reader.address(peer) === generation &&
          reader.port(peer) === (generation % 60000) + 1 &&
          reader.peerByAddress(generation) === peer &&
          bytes[8] === generation % 256 &&
          bytes[13] === generation % 256;
        if (!sound) report.mixed = `generation ${generation}: peer ${peer} for ${destination}`;
      }
    }
    if (generation < report.last) report.backwards += 1;
    if (generation !== report.last) report.generations += 1;
    report.last = generation;
  }
  port.close();
  return report;
}

if (!isMainThread) parentPort!.postMessage(lookAllTheTime());
