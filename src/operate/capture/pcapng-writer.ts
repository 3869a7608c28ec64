/**
 * Writes pcapng: little-endian, nanosecond times, one section (the layout: pcapng-layout.ts). The
 * blocks are made here and handed to `write`, one call a block, so that whoever reads a pipe sees
 * each packet whole. A packet's own bytes are handed on as they lie: of these there are many.
 */
import {
  BLOCK_HEADER,
  BLOCK_LEAST,
  BYTE_ORDER,
  DIRECTION,
  ENHANCED_PACKET,
  INTERFACE,
  OPTION,
  padded,
  SECTION_HEADER,
  STATISTICS,
} from './pcapng-layout.js';

const NANOSECONDS = 9;
const BILLION = 1_000_000_000n;

export interface PcapngInterface {
  readonly linkType: number;
  readonly name?: string;
  /** 0, and unless given: none. */
  readonly snapLength?: number;
}

export interface PcapngPacket {
  /** Since 1970; the seconds are not below 0. */
  readonly seconds: number;
  readonly nanoseconds: number;
  /** What is kept of it, one behind the other. */
  readonly parts: readonly Uint8Array[];
  /** That of all parts, unless given. */
  readonly originalLength?: number;
  readonly direction?: keyof typeof DIRECTION;
  /** For people; at most 65,535 bytes of it are kept. */
  readonly comment?: string;
}

/** For the head of a file. */
export interface PcapngAbout {
  readonly application?: string;
  readonly comment?: string;
}

export interface PcapngStatistics {
  readonly interface: number;
  readonly seconds: number;
  readonly nanoseconds: number;
  /** Packets that were there, and those of them that are not in the file. */
  readonly received: number;
  readonly dropped: number;
}

export class PcapngWriter {
  readonly #write: (block: readonly Uint8Array[]) => void;
  #interfaces = 0;
  /** The two words of the last time: the packets of a lane's batch have one. */
  #seconds = -1;
  #nanoseconds = -1;
  #upper = 0;
  #lower = 0;

  /** Writes the section's header; with the name of the program and a comment, where given. */
  constructor(write: (block: readonly Uint8Array[]) => void, about: PcapngAbout = {}) {
    this.#write = write;
    const body = Buffer.alloc(16, 0xff); // a section of unknown length: -1
    body.writeUInt32LE(BYTE_ORDER, 0);
    body.writeUInt16LE(1, 4);
    body.writeUInt16LE(0, 6);
    const { application = '', comment = '' } = about;
    const options: Buffer[] = [];
    if (comment !== '') options.push(option(OPTION.comment, Buffer.from(comment)));
    if (application !== '') options.push(option(OPTION.application, Buffer.from(application)));
    if (options.length > 0) options.push(option(OPTION.end));
    this.#block(SECTION_HEADER, [body, ...options]);
  }

  /** Returns the interface's number, for its packets. */
  addInterface({ linkType, name = '', snapLength = 0 }: PcapngInterface): number {
    const body = Buffer.alloc(8);
    body.writeUInt16LE(linkType, 0);
    body.writeUInt32LE(snapLength, 4);
    const options = [option(OPTION.timeResolution, Buffer.of(NANOSECONDS))];
    if (name !== '') options.unshift(option(OPTION.name, Buffer.from(name)));
    this.#block(INTERFACE, [body, ...options, option(OPTION.end)]);
    this.#interfaces += 1;
    return this.#interfaces - 1;
  }

