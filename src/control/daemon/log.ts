/** Log lines on standard error, as flanneld's: severity, time, text. */
import type { Log } from '../runtime.js';

function line(severity: string, text: string): void {
  const time = new Date().toISOString().slice(11, 23);
  process.stderr.write(`${severity} ${time} ${text}\n`);
}

/** `verbosity` 0: info and above; 1 and more: debug too. */
export function createLog(verbosity: number): Log {
  return {
    error: (text) => line('E', text),
    warn: (text) => line('W', text),
    info: (text) => line('I', text),
    debug: (text) => {
      if (verbosity > 0) line('D', text);
    },
  };
}
