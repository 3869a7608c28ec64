/** A thread of a lane as the main thread sees it: started, told to stop, joined. */
import { MessageChannel, Worker } from 'node:worker_threads';
import { ADDRESS_SIZE, createMemory } from '../io/memory.js';
import { loadNative } from '../io/native.js';
import * as socketAddress from '../io/socket-address.js';
import type { Publisher } from '../routes/publisher.js';
import { type Batch, readBatch } from './batch.js';
import type { Directions, LaneOptions } from './lane.js';
import {
  CAPTURE,
  CAPTURING,
  CONTROL_WORDS,
  MERGES,
  RUNNING,
  SEGMENTS,
  STATE,
  STOP,
  THREAD,
  TUN_GONE,
  TURNS,
} from './lane-control.js';
import { type CaptureFilter, wordsOf } from './tap/filter.js';
import { CaptureRing } from './tap/ring.js';
import type { LaneData, Said } from './worker.js';

export interface LaneThreadOptions {
  readonly lane: number;
  /** Which of the lane's directions this thread serves; both unless told. */
  readonly directions?: Directions;
  /**
   * Its number among all threads: its row of the counters, its place among the readers of the
   * routes. That of the lane unless told.
   */
  readonly thread?: number;
  readonly counters: SharedArrayBuffer;
  readonly publisher: Publisher;
  /** Open descriptors; the owner closes them after the lane was joined. */
  readonly tun: number;
  readonly listener: number;
  readonly sender: number;
  /** The VRF that both sockets are in, if any. */
  readonly device?: string | undefined;
  readonly options: LaneOptions;
  /** Where its thread comes from and goes to; it has one of its own unless told. */
  readonly workers?: LaneWorkers | undefined;
}

/**
 * Threads for lanes: those that wait for their first one, and those whose lane has ended. Each has
 * read all its code, so that no other build's is ever loaded into a weft that runs.
 */
export class LaneWorkers {
  readonly #program: URL;
  readonly #idle = new Set<Worker>();

  /** @param program what the threads run: worker.js unless told */
  constructor(program = new URL('./worker.js', import.meta.url)) {
    this.#program = program;
  }

