/** Capture files made by hand, for the tests of this folder. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';

/** The project's root, seen from dist/test/operate/capture. */
export const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
/** Where the golden captures lie. */
export const CAPTURES = path.join(ROOT, 'test/captures');

/** A folder that is removed when the test file ends. */
export function temporaryFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-capture-'));
  after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface RecordInput {
  readonly bytes: Uint8Array;
  readonly seconds?: number;
  readonly microseconds?: number;
  /** What the header claims; the true length when not given. */
  readonly captured?: number;
  readonly original?: number;
}

export interface PcapInput {
  readonly bigEndian?: boolean;
  /** The records' `microseconds` count nanoseconds. */
  readonly nanoseconds?: boolean;
  readonly version?: readonly [major: number, minor: number];
  readonly snapLength?: number;
  readonly linkType?: number;
  readonly records?: readonly RecordInput[];
}

/** The bytes of a classic pcap file. */
export function pcap(input: PcapInput = {}): Buffer {
  const { bigEndian = false, version = [2, 4], snapLength = 262_144, linkType = 1 } = input;
  const word = (value: number) => {
    const bytes = Buffer.alloc(4);
    if (bigEndian) bytes.writeUInt32BE(value);
    else bytes.writeUInt32LE(value);
    return bytes;
  };
  const half = (value: number) => {
    const bytes = Buffer.alloc(2);
    if (bigEndian) bytes.writeUInt16BE(value);
    else bytes.writeUInt16LE(value);
    return bytes;
  };
  const magic = input.nanoseconds === true ? 0xa1b23c4d : 0xa1b2c3d4;
  const parts = [word(magic), half(version[0]), half(version[1]), word(0), word(0)];
  parts.push(word(snapLength), word(linkType));
  for (const record of input.records ?? []) {
    const { bytes, seconds = 1_700_000_000, microseconds = 0 } = record;
    const { captured = bytes.length, original = bytes.length } = record;
    parts.push(word(seconds), word(microseconds), word(captured), word(original));
    parts.push(Buffer.from(bytes));
  }
  return Buffer.concat(parts);
}

export function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
}
