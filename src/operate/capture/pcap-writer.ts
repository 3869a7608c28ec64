/**
 * Writes a classic pcap capture: microsecond times, little-endian, link type raw IP, so each
 * record begins with an IP header. (Layout of the headers: pcap-reader.ts.)
 */
import fs from 'node:fs';

const MAGIC = 0xa1b2c3d4;
const SNAP_LENGTH = 262_144;
/** LINKTYPE_RAW: the IP version is told from the first nibble. */
const RAW_IP = 101;
const FILE_HEADER = 24;
const RECORD_HEADER = 16;

export class PcapWriter {
  readonly #descriptor: number;

  /**
   * Creates the file, or empties it. Throws the system's error when it cannot be written.
   * @param mode of a new file, less what the umask takes
   */
  constructor(file: string, mode = 0o666) {
    this.#descriptor = fs.openSync(file, 'w', mode);
    const header = Buffer.alloc(FILE_HEADER);
    header.writeUInt32LE(MAGIC, 0);
    header.writeUInt16LE(2, 4);
    header.writeUInt16LE(4, 6);
    header.writeUInt32LE(SNAP_LENGTH, 16);
    header.writeUInt32LE(RAW_IP, 20);
    fs.writeFileSync(this.#descriptor, header);
  }

  /** Appends one whole IP packet with the time given. */
  write(seconds: number, microseconds: number, packet: Uint8Array): void {
    const record = Buffer.alloc(RECORD_HEADER + packet.length);
    record.writeUInt32LE(seconds, 0);
    record.writeUInt32LE(microseconds, 4);
    record.writeUInt32LE(packet.length, 8);
    record.writeUInt32LE(packet.length, 12);
    record.set(packet, RECORD_HEADER);
    fs.writeFileSync(this.#descriptor, record);
  }

  close(): void {
    fs.closeSync(this.#descriptor);
  }
}
