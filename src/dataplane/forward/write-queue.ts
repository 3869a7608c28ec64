/** What inbound has made for the TUN in this batch: packets as rows in the lane's memory. */
import type { Device } from '../io/device.js';
import {
  IOVEC_ROW,
  LAYOUT,
  type LaneMemory,
  WRITE_IOVECS,
  WRITE_ROW,
  WRITES,
} from '../io/memory.js';
import { Counter, type Counters } from './counters.js';
import { Drop } from './drops.js';

export class WriteQueue {
  readonly #words: Int32Array;
  readonly #device: Device;
  readonly #counters: Counters;
  /** Datagrams and inner bytes that each row holds. */
  readonly #packets = new Int32Array(WRITES);
  readonly #payload = new Int32Array(WRITES);
  #rows = 0;
  #iovecs = 0;

  constructor(memory: LaneMemory, device: Device, counters: Counters) {
    this.#words = memory.words;
    this.#device = device;
    this.#counters = counters;
  }

  /** Whether one more row, or one more iovec, would not fit. */
  get full(): boolean {
    return this.#rows === WRITES || this.#iovecs === WRITE_IOVECS;
  }

  /** Begins a packet with its first piece; ask `full` before. `inner`: bytes it counts for. */
  begin(at: number, length: number, inner: number): void {
    const row = (LAYOUT.writes >> 2) + this.#rows * WRITE_ROW.words;
    this.#words[row + WRITE_ROW.first] = this.#iovecs;
    this.#words[row + WRITE_ROW.count] = 0;
    this.#packets[this.#rows] = 0;
    this.#payload[this.#rows] = 0;
    this.#rows += 1;
    this.append(at, length, inner);
  }

  /** Appends a piece to the packet begun last; ask `full` before. */
  append(at: number, length: number, inner: number): void {
    const last = this.#rows - 1;
    const iovec = (LAYOUT.writeIovecs >> 2) + this.#iovecs * IOVEC_ROW.words;
    this.#words[iovec + IOVEC_ROW.offset] = at;
    this.#words[iovec + IOVEC_ROW.length] = length;
    this.#words[(LAYOUT.writes >> 2) + last * WRITE_ROW.words + WRITE_ROW.count]! += 1;
    this.#iovecs += 1;
    this.#packets[last]! += 1;
    this.#payload[last]! += inner;
  }

  /** Writes all of it; a packet that the TUN refuses (it is down: EIO) is counted. */
  flush(): void {
    let from = 0;
    while (from < this.#rows) {
      const written = this.#device.write(from, this.#rows - from, this.#iovecs);
      for (let row = from; row < from + written; row += 1) {
        this.#counters.add(Counter.inbound_out_packets, this.#packets[row]!);
        this.#counters.add(Counter.inbound_out_bytes, this.#payload[row]!);
      }
      this.#counters.add(Counter.writes, written);
      from += written;
      if (from < this.#rows) {
        this.#counters.drop(Drop.tun_refused, this.#packets[from]!);
        from += 1;
      }
    }
    this.#rows = 0;
    this.#iovecs = 0;
  }
}
