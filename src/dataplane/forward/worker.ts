/**
 * A lane's thread, for both directions or one of them. Its loop blocks in the addon and never
 * returns to the event loop, so neither terminate() nor process.exit() would end it: it ends by
 * the stop word alone, which it reads every turn; the wake-up event and the longest wait bound how
 * late.
 */
import fs from 'node:fs';
import { type MessagePort, parentPort, receiveMessageOnPort } from 'node:worker_threads';
import { LAYOUT, LaneMemory, WAIT_ROWS } from '../io/memory.js';
import {
  EINTR,
  loadNative,
  type Native,
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLNVAL,
} from '../io/native.js';
import { probeSegmentation } from '../io/probe.js';
import { TunDevice } from '../io/tun.js';
import { UdpUnderlay } from '../io/udp.js';
import { RouteReader } from '../routes/reader.js';
import type { RoutesHandle } from '../routes/snapshot.js';
import { Counters } from './counters.js';
import { type Directions, Lane, type LaneOptions } from './lane.js';
import {
  CAPTURE,
  CAPTURING,
  FAILED,
  INBOUND_ROWS,
  LONGEST_WAIT,
  MERGES,
  OUTBOUND_ROWS,
  RUNNING,
  SEGMENTS,
  STATE,
  STOP,
  STOPPED,
  THREAD,
  TUN_GONE,
  TURNS,
} from './lane-control.js';

export interface LaneData {
  /** Its number among all lanes' threads. */
  readonly thread: number;
  readonly directions: Directions;
  readonly memory: WebAssembly.Memory;
  readonly control: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
  readonly routes: RoutesHandle;
  /** Where the routes' new buffers arrive. */
  readonly port: MessagePort;
  readonly tun: number;
  readonly listener: number;
  readonly sender: number;
  /** The VRF that both sockets are in, if any. */
  readonly device: string | undefined;
  readonly wake: number;
  readonly options: LaneOptions;
}

class TunGone extends Error {}

function run(data: LaneData): void {
  const native = loadNative();
  const memory = new LaneMemory(data.memory);
  native.attach(memory.bytes);
  const control = new Int32Array(data.control);
  const sends = data.directions !== 'inbound';
  const udpSegment = data.options.udpSegment && sends && probeSegmentation(native, memory);
  const underlay = new UdpUnderlay(
    native,
    data,
    data.options.peerSockets,
    control.subarray(INBOUND_ROWS),
  );
  const lane = new Lane(
    memory,
    new TunDevice(native, memory, data.tun, data.options.vnet, control.subarray(OUTBOUND_ROWS)),
    underlay,
    new RouteReader(data.routes, data.thread, () => receiveMessageOnPort(data.port)),
    new Counters(data.counters, data.thread),
    { ...data.options, udpSegment },
  );

  try {
    forward(data, native, memory, lane, control);
  } finally {
    underlay.close();
  }
}

/** So many milliseconds a lane rests when a side could not be read. */
const REST = 50;

/** The loop. */
function forward(
  data: LaneData,
  native: Native,
  memory: LaneMemory,
  lane: Lane,
  control: Int32Array,
): void {
  const wait = LAYOUT.wait >> 2;
  const words = memory.words;
  const reads = data.directions !== 'inbound';
  const listener = data.directions !== 'outbound' ? data.listener : -1;
  Atomics.store(control, SEGMENTS, lane.udpSegment ? 1 : 0);
  Atomics.store(control, MERGES, lane.merges ? 1 : 0);
  Atomics.store(control, THREAD, ownThread());
  Atomics.store(control, STATE, RUNNING);
  parentPort?.postMessage('running' satisfies Said);
  let resting = false;
  while (Atomics.load(control, STOP) === 0) {
    const capture = Atomics.load(control, CAPTURE);
    if (capture !== control[CAPTURING]) {
      lane.show(capture === 0 ? undefined : wallClock());
      Atomics.store(control, CAPTURING, capture);
    }
    // poll skips a negative descriptor: what is not served, or not to be read now.
    words[wait] = reads && !resting ? data.tun : -1;
    words[wait + 1] = POLLIN;
    words[wait + 2] = resting ? -1 : listener;
    words[wait + 3] = POLLIN;
    words[wait + 4] = data.wake;
    words[wait + 5] = POLLIN;
    const ready = native.wait(LAYOUT.wait, WAIT_ROWS, resting ? REST : LONGEST_WAIT);
    if (ready < 0 && ready !== -EINTR) {
      throw new Error(`the lane cannot wait for packets: ${native.errnoName(-ready)}`);
    }
    resting = false;
    if (ready > 0) {
      checkDescriptors(words, wait);
      // A direction that has nothing costs no system call: half of them, for single packets.
      const moved = lane.step(isReady(words, wait), isReady(words, wait + 2));
      // What is ready and cannot be read would be ready again at once, for ever.
      resting = moved < 0;
      if (isReady(words, wait + 4)) native.eventDrain(data.wake);
    }
    control[OUTBOUND_ROWS] = 0;
    control[INBOUND_ROWS] = 0;
    control[TURNS] = (control[TURNS]! + 1) | 0;
    control[MERGES] = lane.merges ? 1 : 0;
  }
}

/** The time by a clock that never goes back, begun at the host's. */
function wallClock(): () => number {
  const begun = Date.now() - performance.now();
  return () => begun + performance.now();
}

/** Of this thread, from `123/task/456` (proc_thread-self(5)); 0 where /proc does not tell. */
function ownThread(): number {
  try {
    return Number(fs.readlinkSync('/proc/thread-self').split('/').at(-1)) || 0;
  } catch {
    return 0;
  }
}

function isReady(words: Int32Array, row: number): boolean {
  return words[row + 1]! >> 16 !== 0;
}

/**
 * Throws when a descriptor is dead, for the wait would return at once for ever. (An error that
 * a socket reports is no such thing: the next call takes it and it is gone.)
 */
function checkDescriptors(words: Int32Array, wait: number): void {
  for (let row = 0; row < WAIT_ROWS; row += 1) {
    const fd = words[wait + 2 * row]!;
    const events = words[wait + 2 * row + 1]! >> 16;
    if ((events & POLLNVAL) !== 0) throw new Error(`the lane's descriptor ${fd} is not open`);
    if (row === 0 && (events & (POLLERR | POLLHUP)) !== 0) {
      throw new TunGone();
    }
  }
}

/** What a thread says: that packets can flow; that its loop ended as told; that the TUN is gone. */
export type Said = 'running' | 'stopped' | 'gone';

// With the code, so that both are of one build.
loadNative();

// A lane that is made anew, with another TUN or other sockets, has the thread of the one before it:
// so what runs is the code that was read at the start, whatever has become of its file since.
parentPort?.on('message', (data: LaneData) => {
  const control = new Int32Array(data.control);
  let said: Said = 'stopped';
  try {
    run(data);
    Atomics.store(control, STATE, STOPPED);
  } catch (error) {
    if (!(error instanceof TunGone)) {
      Atomics.store(control, STATE, FAILED);
      throw error;
    }
    Atomics.store(control, STATE, TUN_GONE);
    said = 'gone';
  } finally {
    data.port.close();
  }
  parentPort?.postMessage(said);
});
