/**
 * The one way in which a command speaks to standard output and error. Whatever comes from outside is
 * made plain here; an error of the stream ends nothing that is being done: where the reader has gone
 * (`weft status | head`) the rest is unheard, any other error is told once and is exit code 1.
 */
import fs from 'node:fs';
import tty from 'node:tty';
import { isJournal } from '../control/daemon/log.js';
import { type PlainJson, plain, plainLines } from '../operate/status/plain.js';

/** What a stream of this process has become. */
const failed = new Map<number, NodeJS.ErrnoException>();

/** One line to standard output. */
export function print(line: string): void {
  write(1, `${plain(line)}\n`);
}

/** Lines of weft's own, such as a help text, with its line end. */
export function printText(text: string): void {
  write(1, plainLines(text));
}

export function printJson(json: PlainJson): void {
  write(1, `${json}\n`);
}

/** One line to standard error: an error, where it is the journal that reads it. */
export function complain(line: string): void {
  const priority = isJournal(process.env.JOURNAL_STREAM) ? '<3>' : '';
  write(2, `${priority}${plain(line)}\n`);
}

export function complainText(text: string): void {
  write(2, plainLines(text));
}

/** Text with weft's own colours in it, what is from outside made plain already. */
export function paint(fd: 1 | 2, text: string): void {
  write(fd, text);
}

/** Whether colours make sense there. */
export function isTerminal(fd: 1 | 2): boolean {
  return tty.isatty(fd) && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
}

/** Whether nobody reads there any more. */
export function stopped(fd: 1 | 2): boolean {
  return failed.has(fd);
}

export interface TerminalSize {
  readonly rows: number;
  readonly columns: number;
}

/** Of the terminal that is standard output, just now. */
export function terminalSize(): TerminalSize {
  let [columns, rows] = [0, 0];
  try {
    // It looks once, as it is made; and has the terminal open for itself.
    const terminal = new tty.WriteStream(1);
    [columns, rows] = terminal.getWindowSize();
    terminal.destroy();
  } catch {
    // What a terminal has that does not tell.
  }
  return { rows: rows > 0 ? rows : 24, columns: columns > 0 ? columns : 80 };
}

/** Why not all of the output could be written; undefined where it was, or nobody wanted it. */
export function outputLost(): string | undefined {
  const error = failed.get(1);
  return error === undefined || error.code === 'EPIPE' ? undefined : error.message;
}

function write(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length && !failed.has(fd); ) {
    try {
      at += fs.writeSync(fd, bytes, at);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === undefined) throw error;
      // Another process made the open file non-blocking: as long as it takes.
      if (code === 'EAGAIN') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
      else failed.set(fd, error as NodeJS.ErrnoException);
    }
  }
}