  /** `number`: its interface's, as `addInterface` answered. */
  packet(number: number, packet: PcapngPacket): void {
    const { parts, direction, comment = '' } = packet;
    const kept = parts.reduce((sum, { length }) => sum + length, 0);
    const note = Math.min(Buffer.byteLength(comment), VALUE_MAX);
    const hasOptions = note > 0 || direction !== undefined;
    const filling = padded(kept) - kept;
    const behind =
      filling +
      (note === 0 ? 0 : OPTION_HEADER + padded(note)) +
      (direction === undefined ? 0 : OPTION_HEADER + 4) +
      (hasOptions ? OPTION_HEADER : 0) +
      4;
    const before = BLOCK_HEADER + PACKET_HEADER;
    const length = before + kept + behind;
    const made = Buffer.allocUnsafe(before + behind);
    made.writeUInt32LE(ENHANCED_PACKET, 0);
    made.writeUInt32LE(length, 4);
    made.writeUInt32LE(number, BLOCK_HEADER);
    this.#writeTime(made, packet, BLOCK_HEADER);
    made.writeUInt32LE(kept, BLOCK_HEADER + 12);
    made.writeUInt32LE(packet.originalLength ?? kept, BLOCK_HEADER + 16);
    let at = before;
    made.fill(0, at, at + filling);
    at += filling;
    if (note > 0) {
      made.writeUInt16LE(OPTION.comment, at);
      made.writeUInt16LE(note, at + 2);
      const end = at + OPTION_HEADER + padded(note);
      made.fill(0, at + OPTION_HEADER + made.write(comment, at + OPTION_HEADER, note), end);
      at = end;
    }
    if (direction !== undefined) {
      made.writeUInt16LE(OPTION.flags, at);
      made.writeUInt16LE(4, at + 2);
      made.writeUInt32LE(DIRECTION[direction], at + OPTION_HEADER);
      at += OPTION_HEADER + 4;
    }
    // The end of the options is four zeros.
    if (hasOptions) made.writeUInt32LE(0, at);
    made.writeUInt32LE(length, made.length - 4);
    this.#write([made.subarray(0, before), ...parts, made.subarray(before)]);
  }

  /** What became of an interface's packets until then; for the end of a capture. */
  statistics(of: PcapngStatistics): void {
    const head = Buffer.alloc(12);
    head.writeUInt32LE(of.interface, 0);
    this.#writeTime(head, of, 0);
    const count = (code: number, value: number) => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64LE(BigInt(value));
      return option(code, bytes);
    };
    const options = [count(OPTION.received, of.received), count(OPTION.dropped, of.dropped)];
    this.#block(STATISTICS, [head, ...options, option(OPTION.end)]);
  }

  /** The two words of a time behind the interface's number at `at`, upper half first. */
  #writeTime(
    head: Buffer,
    { seconds, nanoseconds }: Pick<PcapngPacket, 'seconds' | 'nanoseconds'>,
    at: number,
  ): void {
    if (seconds !== this.#seconds || nanoseconds !== this.#nanoseconds) {
      const time = BigInt(seconds) * BILLION + BigInt(nanoseconds);
      this.#seconds = seconds;
      this.#nanoseconds = nanoseconds;
      this.#upper = Number(time >> 32n);
      this.#lower = Number(time & 0xffffffffn);
    }
    head.writeUInt32LE(this.#upper, at + 4);
    head.writeUInt32LE(this.#lower, at + 8);
  }

  #block(type: number, body: readonly Uint8Array[]): void {
    const length = BLOCK_LEAST + body.reduce((sum, part) => sum + part.length, 0);
    const head = Buffer.alloc(BLOCK_HEADER);
    head.writeUInt32LE(type, 0);
    head.writeUInt32LE(length, 4);
    this.#write([head, ...body, head.subarray(4)]);
  }
}

/** Before a packet's bytes, and before an option's value. */
const PACKET_HEADER = 20;
const OPTION_HEADER = 4;

const VALUE_MAX = 65_535;

function option(code: number, whole: Buffer = Buffer.alloc(0)): Buffer {
  const value = whole.subarray(0, VALUE_MAX);
  const head = Buffer.alloc(4);
  head.writeUInt16LE(code, 0);
  head.writeUInt16LE(value.length, 2);
  return Buffer.concat([head, value, filling(value.length)]);
}

/** Zeros up to a whole word. */
function filling(length: number): Buffer {
  return Buffer.alloc(padded(length) - length);
}
