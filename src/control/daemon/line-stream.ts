/**
 * Where lines of log go. No error of it and no stall touches the daemon: a line that cannot be
 * written is dropped and counted, and the number is told in front of the next line that can be.
 */
import fs from 'node:fs';
import { AddonError, loadNative, type Native } from '../../dataplane/io/native.js';

/** The way out waits so long for its last lines. */
const FLUSH_MS = 500;

export interface LineStream {
  /** `told`: the line that tells of so many lost ones. */
  write(line: string, told: (lines: number) => string): void;
  /** Tries to tell of lost lines, without another line behind; nothing where none was lost. */
  retry(told: (lines: number) => string): void;
  /** Waits a moment for what is not written yet. */
  flush(): void;
  /** Lines lost so far. */
  readonly lost: number;
  /** Why, in words; empty while every line goes out. */
  readonly trouble: string;
}

type Lines = Pick<Native, 'linesWrite' | 'linesLost' | 'linesFlush' | 'errnoName'>;

/** By the addon's thread, which alone stands still when the descriptor does. */
export class ThreadStream implements LineStream {
  readonly #lines: Lines;
  /** Lines that were not taken, since too many wait. */
  #refused = 0;
  /** Of all lost ones, those that a line has told of, or tried to. */
  #told = 0;

  constructor(lines: Lines) {
    this.#lines = lines;
  }

  write(line: string, told: (lines: number) => string): void {
    const untold = this.#untold;
    const text = untold === 0 ? line : `${told(untold)}${line}`;
    if (this.#lines.linesWrite(text, untold)) this.#told += untold;
    else this.#refused += 1;
  }

  retry(told: (lines: number) => string): void {
    const untold = this.#untold;
    // Below 0: a try that fails is no line that is lost.
    if (untold > 0 && this.#lines.linesWrite(told(untold), -untold)) this.#told += untold;
  }

  flush(): void {
    this.#lines.linesFlush(FLUSH_MS);
  }

  get lost(): number {
    return this.#refused + this.#lines.linesLost()[0];
  }

  get trouble(): string {
    if (this.#untold === 0) return '';
    const [, , errno] = this.#lines.linesLost();
    return errno === 0 ? 'it takes no more' : this.#lines.errnoName(errno);
  }

  /** What a line carried that was lost itself is to be told again. */
  get #untold(): number {
    const [lines, carried] = this.#lines.linesLost();
    return this.#refused + lines - this.#told + carried;
  }
}

/** At once, for a command that ends soon: it waits for the descriptor, but no error comes of it. */
export const directStream: LineStream = {
  write(line) {
    try {
      fs.writeSync(2, line);
    } catch {
      // Nobody can be told.
    }
  },
  retry() {},
  flush() {},
  lost: 0,
  trouble: '',
};

/** Standard error; without a thread where there is no addon, which says so when it is needed. */
export function openStream(): LineStream {
  try {
    const native = loadNative();
    native.linesOpen(2);
    return new ThreadStream(native);
  } catch (error) {
    if (!(error instanceof AddonError)) throw error;
    return directStream;
  }
}
