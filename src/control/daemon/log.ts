/** Log lines on standard error, as flanneld's: severity, time, text. */
import type { Log } from '../runtime.js';

/** Control characters, which names and values from the store may hold: a line stays one line. */
const CONTROL = /[\p{Cc}\u2028\u2029]/gu;

/** One line, its line end included. */
export function formatLine(severity: string, time: Date, text: string): string {
  const clean = text.replaceAll(CONTROL, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
  return `${severity} ${time.toISOString().slice(11, 23)} ${clean}\n`;
}

/** `verbosity` 0: info and above; 1 and more: debug too. */
export function createLog(verbosity: number): Log {
  const write = (severity: string, text: string): void => {
    process.stderr.write(formatLine(severity, new Date(), text));
  };
  return {
    error: (text) => write('E', text),
    warn: (text) => write('W', text),
    info: (text) => write('I', text),
    debug: (text) => {
      if (verbosity > 0) write('D', text);
    },
  };
}
