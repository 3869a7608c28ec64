/**
 * What Node and packages write to standard output and error becomes lines of log: they would wait
 * for a terminal that was stopped, and what one says need not be one line.
 */
import process from 'node:process';
import { Writable } from 'node:stream';
import type { Log } from '../runtime.js';

export function logWhatPackagesSay(log: Log): void {
  // Without --no-warnings Node writes them itself.
  process.removeAllListeners('warning');
  process.on('warning', ({ name, message }) => {
    const line = `${name}: ${message}`;
    if (name === 'DeprecationWarning') log.debug(line);
    else log.warn(line);
  });
  for (const name of ['stdout', 'stderr'] as const) {
    const stream = new Writable({
      decodeStrings: false,
      write(chunk: string | Buffer, _encoding, done) {
        for (const line of chunk.toString().split('\n')) if (line !== '') log.info(line);
        done();
      },
    });
    Object.defineProperty(process, name, { value: stream, configurable: true, writable: true });
  }
}
