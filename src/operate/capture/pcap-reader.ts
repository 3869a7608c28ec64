/**
 * Classic pcap files with microsecond times, either byte order, read with pcap-parser.
 *
 *   file header 24: magic 4, version 2+2, zone 4, accuracy 4, snap length 4, link type 4
 *   record header 16: seconds 4, microseconds 4, captured length 4, original length 4
 *
 * pcap-parser believes every length it reads and would gather the whole rest of a file for a
 * record that lies, so it is fed one record at a time, after the length was checked here.
 */
import { EventEmitter } from 'node:events';
import fs from 'node:fs';
import { type GlobalHeader, type Packet, type Parser, parse } from 'pcap-parser';
import { type Capture, CaptureError, type CaptureRecord, type OddRecords } from './capture.js';

export const FILE_HEADER = 24;
const RECORD_HEADER = 16;
const CAPTURED_LENGTH = 8;

/** The largest record taken, in bytes: what libpcap allows itself as its greatest snap length. */
export const MAX_RECORD = 262_144;

/** Bits 16 to 25 of the link-type word must be zero; those above say whether frames carry an FCS. */
const LINK_TYPE_RESERVED = 0x03ff0000;

/** Stands in for the stream that pcap-parser wants: whoever holds it says when data comes. */
class Feed extends EventEmitter {
  pause(): void {}
  resume(): void {}
}

export class PcapReader implements Capture {
  readonly linkType: number;
  readonly odd: OddRecords = { longerThanOriginal: 0, longerThanSnapLength: 0 };
  readonly #file: string;
  readonly #descriptor: number;
  readonly #size: number;
  readonly #bigEndian: boolean;
  readonly #snapLength: number;
  readonly #feed = new Feed();
  readonly #parser: Parser;
  #packet: Packet | undefined;
  #offset = FILE_HEADER;

  /**
   * @param file for messages
   * @param descriptor an open regular file; closed by `close()`
   * @param size of the file in bytes, at least 24; what is appended later is not read
   * @throws CaptureError when the file header is not one of a pcap 2.4 capture
   */
  constructor(file: string, descriptor: number, size: number) {
    this.#file = file;
    this.#descriptor = descriptor;
    this.#size = size;
    this.#parser = parse(this.#feed);
    let header: GlobalHeader | undefined;
    let fault = 'no header';
    this.#parser.on('globalHeader', (seen) => {
      header = seen;
    });
    this.#parser.on('error', (error) => {
      fault = error.message;
    });
    this.#parser.on('packet', (packet) => {
      this.#packet = packet;
    });

    const bytes = this.#read(0, FILE_HEADER);
    this.#bigEndian = bytes[0] === 0xa1;
    this.#feed.emit('data', bytes);
    if (header === undefined) throw new CaptureError(`${file}: is no pcap capture: ${fault}`);
    const { majorVersion, minorVersion, linkLayerType, snapshotLength } = header;
    if (majorVersion !== 2 || minorVersion !== 4) {
      const version = `${majorVersion}.${minorVersion}`;
      throw new CaptureError(`${file}: is pcap version ${version}; weft reads version 2.4`);
    }
    if ((linkLayerType & LINK_TYPE_RESERVED) !== 0) {
      const word = linkLayerType.toString(16).padStart(8, '0');
      throw new CaptureError(
        `${file}: the link-type word 0x${word} has reserved bits set, so the link type is unknown`,
      );
    }
    this.linkType = linkLayerType & 0xffff;
    this.#snapLength = snapshotLength === 0 ? MAX_RECORD : snapshotLength;
  }

  *records(): Generator<CaptureRecord, void, undefined> {
    for (let number = 1; this.#offset < this.#size; number += 1) yield this.#next(number);
  }

  close(): void {
    fs.closeSync(this.#descriptor);
  }

  #next(number: number): CaptureRecord {
    const left = this.#size - this.#offset;
    if (left < RECORD_HEADER) throw this.#endsInside(number, RECORD_HEADER, left);
    const head = this.#read(this.#offset, RECORD_HEADER);
    const captured = this.#bigEndian
      ? head.readUInt32BE(CAPTURED_LENGTH)
      : head.readUInt32LE(CAPTURED_LENGTH);
    if (captured > MAX_RECORD) {
      throw new CaptureError(
        `${this.#file}: record ${number} claims ${captured} bytes, more than the ` +
          `${MAX_RECORD} any capture program writes; the file is damaged from here on`,
      );
    }
    const length = RECORD_HEADER + captured;
    if (left < length) throw this.#endsInside(number, length, left);

    // Empty by now; null spares the record a copy by the deprecated Buffer constructor.
    this.#parser.buffer = null;
    this.#packet = undefined;
    this.#feed.emit('data', this.#read(this.#offset, length));
    this.#offset += length;
    if (this.#packet === undefined) {
      throw new CaptureError(`${this.#file}: record ${number} could not be parsed`);
    }
    const { header, data }: Packet = this.#packet;
    const { originalLength } = header;
    if (captured > this.#snapLength) this.odd.longerThanSnapLength += 1;
    if (captured > originalLength) this.odd.longerThanOriginal += 1;
    return {
      number,
      seconds: header.timestampSeconds,
      microseconds: header.timestampMicroseconds,
      bytes: data.subarray(0, Math.min(captured, originalLength)),
      originalLength,
    };
  }

  #endsInside(number: number, wanted: number, left: number): CaptureError {
    return new CaptureError(
      `${this.#file}: file ends inside record ${number} (${left} bytes left of ${wanted}); ` +
        'all complete records before it were read',
    );
  }

  /** A fresh buffer, since pcap-parser's packets point into what it was fed. */
  #read(offset: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    const got = fs.readSync(this.#descriptor, bytes, 0, length, offset);
    if (got < length) {
      throw new CaptureError(
        `${this.#file}: ${got} of ${length} bytes could be read at offset ${offset}; ` +
          'was the file shortened meanwhile?',
      );
    }
    return bytes;
  }
}
