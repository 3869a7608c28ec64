/**
 * Writes a classic pcap capture: microsecond times, little-endian, link type raw IP, so each
 * record begins with an IP header. (Layout of the headers: pcap-layout.ts.)
 */
import fs from 'node:fs';
import { type CaptureTime, MAX_RECORD } from './capture.js';
import { FILE_HEADER, MICROSECONDS, RECORD_HEADER } from './pcap-layout.js';

/** LINKTYPE_RAW: the IP version is told from the first nibble. */
const RAW_IP = 101;

type Moment = Pick<CaptureTime, 'seconds' | 'nanoseconds'>;
/** For a packet whose time nobody knows. */
const NEVER: Moment = { seconds: 0, nanoseconds: 0 };
const SECONDS_MAX = 0xffffffff;

export class PcapWriter {
  readonly #descriptor: number;

  /**
   * Creates the file, or empties it. Throws the system's error when it cannot be written.
   * @param mode of a new file, less what the umask takes
   */
  constructor(file: string, mode = 0o666) {
    this.#descriptor = fs.openSync(file, 'w', mode);
    const header = Buffer.alloc(FILE_HEADER);
    header.writeUInt32LE(MICROSECONDS, 0);
    header.writeUInt16LE(2, 4);
    header.writeUInt16LE(4, 6);
    header.writeUInt32LE(MAX_RECORD, 16);
    header.writeUInt32LE(RAW_IP, 20);
    fs.writeFileSync(this.#descriptor, header);
  }

  /** Appends one whole IP packet, of 1970 where `time` is undefined; seconds that 32 bits do not hold become the nearest that do. */
  write(time: Moment | undefined, packet: Uint8Array): void {
    const { seconds, nanoseconds } = time ?? NEVER;
    const record = Buffer.alloc(RECORD_HEADER + packet.length);
    record.writeUInt32LE(Math.min(Math.max(seconds, 0), SECONDS_MAX), 0);
    record.writeUInt32LE(Math.floor(nanoseconds / 1000), 4);
    record.writeUInt32LE(packet.length, 8);
    record.writeUInt32LE(packet.length, 12);
    record.set(packet, RECORD_HEADER);
    fs.writeFileSync(this.#descriptor, record);
  }

  close(): void {
    fs.closeSync(this.#descriptor);
  }
}
