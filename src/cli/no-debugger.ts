/**
 * Switches Node's debugger off for good; imported before all else, since it runs at once.
 *
 * Whoever reaches the debugger's port, any user of this host, runs code in the process: in weft with
 * root's rights. Node opens it at SIGUSR1, which from here on means nothing, and for NODE_OPTIONS and
 * arguments as --inspect, before the first line of ours: it is closed again. The threads of the
 * lanes have none but that of the process.
 */
import type Inspector from 'node:inspector';
import { createRequire } from 'node:module';
import process from 'node:process';
import { Worker } from 'node:worker_threads';

/** How often it is looked for: a SIGUSR1 of the first milliseconds may open it a little later. */
const EVERY_MS = 1_000;

/**
 * Closing waits for whoever is attached, and who is may stay for ever, or has planted something
 * already. So there is an end to that; it is told from another thread, as this one waits.
 */
const NOBODY_STAYS = `
const { workerData } = require('node:worker_threads');
setTimeout(() => {
  require('node:fs').writeSync(2, workerData);
  process.kill(process.pid, 'SIGKILL');
}, 1_000);`;
const ATTACHED = "weft: a debugger is attached to Node's inspector and stays: weft ends\n";

/** The signals that --heapsnapshot-signal and --report-on-signal may have taken: secrets on disk. */
for (const signal of process.eventNames()) {
  if (typeof signal === 'string' && signal.startsWith('SIG')) process.removeAllListeners(signal);
}
process.on('SIGUSR1', () => {});
if (process.report !== undefined) process.report.reportOnSignal = false;

let found: string[] = [];
let tell = (line: string): void => void found.push(line);

/** From now on this is told of it; what was found before, at once. */
export function tellOfDebugger(teller: (line: string) => void): void {
  tell = teller;
  for (const line of found) tell(line);
  found = [];
}

// Not every Node is built with it.
if (process.features.inspector) {
  const inspector = createRequire(import.meta.url)('node:inspector') as typeof Inspector;
  close(inspector);
  setInterval(() => close(inspector), EVERY_MS).unref();
}

function close(inspector: typeof Inspector): void {
  const url = inspector.url();
  if (url === undefined) return;
  const limit = new Worker(NOBODY_STAYS, {
    ...{ eval: true, workerData: ATTACHED },
    ...{ execArgv: [], env: {} },
  });
  limit.unref();
  inspector.close();
  void limit.terminate();
  tell(
    `Node's inspector was open at ${new URL(url).host}, where any user of this host could have run ` +
      'code in weft: closed; take --inspect… out of NODE_OPTIONS and the arguments of node',
  );
}
