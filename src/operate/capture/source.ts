/**
 * The bytes of a file or a pipe, one after the other, through one buffer of fixed size: what a
 * capture claims about itself never decides how much memory is taken before it is there.
 */
import fs from 'node:fs';
import { CaptureError, MAX_RECORD } from './capture.js';

/** The longest record fits, with the headers of any format. */
const CHUNK = 2 * MAX_RECORD;

export class ByteSource {
  /** For messages. */
  readonly file: string;
  readonly #descriptor: number;
  readonly #chunk = Buffer.allocUnsafe(CHUNK);
  #from = 0;
  #to = 0;
  #offset = 0;
  #hasEnded = false;

  /** @param descriptor open for reading, from where it stands; closed by `close` */
  constructor(file: string, descriptor: number) {
    this.file = file;
    this.#descriptor = descriptor;
  }

  /** Of the next byte: how many were taken or skipped. */
  get offset(): number {
    return this.#offset;
  }

  /** The next `length` bytes, at most 512 KiB, which stay there; fewer where the file ends. */
  peek(length: number): Buffer {
    this.#fill(length);
    const to = Math.min(this.#from + length, this.#to);
    return Buffer.from(this.#chunk.subarray(this.#from, to));
  }

  /** The next `length` bytes, at most 512 KiB, in a buffer of their own; fewer where the file ends. */
  take(length: number): Buffer {
    const bytes = this.peek(length);
    this.#advance(bytes.length);
    return bytes;
  }

  /** Passes over `length` bytes; false where the file ends before. */
  skip(length: number): boolean {
    for (let left = length; left > 0; ) {
      if (!this.#fill(1)) return false;
      const step = Math.min(left, this.#to - this.#from);
      this.#advance(step);
      left -= step;
    }
    return true;
  }

  /** Whether there is nothing more. */
  get atEnd(): boolean {
    return !this.#fill(1);
  }

  /** An error at an offset; the message names the file. */
  error(what: string): CaptureError {
    return new CaptureError(`${this.file}: ${what}`);
  }

  close(): void {
    fs.closeSync(this.#descriptor);
  }

  #advance(length: number): void {
    this.#from += length;
    this.#offset += length;
  }

  /** Reads until `length` bytes are there; false where the file ends before. */
  #fill(length: number): boolean {
    if (this.#to - this.#from >= length) return true;
    this.#chunk.copyWithin(0, this.#from, this.#to);
    this.#to -= this.#from;
    this.#from = 0;
    while (this.#to < length && !this.#hasEnded) {
      const got = this.#read();
      this.#hasEnded = got === 0;
      this.#to += got;
    }
    return this.#to >= length;
  }

  #read(): number {
    const { length } = this.#chunk;
    try {
      return fs.readSync(this.#descriptor, this.#chunk, this.#to, length - this.#to, null);
    } catch (error) {
      const at = this.#offset + this.#to - this.#from;
      throw this.error(`cannot be read at offset ${at}: ${(error as Error).message}`);
    }
  }
}
