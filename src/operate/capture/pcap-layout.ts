/**
 * The classic pcap format (https://www.tcpdump.org/manpages/pcap-savefile.5.html):
 *
 *   file header 24:   magic 4, version 2+2, zone 4, accuracy 4, snap length 4, link type 4
 *   record header 16: seconds 4, fraction 4, captured length 4, original length 4
 *
 * in the byte order of whoever wrote it, which the magic tells; and whether the fraction counts
 * micro- or nanoseconds.
 */
export const FILE_HEADER = 24;
export const RECORD_HEADER = 16;

export const MICROSECONDS = 0xa1b2c3d4;
const NANOSECONDS = 0xa1b23c4d;

export interface PcapHeader {
  readonly major: number;
  readonly minor: number;
  /** 0: none. */
  readonly snapLength: number;
  /** The whole word: see `linkTypeOf`. */
  readonly linkTypeWord: number;
}

export interface PcapRecord {
  readonly seconds: number;
  /** Micro- or nanoseconds. */
  readonly fraction: number;
  readonly originalLength: number;
  readonly bytes: Buffer;
}

/** Takes the format apart; the lengths were looked at before. */
export interface PcapParser {
  /** @param bytes FILE_HEADER of them. Throws an Error for what is none. */
  header(bytes: Buffer): PcapHeader;
  /** @param bytes one record with its header, as long as that says; may be kept in the answer */
  record(bytes: Buffer): PcapRecord;
}

/** What the magic says; undefined where it is another one. */
export function formatOf(magic: Buffer): { bigEndian: boolean; nanoseconds: boolean } | undefined {
  for (const bigEndian of [false, true]) {
    const word = bigEndian ? magic.readUInt32BE(0) : magic.readUInt32LE(0);
    if (word === MICROSECONDS) return { bigEndian, nanoseconds: false };
    if (word === NANOSECONDS) return { bigEndian, nanoseconds: true };
  }
  return undefined;
}

export function capturedLength(recordHeader: Buffer, bigEndian: boolean): number {
  return bigEndian ? recordHeader.readUInt32BE(8) : recordHeader.readUInt32LE(8);
}

/** weft's own: reads all four forms. */
export class OwnParser implements PcapParser {
  readonly #bigEndian: boolean;

  constructor(bigEndian: boolean) {
    this.#bigEndian = bigEndian;
  }

  header(bytes: Buffer): PcapHeader {
    const half = (at: number) =>
      this.#bigEndian ? bytes.readUInt16BE(at) : bytes.readUInt16LE(at);
    return {
      major: half(4),
      minor: half(6),
      snapLength: this.#word(bytes, 16),
      linkTypeWord: this.#word(bytes, 20),
    };
  }

  record(bytes: Buffer): PcapRecord {
    return {
      seconds: this.#word(bytes, 0),
      fraction: this.#word(bytes, 4),
      originalLength: this.#word(bytes, 12),
      bytes: bytes.subarray(RECORD_HEADER),
    };
  }

  #word(bytes: Buffer, at: number): number {
    return this.#bigEndian ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at);
  }
}
