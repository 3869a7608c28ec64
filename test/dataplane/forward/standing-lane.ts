/**
 * A lane's thread that stands still on a packet with a mark: in JavaScript, or inside the addon. All
 * else it forwards as ever.
 */
import { type MessagePort, parentPort } from 'node:worker_threads';
import type { LaneData } from '../../../src/dataplane/forward/worker.js';
import { LAYOUT } from '../../../src/dataplane/io/memory.js';
import { loadNative } from '../../../src/dataplane/io/native.js';
import { TunDevice } from '../../../src/dataplane/io/tun.js';
import { UdpUnderlay } from '../../../src/dataplane/io/udp.js';
import { BLOCKS, COUNTS, SPINS } from './standing-marks.js';

/** The lane's memory, from when the thread is told of it. */
let bytes: Buffer = Buffer.alloc(0);
const port = parentPort as MessagePort;
const { on } = port;
port.on = (event: string, call: (data: never) => void) =>
  on.call(port, event, (data: LaneData) => {
    bytes = Buffer.from(data.memory.buffer);
    call(data as never);
  });
const spins = [SPINS, COUNTS].map((mark) => Buffer.from(mark, 'hex'));
const blocks = Buffer.from(BLOCKS, 'hex');
const LOOKED_AT = 65_536;
const LONG = 600_000;

/** Comes back when no packet of the batch has a mark. */
function pass(rows: number, area: number): number {
  if (rows <= 0) return rows;
  const batch = bytes.subarray(area, area + LOOKED_AT);
  while (spins.some((mark) => batch.includes(mark)));
  while (batch.includes(blocks)) loadNative().wait(LAYOUT.wait, 0, LONG);
  return rows;
}

const { read } = TunDevice.prototype;
TunDevice.prototype.read = function (this: TunDevice, ...how) {
  return pass(read.apply(this, how), LAYOUT.outbound);
};
const { receive } = UdpUnderlay.prototype;
UdpUnderlay.prototype.receive = function (this: UdpUnderlay) {
  return pass(receive.call(this), LAYOUT.inbound);
};

await import('../../../src/dataplane/forward/worker.js');
