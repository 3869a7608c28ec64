/**
 * A capture from its first packet to its end: carries what the weft sends into the sink. While the
 * sink's reader is behind nothing is taken from the weft, which then counts what it cannot give.
 */
import type net from 'node:net';
import type { Clock } from '../../control/runtime.js';
import type { Missed } from '../../dataplane/forward/tap/ring.js';
import { type LivePlace, livePacket } from '../../operate/capture/live-packet.js';
import { type LiveRecord, LiveRecords } from '../../operate/capture/live-records.js';
import type { Sink } from './sinks.js';

/** Who is behind for so long is told of. */
const BEHIND_MS = 1_000;
/** Between two words on what is missed, while it goes on. */
const TELL_MS = 10_000;
/** The weft gives its last packets within so long, and the sink's reader takes them. */
const LAST_MS = 3_000;
const FLUSH_MS = 1_000;

export interface RunOptions {
  readonly connection: net.Socket;
  readonly place: LivePlace;
  readonly clock: Clock;
  /** Ends by itself after so many packets, and so long; 0: not. */
  readonly count: number;
  readonly seconds: number;
  /** All lanes show their packets from now on. */
  readonly begun: () => void;
  /** A line for who captures. */
  readonly tell: (line: string) => void;
}

export interface Outcome {
  readonly captured: number;
  readonly missed: number;
  /** Why it ended before it was to. */
  readonly trouble: string | undefined;
}

export class Run {
  readonly #options: RunOptions;
  readonly #records: LiveRecords;
  /** Its timers: until it ends by itself, until nothing more is waited for, until it is told. */
  #cancelSeconds = () => {};
  #cancelLast = () => {};
  #cancelBehind = () => {};
  #sink: Sink | undefined;
  #captured = 0;
  #missed: Missed = { inner: 0, outer: 0 };
  /** Captured, and not written since nobody took it. */
  readonly #unwritten = { inner: 0, outer: 0 };
  #hasBegun = false;
  #toldAt = Number.NEGATIVE_INFINITY;
  /** Whether it is to end; whether no more packets are wanted. */
  #isEnding = false;
  #isFull = false;
  #isBroken = false;
  #trouble: string | undefined;
  #ended = () => {};

  constructor(options: RunOptions) {
    this.#options = options;
    this.#records = new LiveRecords({
      packet: (record) => this.#packet(record),
      missed: (missed) => this.#miss(missed),
    });
  }

  /** Resolves when all is written. `first`: what came with the weft's answer. */
  async into(sink: Sink, first: Buffer): Promise<Outcome> {
    const { connection, clock, seconds } = this.#options;
    this.#sink = sink;
    const over = new Promise<void>((resolve) => {
      this.#ended = resolve;
    });
    connection.on('data', (bytes: Buffer) => this.#take(bytes));
    connection.on('error', () => connection.destroy());
    connection.once('end', () => connection.end());
    connection.once('close', () => {
      if (!this.#isEnding) this.#trouble ??= 'the weft that runs has ended';
      this.#ended();
    });
    if (seconds > 0) this.#cancelSeconds = clock.after(seconds * 1000, () => this.end());
    connection.resume();
    this.#take(first);
    await over;
    this.#cancelSeconds();
    this.#cancelLast();
    this.#cancelBehind();
    connection.destroy();
    await this.#close();
    return { captured: this.#captured, missed: total(this.#allMissed), trouble: this.#trouble };
  }

  /** Ends it in order; again, it changes nothing. */
  end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    const { connection, clock } = this.#options;
    // The weft gives the rest, and how many it missed.
    connection.end();
    connection.resume();
    this.#cancelLast = clock.after(LAST_MS, () => this.#ended());
  }

  /** No more can be written: `trouble` says why, undefined where nobody wants it any more. */
  broken(trouble: string | undefined): void {
    this.#isBroken = true;
    this.#isFull = true;
    this.#trouble ??= trouble;
    this.end();
  }

  /** Who was behind has caught up. */
  drained(): void {
    this.#cancelBehind();
    this.#options.connection.resume();
  }

  get #allMissed(): Missed {
    const { inner, outer } = this.#unwritten;
    return { inner: this.#missed.inner + inner, outer: this.#missed.outer + outer };
  }

  #take(bytes: Buffer): void {
    try {
      this.#records.take(bytes);
    } catch (error) {
      this.#isFull = true;
      this.#trouble ??= (error as Error).message;
      this.#isEnding = true;
      this.#ended();
      return;
    }
    this.#sink!.flush();
    if (this.#sink!.isBehind && !this.#isEnding) this.#wait();
  }

  /** Takes nothing until the reader has caught up; a while after, that is said. */
  #wait(): void {
    const { connection, clock } = this.#options;
    connection.pause();
    this.#cancelBehind();
    this.#cancelBehind = clock.after(BEHIND_MS, () =>
      this.#warn('what takes the packets does not keep up'),
    );
  }

  #warn(what: string): void {
    const { clock, tell } = this.#options;
    if (this.#isEnding || clock.now() - this.#toldAt < TELL_MS) return;
    this.#toldAt = clock.now();
    tell(`${what}: packets are left out of the capture, traffic goes on`);
  }

  #packet(record: LiveRecord): void {
    const { place, count } = this.#options;
    if (this.#isFull) return;
    if (this.#isEnding && this.#sink!.isBehind) {
      this.#unwritten[record.isInner ? 'inner' : 'outer'] += 1;
      return;
    }
    this.#sink!.packet(livePacket(record, place));
    this.#captured += 1;
    if (this.#captured !== count) return;
    this.#isFull = true;
    this.end();
  }

  #miss(missed: Missed): void {
    const { begun } = this.#options;
    if (!this.#hasBegun) begun();
    this.#hasBegun = true;
    if (!this.#isFull) this.#missed = missed;
    if (total(missed) > 0) this.#warn(`${total(missed)} packets not captured so far`);
  }

  /** A reader who takes nothing is not waited for. */
  async #close(): Promise<void> {
    const sink = this.#sink!;
    if (this.#isBroken) {
      sink.abandon();
      return;
    }
    let cancel = () => {};
    const late = new Promise<'late'>((resolve) => {
      cancel = this.#options.clock.after(FLUSH_MS, () => resolve('late'));
    });
    const isLate = (await Promise.race([sink.close(this.#allMissed), late])) === 'late';
    cancel();
    if (!isLate) return;
    sink.abandon();
    this.#trouble ??= 'what reads the output takes nothing: the last packets are lost';
  }
}

function total({ inner, outer }: Missed): number {
  return inner + outer;
}
