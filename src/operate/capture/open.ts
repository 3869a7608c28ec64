/** Finds out what a capture file is and picks the reader for it. */
import fs from 'node:fs';
import { type Capture, CaptureError } from './capture.js';
import { FILE_HEADER, PcapReader } from './pcap-reader.js';

/** How many of a file's first bytes are looked at. */
const SNIFFED = 64;

const CONVERT = 'convert it with: editcap -F pcap IN OUT';

/** First bytes (in hexadecimal) of what weft knows but does not read, and the way out. */
const NAMED: readonly (readonly [magic: string, what: string, wayOut: string])[] = [
  ['4d3cb2a1', 'a pcap capture with nanosecond times', CONVERT],
  ['a1b23c4d', 'a pcap capture with nanosecond times', CONVERT],
  ['34cdb2a1', 'a modified pcap capture (magic a1b2cd34)', CONVERT],
  ['a1b2cd34', 'a modified pcap capture (magic a1b2cd34)', CONVERT],
  ['0a0d0d0a', 'a pcapng capture', CONVERT],
  ['736e6f6f70000000', 'a snoop capture', CONVERT],
  ['1f8b', 'compressed with gzip', 'unpack it first with gunzip'],
  ['28b52ffd', 'compressed with zstd', 'unpack it first with zstd -d'],
  ['fd377a585a00', 'compressed with xz', 'unpack it first with unxz'],
  ['425a68', 'compressed with bzip2', 'unpack it first with bunzip2'],
];

const KINDS: readonly (readonly [is: (stats: fs.Stats) => boolean, what: string])[] = [
  [(stats) => stats.isDirectory(), 'a directory'],
  [(stats) => stats.isCharacterDevice(), 'a character device'],
  [(stats) => stats.isBlockDevice(), 'a block device'],
  [(stats) => stats.isFIFO(), 'a pipe; write the capture to a file first'],
  [(stats) => stats.isSocket(), 'a socket'],
];

/**
 * Opens a capture for reading.
 *
 * @throws CaptureError when the file cannot be opened or is nothing weft reads: the message
 *   says what it is instead (nanosecond pcap, pcapng, gzip, text, a directory …)
 */
export function openCapture(file: string): Capture {
  let descriptor: number | undefined;
  try {
    // Asked before opening, since opening a pipe without a writer would block.
    const kind = KINDS.find(([is]) => is(statOf(file)));
    if (kind !== undefined) throw new CaptureError(`${file}: is no capture but ${kind[1]}`);
    descriptor = fs.openSync(file, 'r');
    const { size } = fs.fstatSync(descriptor);
    const head = Buffer.alloc(Math.min(SNIFFED, size));
    fs.readSync(descriptor, head, 0, head.length, 0);
    refuseUnlessPcap(file, head, size);
    return new PcapReader(file, descriptor, size);
  } catch (error) {
    if (descriptor !== undefined) fs.closeSync(descriptor);
    if (error instanceof CaptureError) throw error;
    throw new CaptureError(`${file}: cannot be read: ${(error as Error).message}`);
  }
}

function statOf(file: string): fs.Stats {
  const stats = fs.statSync(file, { throwIfNoEntry: false });
  if (stats === undefined) throw new CaptureError(`${file}: there is no such file`);
  return stats;
}

function refuseUnlessPcap(file: string, head: Buffer, size: number): void {
  if (size === 0) throw new CaptureError(`${file}: is not a capture: the file is empty`);
  const hex = head.toString('hex');
  const named = NAMED.find(([magic]) => hex.startsWith(magic));
  if (named !== undefined) {
    const [, what, wayOut] = named;
    throw new CaptureError(
      `${file}: is ${what}, while weft reads pcap captures with microsecond times, ` +
        `as tcpdump -w writes them; ${wayOut}`,
    );
  }
  if (!hex.startsWith('d4c3b2a1') && !hex.startsWith('a1b2c3d4')) {
    const what = isText(head) ? 'text' : `unknown, beginning with ${hex.slice(0, 16)}`;
    throw new CaptureError(`${file}: is not a capture: its content is ${what}`);
  }
  if (size < FILE_HEADER) {
    throw new CaptureError(
      `${file}: is not a capture: ${size} bytes, less than the ${FILE_HEADER} of a pcap header`,
    );
  }
}

function isText(head: Buffer): boolean {
  return (
    head.every((byte) => byte === 9 || byte === 10 || byte === 13 || byte >= 32) &&
    !head.includes(127)
  );
}
