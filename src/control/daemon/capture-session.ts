/**
 * One capture: has the lanes show their packets, and carries these from their rings to whoever
 * asked. Who does not take them in time finds them counted as missed: the rings fill, and neither
 * the lanes nor the main thread wait.
 *
 * Which lanes run is asked anew each turn, since they may be started again meanwhile.
 */
import {
  type CaptureRing,
  COUNT,
  type Missed,
  RECORD,
  RECORD_BYTES,
} from '../../dataplane/forward/tap/ring.js';
import type { Clock } from '../runtime.js';
import { type CaptureRequest, RATE_MAX } from './capture-request.js';

/** A lane's thread, as far as it shows packets. */
export interface Shown {
  readonly ring: CaptureRing;
  readonly capturing: boolean;
  capture(filter: CaptureRequest['filter']): void;
  endCapture(): void;
}

/** Where the records go. */
export interface Taker {
  /** Bytes that it has not taken yet. */
  readonly writableLength: number;
  write(bytes: Uint8Array): void;
}

/**
 * Between two turns. Each wakes two processes, so a capture that is to cost little has few; one that
 * takes all there is finds its ring full in less.
 */
const EVERY_MS = 200;
const EVERY_UNLIMITED_MS = 20;
/** Bytes not taken yet, from which on nothing more is carried. */
const BACKLOG = 1024 * 1024;
/** Of its part of the rate, and at least some of the longest packets: less, and a thread never goes on. */
const SAVED_SECONDS = 4;
const SAVED_BYTES = 256 * 1024;
/** What a turn of a capture with a rate carries, in bytes: memory that is used anew each time. */
const ROOM = 512 * 1024;
/** Between two words on what is missed. */
const TELL_MS = 500;
/** Lanes that do not stop showing packets are not waited for any longer. */
const PATIENCE_MS = 1_000;

export class CaptureSession {
  readonly #clock: Clock;
  readonly #look: () => readonly Shown[];
  readonly #request: CaptureRequest;
  readonly #taker: Taker;
  readonly #failed: (error: unknown) => void;
  /** The threads as they were found, those that were asked to show packets, those that do. */
  #found: readonly Shown[] = [];
  readonly #asked = new Set<Shown>();
  readonly #showing = new Set<Shown>();
  /** What threads missed that are none any more; and what was told last, when. */
  #before: Missed = { inner: 0, outer: 0 };
  #told: Missed = { inner: 0, outer: 0 };
  #toldAt = 0;
  /** Whether it was told that all lanes show their packets: by the first word on what is missed. */
  #hasBegun = false;
  #turned: number;
  readonly #room = Buffer.allocUnsafe(ROOM);
  #cancel = () => {};

  /**
   * `look`: the threads of the lanes that run; the same array while they are the same. `failed`: it
   * went wrong and is over; weft goes on.
   */
  constructor(
    clock: Clock,
    look: () => readonly Shown[],
    request: CaptureRequest,
    taker: Taker,
    failed: (error: unknown) => void,
  ) {
    this.#clock = clock;
    this.#look = look;
    this.#request = request;
    this.#taker = taker;
    this.#failed = failed;
    this.#turned = clock.now();
    this.#cancel = clock.after(0, () => this.#guarded());
  }

  /** Ends it in order: what was shown until now is carried, and what was missed is told. */
  async end(): Promise<void> {
    this.abort();
    const until = this.#clock.now() + PATIENCE_MS;
    while (this.#found.some(({ capturing }) => capturing) && this.#clock.now() < until) {
      await new Promise<void>((resolve) => this.#clock.after(EVERY_UNLIMITED_MS, resolve));
    }
    this.finish();
  }

  /** The same at once, without waiting for the lanes' last batch. */
  finish(): void {
    this.abort();
    this.#carry();
    this.#tell();
  }

  /** Nobody takes anything any more. */
  abort(): void {
    this.#cancel();
    for (const thread of this.#asked) thread.endCapture();
    this.#asked.clear();
  }

  #guarded(): void {
    try {
      this.#turn();
      const every = this.#request.rate > 0 ? EVERY_MS : EVERY_UNLIMITED_MS;
      this.#cancel = this.#clock.after(every, () => this.#guarded());
    } catch (error) {
      this.abort();
      this.#failed(error);
    }
  }

  #turn(): void {
    const now = this.#clock.now();
    const passed = now - this.#turned;
    this.#turned = now;
    this.#attach();
    const granted = Math.ceil((this.#part * passed) / 1000);
    for (const thread of this.#asked) {
      if (thread.capturing) this.#showing.add(thread);
      if (granted > 0) thread.ring.grant(granted, this.#most);
    }
    if (this.#taker.writableLength < BACKLOG) this.#carry();
    if (!this.#hasBegun && this.#found.length > 0 && this.#showing.size === this.#found.length) {
      this.#hasBegun = true;
      this.#send(this.#missed);
    }
    if (now - this.#toldAt >= TELL_MS) this.#tell();
  }

  /** Asks those that were not asked yet, and let go an earlier capture. */
  #attach(): void {
    const found = this.#look();
    if (found !== this.#found) {
      this.#carry();
      this.#before = this.#missed;
      this.#showing.clear();
      this.#asked.clear();
      this.#found = found;
    }
    for (const thread of found) {
      if (this.#asked.has(thread) || thread.capturing) continue;
      thread.capture(this.#request.filter);
      // So that the first moments are not lost.
      if (this.#request.rate > 0) thread.ring.grant(this.#most, this.#most);
      this.#asked.add(thread);
    }
  }

  #carry(): void {
    // The room is the taker's until it has taken all.
    let room = this.#room.subarray(0, this.#taker.writableLength === 0 ? ROOM : 0);
    for (const { ring } of this.#showing) {
      const records = ring.read(room);
      room = room.subarray(records.length);
      if (records.length > 0) this.#taker.write(records);
    }
  }

  /** A thread's part of the rate: a capture costs as much on a host with many lanes. */
  get #part(): number {
    return this.#request.rate / Math.max(this.#found.length, 1);
  }

  /** What a thread saves up, so that what lasts for seconds only is there whole. */
  get #most(): number {
    const most = Math.max(SAVED_SECONDS * this.#part, SAVED_BYTES);
    return Math.floor(Math.min(most, RATE_MAX));
  }

  get #missed(): Missed {
    let { inner, outer } = this.#before;
    for (const { ring } of this.#showing) {
      inner += ring.missed.inner;
      outer += ring.missed.outer;
    }
    return { inner, outer };
  }

  #tell(): void {
    const missed = this.#missed;
    this.#toldAt = this.#clock.now();
    if (missed.inner === this.#told.inner && missed.outer === this.#told.outer) return;
    this.#send(missed);
  }

  #send(missed: Missed): void {
    this.#told = missed;
    const record = Buffer.alloc(RECORD_BYTES);
    record.writeInt32LE(RECORD_BYTES, 4 * RECORD.size);
    record.writeInt32LE(COUNT, 4 * RECORD.kind);
    record.writeDoubleLE(missed.inner, 4 * RECORD.reason);
    record.writeDoubleLE(missed.outer, 4 * RECORD.reason + 8);
    this.#taker.write(record);
  }
}
