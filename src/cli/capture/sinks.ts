/** What becomes of captured packets: pcapng, in one file or in several in turn; or lines. */
import fs from 'node:fs';
import path from 'node:path';
import type { Missed } from '../../dataplane/forward/tap/ring.js';
import { type LivePacket, liveText } from '../../operate/capture/live-packet.js';
import { type PcapngAbout, PcapngWriter } from '../../operate/capture/pcapng-writer.js';
import { plain } from '../../operate/status/plain.js';
import { Output } from './output.js';

/** https://www.tcpdump.org/linktypes.html: an IP packet and nothing before it. */
const RAW_IP = 101;

export interface Sink {
  readonly isBehind: boolean;
  packet(packet: LivePacket): void;
  /** What was given so far can be read from now on. */
  flush(): void;
  /** `missed`: packets that were there and are not in it. */
  close(missed: Missed): Promise<void>;
  abandon(): void;
}

export interface SinkOptions {
  readonly file: string;
  /** Of the inner packets' interface. */
  readonly device: string;
  /** Bytes kept of each packet, 0 for all. */
  readonly snap: number;
  readonly about: PcapngAbout;
  readonly failed: (error: NodeJS.ErrnoException) => void;
  readonly drained: () => void;
}

/** One section in one file or pipe. */
export class PcapngSink implements Sink {
  /** Bytes written. */
  size = 0;
  readonly #output: Output;
  readonly #writer: PcapngWriter;
  readonly #inner: number;
  readonly #outer: number;
  readonly #written = { inner: 0, outer: 0 };
  #last = { seconds: 0, nanoseconds: 0 };

  /** Throws what the file system says. */
  constructor({ file, device, snap, about, failed, drained }: SinkOptions) {
    this.#output = new Output(file, failed, drained);
    this.#writer = new PcapngWriter((block) => {
      for (const { length } of block) this.size += length;
      this.#output.write(...block);
    }, about);
    const common = { linkType: RAW_IP, snapLength: snap };
    this.#inner = this.#writer.addInterface({ ...common, name: device });
    this.#outer = this.#writer.addInterface({ ...common, name: `${device} underlay` });
  }

  get isBehind(): boolean {
    return this.#output.isBehind;
  }

  packet(packet: LivePacket): void {
    const { isInner, seconds, nanoseconds } = packet;
    this.#last = { seconds, nanoseconds };
    this.#written[isInner ? 'inner' : 'outer'] += 1;
    this.#writer.packet(isInner ? this.#inner : this.#outer, packet);
  }

  async close(missed: Missed): Promise<void> {
    for (const [number, side] of [
      [this.#inner, 'inner'],
      [this.#outer, 'outer'],
    ] as const) {
      const [written, dropped] = [this.#written[side], missed[side]];
      const counts = { received: written + dropped, dropped };
      this.#writer.statistics({ interface: number, ...this.#last, ...counts });
    }
    await this.#output.close();
  }

  flush(): void {
    this.#output.flush();
  }

  abandon(): void {
    this.#output.abandon();
  }
}

export interface RingOptions extends SinkOptions {
  readonly files: number;
  readonly fileBytes: number;
}

const DIGITS = 5;

/** Files in turn: `web_00001.pcapng`, `web_00002.pcapng`, … of which the last ones stay. */
export class RingSink implements Sink {
  readonly #options: RingOptions;
  readonly #names: string[] = [];
  #number = 0;
  #now: PcapngSink;

  /** Throws what the file system says. */
  constructor(options: RingOptions) {
    this.#options = options;
    this.#now = this.#open();
  }

  get isBehind(): boolean {
    return this.#now.isBehind;
  }

  packet(packet: LivePacket): void {
    if (this.#now.size >= this.#options.fileBytes) this.#next();
    this.#now.packet(packet);
  }

  close(missed: Missed): Promise<void> {
    return this.#now.close(missed);
  }

  flush(): void {
    this.#now.flush();
  }

  abandon(): void {
    this.#now.abandon();
  }

  #next(): void {
    // How many are missed is told in the last one.
    void this.#now.close({ inner: 0, outer: 0 });
    try {
      this.#now = this.#open();
    } catch (error) {
      this.#options.failed(error as NodeJS.ErrnoException);
    }
  }

  /** The oldest goes first, so that there are never more. */
  #open(): PcapngSink {
    const { file, files } = this.#options;
    this.#number += 1;
    const { dir, name, ext } = path.parse(file);
    const number = String(this.#number).padStart(DIGITS, '0');
    const next = path.join(dir, `${name}_${number}${ext}`);
    if (this.#names.length === files) fs.rmSync(this.#names.shift()!, { force: true });
    this.#names.push(next);
    return new PcapngSink({ ...this.#options, file: next });
  }
}

/** A line a packet. */
export class TextSink implements Sink {
  readonly #output: Output;

  /** Throws what the file system says. */
  constructor({ file, failed, drained }: Pick<SinkOptions, 'file' | 'failed' | 'drained'>) {
    this.#output = new Output(file, failed, drained);
  }

  get isBehind(): boolean {
    return this.#output.isBehind;
  }

  packet(packet: LivePacket): void {
    this.#output.write(Buffer.from(`${plain(liveText(packet))}\n`));
  }

  close(): Promise<void> {
    return this.#output.close();
  }

  flush(): void {
    this.#output.flush();
  }

  abandon(): void {
    this.#output.abandon();
  }
}
