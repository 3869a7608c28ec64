/** Finds out what a capture file is and picks the reader for it. */
import fs from 'node:fs';
import { type Capture, CaptureError } from './capture.js';
import { formatOf } from './pcap-layout.js';
import { PcapReader } from './pcap-reader.js';
import { PcapngReader } from './pcapng-reader.js';
import { ByteSource } from './source.js';

/** How many of a file's first bytes are looked at. */
const SNIFFED = 64;

/** What weft reads, for people. */
const READ = 'weft reads pcap and pcapng captures, as tcpdump -w and dumpcap write them';

const CONVERT = () => 'convert it with: editcap -F pcapng IN OUT';
/** The command that unpacks it on the way, so that no second file is needed. */
const through = (command: string) => (file: string) =>
  `unpack it on the way: ${command} ${file === STDIN ? 'IN' : file} | weft replay - …`;

/** First bytes (in hexadecimal) of what weft knows but does not read, and the way out. */
const NAMED: readonly (readonly [magic: string, what: string, wayOut: (file: string) => string])[] =
  [
    ['34cdb2a1', 'a modified pcap capture (magic a1b2cd34)', CONVERT],
    ['a1b2cd34', 'a modified pcap capture (magic a1b2cd34)', CONVERT],
    ['736e6f6f70000000', 'a snoop capture', CONVERT],
    ['1f8b', 'compressed with gzip', through('zcat')],
    ['28b52ffd', 'compressed with zstd', through('zstdcat')],
    ['fd377a585a00', 'compressed with xz', through('xzcat')],
    ['425a68', 'compressed with bzip2', through('bzcat')],
    ['04224d18', 'compressed with lz4', through('lz4cat')],
  ];

/** A pipe (`<(zcat …)`) is read as a file is. */
const KINDS: readonly (readonly [is: (stats: fs.Stats) => boolean, what: string])[] = [
  [(stats) => stats.isDirectory(), 'a directory'],
  [(stats) => stats.isCharacterDevice(), 'a character device'],
  [(stats) => stats.isBlockDevice(), 'a block device'],
];

const PCAPNG = '0a0d0d0a';

/** The name of standard input. */
export const STDIN = '-';

/**
 * Opens a capture for reading; `-` is standard input.
 *
 * @throws CaptureError when the file cannot be opened or is nothing weft reads: the message
 *   says what it is instead (gzip, text, a directory …)
 */
export function openCapture(file: string): Capture {
  let descriptor: number | undefined;
  try {
    // Asked before opening, since to open a device may do something.
    const kind = KINDS.find(([is]) => is(statOf(file)));
    if (kind !== undefined) throw new CaptureError(`${file}: is no capture but ${kind[1]}`);
    descriptor = file === STDIN ? 0 : fs.openSync(file, 'r');
    return readerFor(new ByteSource(file, descriptor));
  } catch (error) {
    if (descriptor !== undefined) fs.closeSync(descriptor);
    if (error instanceof CaptureError) throw error;
    throw new CaptureError(`${file}: cannot be read: ${(error as Error).message}`);
  }
}

function statOf(file: string): fs.Stats {
  if (file === STDIN) return fs.fstatSync(0);
  const stats = fs.statSync(file, { throwIfNoEntry: false });
  if (stats === undefined) throw new CaptureError(`${file}: there is no such file`);
  return stats;
}

function readerFor(source: ByteSource): Capture {
  const head = source.peek(SNIFFED);
  if (head.length === 0) throw source.error('is not a capture: the file is empty');
  const hex = head.toString('hex');
  const named = NAMED.find(([magic]) => hex.startsWith(magic));
  if (named !== undefined) {
    const [, what, wayOut] = named;
    throw source.error(`is ${what}, while ${READ}; ${wayOut(source.file)}`);
  }
  if (hex.startsWith(PCAPNG)) return new PcapngReader(source);
  if (head.length >= 4 && formatOf(head) !== undefined) return new PcapReader(source);
  const what = isText(head) ? 'text' : `unknown, beginning with ${hex.slice(0, 16)}`;
  throw source.error(`is not a capture: its content is ${what}; ${READ}`);
}

function isText(head: Buffer): boolean {
  return (
    head.every((byte) => byte === 9 || byte === 10 || byte === 13 || byte >= 32) &&
    !head.includes(127)
  );
}