  /** So many wait from now on. */
  prepare(count: number): void {
    while (this.#idle.size < count) this.giveBack(this.#make());
  }

  take(): Worker {
    const [idle] = this.#idle;
    if (idle === undefined) return this.#make();
    this.#idle.delete(idle);
    idle.ref();
    return idle;
  }

  /** A thread whose loop has ended; it keeps nobody waiting. */
  giveBack(worker: Worker): void {
    worker.unref();
    this.#idle.add(worker);
  }

  /** Ends those that wait. */
  release(): void {
    for (const worker of this.#idle) void worker.terminate();
  }

  #make(): Worker {
    // Nothing of NODE_OPTIONS and node's arguments: --inspect-brk would have it wait for ever.
    const worker = new Worker(this.#program, { env: {}, execArgv: [], name: 'lane' });
    worker.once('exit', () => this.#idle.delete(worker));
    // What it cannot say to a lane, the lane says that would have had it.
    worker.on('error', () => {});
    return worker;
  }
}

export class LaneThread {
  readonly directions: Directions;
  /** Settles when packets can flow, or when the thread ended before that. */
  readonly started: Promise<void>;
  /** Settles when the thread has ended: undefined, or the error that ended it. */
  readonly ended: Promise<Error | undefined>;
  readonly #control: Int32Array;
  readonly #wake: number;
  readonly #memory: WebAssembly.Memory;
  readonly #sender: number;
  #ring: CaptureRing | undefined;
  readonly #worker: Worker;

  constructor(options: LaneThreadOptions) {
    const native = loadNative();
    const { publisher, lane, counters, tun, listener, sender, device } = options;
    const { directions = 'both', thread = lane } = options;
    this.directions = directions;
    const control = new SharedArrayBuffer(CONTROL_WORDS * 4);
    this.#control = new Int32Array(control);
    this.#wake = native.eventOpen();
    this.#memory = createMemory();
    this.#sender = sender;
    const { port1, port2 } = new MessageChannel();
    port1.unref();
    const data: LaneData = {
      thread,
      directions,
      memory: this.#memory,
      control,
      counters,
      routes: publisher.handle,
      port: port2,
      tun,
      listener,
      sender,
      device,
      wake: this.#wake,
      options: options.options,
    };
    const worker = (options.workers ?? new LaneWorkers()).take();
    this.#worker = worker;
    publisher.attach(thread, port1);
    let started = () => {};
    this.started = new Promise((resolve) => {
      started = resolve;
    });
    this.ended = new Promise((resolve) => {
      let failure: Error | undefined;
      const end = (): void => {
        worker.off('message', hear).off('error', fail).off('exit', end);
        // From here on `stop` must not touch the descriptor: its number may be another's.
        Atomics.store(this.#control, STOP, 1);
        port1.close();
        publisher.park(thread);
        native.close(this.#wake);
        started();
        resolve(failure);
      };
      const fail = (error: Error): void => {
        failure = error;
      };
      const hear = (said: Said): void => {
        if (said === 'running') {
          started();
          return;
        }
        if (said === 'gone') failure = new Error('the TUN is gone: somebody deleted it');
        if (options.workers === undefined) {
          void worker.terminate();
          return;
        }
        options.workers.giveBack(worker);
        end();
      };
      worker.on('message', hear).on('error', fail).on('exit', end);
    });
    worker.postMessage(data, [port2]);
  }

  /** Tells the thread to leave its loop; `ended` settles when it has. Safe to call at any time. */
  stop(): void {
    if (Atomics.exchange(this.#control, STOP, 1) === 0) loadNative().eventSignal(this.#wake);
  }

  /**
   * Tears a thread that does not leave its loop out of its JavaScript; inside the addon nothing
   * reaches it. What it opened itself stays open.
   */
  tear(): void {
    void this.#worker.terminate();
  }

  /** What it captured and nobody has taken yet. */
  get ring(): CaptureRing {
    this.#ring ??= new CaptureRing(this.#memory);
    return this.#ring;
  }

  /** Whether it shows packets just now, or has not yet heard that it is not to any more. */
  get capturing(): boolean {
    return Atomics.load(this.#control, CAPTURING) === 1;
  }

  /** Has it show packets; only while it does not, and is not about to. */
  capture(filter: CaptureFilter): void {
    const native = loadNative();
    const name = new Uint8Array(ADDRESS_SIZE);
    native.udpName(this.#sender, name);
    this.ring.want(wordsOf(filter, socketAddress.port(name, 0)));
    this.#setCapture(1);
  }

  /** It shows no more once it is not `capturing`. */
  endCapture(): void {
    this.#setCapture(0);
  }

  #setCapture(wanted: 0 | 1): void {
    Atomics.store(this.#control, CAPTURE, wanted);
    // From the stop on its descriptor may be another's.
    if (Atomics.load(this.#control, STOP) === 0) loadNative().eventSignal(this.#wake);
  }

  /** What it works at just now. */
  get batch(): Batch {
    return readBatch(this.#memory, this.#control);
  }

  get running(): boolean {
    return Atomics.load(this.#control, STATE) === RUNNING;
  }

  /** Whether the thread ended since somebody took the TUN away. */
  get tunGone(): boolean {
    return Atomics.load(this.#control, STATE) === TUN_GONE;
  }

  /** Whether super-packets leave by UDP_SEGMENT. */
  get udpSegment(): boolean {
    return Atomics.load(this.#control, SEGMENTS) === 1;
  }

  /** Whether merged packets are written to the TUN just now. */
  get merges(): boolean {
    return Atomics.load(this.#control, MERGES) === 1;
  }

  /** The kernel's number of the thread; 0: not known. */
  get kernelThread(): number {
    return Atomics.load(this.#control, THREAD);
  }

  /** Wraps; stands still when the lane hangs. */
  get turns(): number {
    return Atomics.load(this.#control, TURNS);
  }
}
