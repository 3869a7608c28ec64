/**
 * pcapng captures, several sections and interfaces, either byte order (their layout:
 * pcapng-layout.ts). Blocks of other types are passed over, whatever their length; of a packet
 * its data is read, and its options are passed over.
 */
import { type Capture, type CaptureRecord, MAX_RECORD, type OddRecords } from './capture.js';
import {
  BLOCK_HEADER,
  BLOCK_LEAST,
  BLOCK_TRAILER,
  BYTE_ORDER,
  ENHANCED_PACKET,
  INTERFACE,
  OPTION,
  PACKET,
  padded,
  SECTION_HEADER,
  SIMPLE_PACKET,
} from './pcapng-layout.js';
import { TimeScale } from './pcapng-time.js';
import type { ByteSource } from './source.js';

/** Of a section; who claims more wants our memory. */
const MOST_INTERFACES = 65_536;
/** What is read of an interface's options: those that matter stand within it, or are not read. */
const MOST_OPTIONS = 65_536;

interface Interface {
  readonly linkType: number;
  /** 0: none. */
  readonly snapLength: number;
  readonly scale: TimeScale;
}

/** The block in work. */
interface Block {
  readonly type: number;
  readonly offset: number;
  readonly length: number;
}

/** What a packet block says before its data. */
interface PacketHead {
  readonly interface: number;
  readonly time?: readonly [high: number, low: number];
  readonly captured: number;
  readonly original: number;
}

export class PcapngReader implements Capture {
  readonly linkType = undefined;
  readonly odd: OddRecords = { longerThanOriginal: 0, longerThanSnapLength: 0 };
  readonly #source: ByteSource;
  readonly #interfaces: Interface[] = [];
  #bigEndian = false;
  #number = 1;

  /**
   * @param source at the file's first byte; closed by `close()`
   * @throws CaptureError when no section begins there
   */
  constructor(source: ByteSource) {
    this.#source = source;
    const block = this.#begin();
    if (block.type !== SECTION_HEADER) throw this.#damaged(0, 'is no section header');
    this.#section(block);
    this.#end(block);
  }

  *records(): Generator<CaptureRecord, void, undefined> {
    while (!this.#source.atEnd) {
      const block = this.#begin();
      const record = this.#body(block);
      this.#end(block);
      if (record === undefined) continue;
      yield record;
      this.#number += 1;
    }
  }

  close(): void {
    this.#source.close();
  }

  /** Type and length; of a section its byte order as well, without which the length says nothing. */
  #begin(): Block {
    const { offset } = this.#source;
    const head = this.#source.peek(BLOCK_HEADER + 4);
    if (head.length < BLOCK_HEADER + 4) throw this.#endsInside(offset);
    // The same in either byte order.
    if (head.readUInt32BE(0) === SECTION_HEADER) {
      const isBig = head.readUInt32BE(BLOCK_HEADER) === BYTE_ORDER;
      if (!isBig && head.readUInt32LE(BLOCK_HEADER) !== BYTE_ORDER) {
        throw this.#damaged(offset, 'is a section header without a byte order');
      }
      this.#bigEndian = isBig;
    }
    const length = this.#word(head, 4);
    if (length < BLOCK_LEAST || length % 4 !== 0) {
      throw this.#damaged(offset, `claims ${length} bytes, which no block has`);
    }
    this.#source.take(BLOCK_HEADER);
    return { type: this.#word(head, 0), offset, length };
  }

