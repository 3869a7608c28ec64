/**
 * Classic pcap captures, micro- or nanosecond, either byte order (their layout: pcap-layout.ts).
 * Here are the lengths looked at: against each other, the end of the file, and a bound.
 */
import { type Capture, type CaptureRecord, MAX_RECORD, type OddRecords } from './capture.js';
import { PackagedParser } from './packaged-parser.js';
import {
  capturedLength,
  FILE_HEADER,
  formatOf,
  OwnParser,
  type PcapParser,
  RECORD_HEADER,
} from './pcap-layout.js';
import type { ByteSource } from './source.js';

/** Bits 16 to 25 of the link-type word must be zero; those above say whether frames carry an FCS. */
const LINK_TYPE_RESERVED = 0x03ff0000;

const BILLION = 1_000_000_000;

export class PcapReader implements Capture {
  readonly linkType: number;
  readonly odd: OddRecords = { longerThanOriginal: 0, longerThanSnapLength: 0 };
  readonly #source: ByteSource;
  readonly #bigEndian: boolean;
  readonly #nanoseconds: boolean;
  readonly #snapLength: number;
  readonly #parser: PcapParser;

  /**
   * @param source at the file's first byte, with one of the magics of pcap-layout.ts there; closed
   *   by `close()`
   * @param parser pcap-parser for what it can read, weft's own for the rest, unless given
   * @throws CaptureError when the file header is not one of a pcap 2.4 capture
   */
  constructor(source: ByteSource, parser?: PcapParser) {
    this.#source = source;
    const bytes = source.take(FILE_HEADER);
    const format = bytes.length < FILE_HEADER ? undefined : formatOf(bytes);
    if (format === undefined) {
      throw source.error(
        `is not a capture: ${bytes.length} bytes, less than the ${FILE_HEADER} of a pcap header`,
      );
    }
    this.#bigEndian = format.bigEndian;
    this.#nanoseconds = format.nanoseconds;
    const usual = format.nanoseconds ? new OwnParser(format.bigEndian) : new PackagedParser();
    this.#parser = parser ?? usual;
    // Looked at here, since pcap-parser throws for another one.
    const { major, minor } = new OwnParser(format.bigEndian).header(bytes);
    if (major !== 2 || minor !== 4) {
      throw source.error(`is pcap version ${major}.${minor}; weft reads version 2.4`);
    }
    const header = this.#parser.header(bytes);
    this.linkType = this.#linkTypeOf(header.linkTypeWord);
    this.#snapLength = header.snapLength === 0 ? MAX_RECORD : header.snapLength;
  }

  *records(): Generator<CaptureRecord, void, undefined> {
    for (let number = 1; !this.#source.atEnd; number += 1) yield this.#next(number);
  }

  close(): void {
    this.#source.close();
  }

  #linkTypeOf(linkTypeWord: number): number {
    if ((linkTypeWord & LINK_TYPE_RESERVED) !== 0) {
      const word = linkTypeWord.toString(16).padStart(8, '0');
      throw this.#source.error(
        `the link-type word 0x${word} has reserved bits set, so the link type is unknown`,
      );
    }
    return linkTypeWord & 0xffff;
  }

  #next(number: number): CaptureRecord {
    const source = this.#source;
    const at = source.offset;
    const head = source.peek(RECORD_HEADER);
    if (head.length < RECORD_HEADER) throw this.#endsInside(number, at, RECORD_HEADER, head.length);
    const captured = capturedLength(head, this.#bigEndian);
    if (captured > MAX_RECORD) {
      throw source.error(
        `record ${number} claims ${captured} bytes, more than the ${MAX_RECORD} any capture ` +
          `program writes; the file is damaged from here on (offset ${at})`,
      );
    }
    const length = RECORD_HEADER + captured;
    const whole = source.take(length);
    if (whole.length < length) throw this.#endsInside(number, at, length, whole.length);

    const { seconds, fraction, originalLength, bytes } = this.#parser.record(whole);
    if (captured > this.#snapLength) this.odd.longerThanSnapLength += 1;
    if (captured > originalLength) this.odd.longerThanOriginal += 1;
    // A fraction of more than a second is nonsense that some writer left there.
    const nanoseconds = Math.min(this.#nanoseconds ? fraction : fraction * 1000, BILLION - 1);
    return {
      number,
      time: { seconds, nanoseconds, digits: this.#nanoseconds ? 9 : 6 },
      linkType: this.linkType,
      bytes: bytes.subarray(0, Math.min(captured, originalLength)),
      originalLength,
    };
  }

  #endsInside(number: number, at: number, wanted: number, left: number): Error {
    return this.#source.error(
      `file ends inside record ${number} (${left} bytes left of ${wanted}, from offset ${at}); ` +
        'all complete records before it were read',
    );
  }
}
