/**
 * The npm package pcap-parser, which reads classic captures with microsecond times.
 *
 * It believes every length it reads and would gather the whole rest of a file for a record that
 * lies, so it is fed one record at a time, after its length was checked (pcap-reader.ts).
 */
import { EventEmitter } from 'node:events';
import { type GlobalHeader, type Packet, type Parser, parse } from 'pcap-parser';
import type { PcapHeader, PcapParser, PcapRecord } from './pcap-layout.js';

/** Stands in for the stream that pcap-parser wants: whoever holds it says when data comes. */
class Feed extends EventEmitter {
  pause(): void {}
  resume(): void {}
}

export class PackagedParser implements PcapParser {
  readonly #feed = new Feed();
  readonly #parser: Parser;
  #header: GlobalHeader | undefined;
  #packet: Packet | undefined;
  #fault = 'no header';

  constructor() {
    this.#parser = parse(this.#feed);
    this.#parser.on('globalHeader', (header) => {
      this.#header = header;
    });
    this.#parser.on('error', (error) => {
      this.#fault = error.message;
    });
    this.#parser.on('packet', (packet) => {
      this.#packet = packet;
    });
  }

  header(bytes: Buffer): PcapHeader {
    this.#feed.emit('data', bytes);
    if (this.#header === undefined) throw new Error(this.#fault);
    const { majorVersion, minorVersion, linkLayerType, snapshotLength } = this.#header;
    return {
      major: majorVersion,
      minor: minorVersion,
      snapLength: snapshotLength,
      linkTypeWord: linkLayerType,
    };
  }

  record(bytes: Buffer): PcapRecord {
    // Empty by now; null spares the record a copy by the deprecated Buffer constructor.
    this.#parser.buffer = null;
    this.#packet = undefined;
    this.#feed.emit('data', bytes);
    const { header, data } = this.#taken();
    return {
      seconds: header.timestampSeconds,
      fraction: header.timestampMicroseconds,
      originalLength: header.originalLength,
      bytes: data,
    };
  }

  #taken(): Packet {
    if (this.#packet === undefined) throw new Error('pcap-parser made nothing of it');
    return this.#packet;
  }
}