  #body(block: Block): CaptureRecord | undefined {
    switch (block.type) {
      case SECTION_HEADER:
        this.#section(block);
        return undefined;
      case INTERFACE:
        this.#interface(block);
        return undefined;
      case ENHANCED_PACKET:
      case PACKET:
      case SIMPLE_PACKET:
        return this.#packet(block);
      default:
        return undefined;
    }
  }

  /** Passes over what was not read of the block; its length must stand there again. */
  #end(block: Block): void {
    const { offset, length } = block;
    const end = offset + length - BLOCK_TRAILER;
    if (!this.#source.skip(end - this.#source.offset)) throw this.#endsInside(offset);
    const trailer = this.#source.take(BLOCK_TRAILER);
    if (trailer.length < BLOCK_TRAILER) throw this.#endsInside(offset);
    const again = this.#word(trailer, 0);
    if (again !== length) {
      throw this.#damaged(offset, `claims ${length} bytes before its body, ${again} behind it`);
    }
  }

  #section(block: Block): void {
    const body = this.#take(block, 8);
    const major = this.#half(body, 4);
    if (major !== 1) {
      const version = `${major}.${this.#half(body, 6)}`;
      throw this.#source.error(`is pcapng version ${version}; weft reads version 1`);
    }
    this.#interfaces.length = 0;
  }

  #interface(block: Block): void {
    if (this.#interfaces.length === MOST_INTERFACES) {
      throw this.#damaged(block.offset, `is interface ${MOST_INTERFACES + 1} of its section`);
    }
    const body = this.#take(block, 8);
    let resolution = 6;
    let timeOffset = 0n;
    for (const { code, value } of this.#options(block)) {
      if (code === OPTION.timeResolution && value.length === 1) resolution = value[0]!;
      if (code === OPTION.timeOffset && value.length === 8) timeOffset = this.#signed64(value);
    }
    this.#interfaces.push({
      linkType: this.#half(body, 0),
      snapLength: this.#word(body, 4),
      scale: new TimeScale(resolution, timeOffset),
    });
  }

  /** Up to the end of them, or of the block. */
  *#options(block: Block): Generator<{ code: number; value: Buffer }, void, undefined> {
    const bytes = this.#take(block, Math.min(this.#left(block), MOST_OPTIONS));
    for (let at = 0; at + 4 <= bytes.length; ) {
      const code = this.#half(bytes, at);
      const length = this.#half(bytes, at + 2);
      if (code === OPTION.end) return;
      if (at + 4 + length > bytes.length) {
        throw this.#damaged(block.offset, `has option ${code} of ${length} bytes, past its end`);
      }
      yield { code, value: bytes.subarray(at + 4, at + 4 + length) };
      at += 4 + padded(length);
    }
  }

  #packet(block: Block): CaptureRecord {
    const { interface: id, time, captured, original } = this.#packetHead(block);
    const from = this.#interfaces[id];
    if (from === undefined) {
      throw this.#damaged(
        block.offset,
        `holds record ${this.#number} of interface ${id}, which its section has not`,
      );
    }
    const { linkType, snapLength, scale } = from;
    if (snapLength !== 0 && captured > snapLength) this.odd.longerThanSnapLength += 1;
    if (captured > original) this.odd.longerThanOriginal += 1;
    const data = this.#take(block, captured);
    return {
      number: this.#number,
      time: time === undefined ? undefined : scale.time(...time),
      linkType,
      bytes: data.subarray(0, Math.min(captured, original)),
      originalLength: original,
    };
  }

  #packetHead(block: Block): PacketHead {
    if (block.type === SIMPLE_PACKET) {
      const original = this.#word(this.#take(block, 4), 0);
      // How much was captured is not said: what the block holds, less what fills the last word.
      const snapLength = this.#interfaces[0]?.snapLength ?? 0;
      const most = snapLength === 0 ? original : Math.min(original, snapLength);
      const captured = Math.min(most, this.#left(block));
      this.#checkLength(block, captured);
      return { interface: 0, captured, original };
    }
    const head = this.#take(block, 20);
    const captured = this.#word(head, 12);
    this.#checkLength(block, captured);
    return {
      interface: block.type === PACKET ? this.#half(head, 0) : this.#word(head, 0),
      time: [this.#word(head, 4), this.#word(head, 8)],
      captured,
      original: this.#word(head, 16),
    };
  }

  #checkLength(block: Block, captured: number): void {
    const left = this.#left(block);
    if (captured <= left && captured <= MAX_RECORD) return;
    const why =
      captured > left
        ? `where it has ${left}`
        : `more than the ${MAX_RECORD} any capture program writes`;
    throw this.#damaged(
      block.offset,
      `holds record ${this.#number}, which claims ${captured} bytes, ${why}`,
    );
  }

  /** Bytes of the block's body that were not taken yet. */
  #left(block: Block): number {
    return block.offset + block.length - BLOCK_TRAILER - this.#source.offset;
  }

  /** The next bytes of the block's body. */
  #take(block: Block, length: number): Buffer {
    const left = this.#left(block);
    if (left < length) throw this.#damaged(block.offset, `claims ${block.length} bytes, too few`);
    const bytes = this.#source.take(length);
    if (bytes.length < length) throw this.#endsInside(block.offset);
    return bytes;
  }

  #half(bytes: Buffer, at: number): number {
    return this.#bigEndian ? bytes.readUInt16BE(at) : bytes.readUInt16LE(at);
  }

  #word(bytes: Buffer, at: number): number {
    return this.#bigEndian ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at);
  }

  #signed64(bytes: Buffer): bigint {
    return this.#bigEndian ? bytes.readBigInt64BE(0) : bytes.readBigInt64LE(0);
  }

  #endsInside(offset: number): Error {
    return this.#source.error(
      `file ends inside the block at offset ${offset}, behind ${this.#number - 1} records; ` +
        'all complete records before it were read',
    );
  }

  #damaged(offset: number, what: string): Error {
    return this.#source.error(
      `the block at offset ${offset} ${what}; the file is damaged from here on`,
    );
  }
}
