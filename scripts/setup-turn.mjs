/** One set-up at a time in a folder, since each compiles into it. Imports only `node:` modules. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { say } from './setup-step.mjs';

const LOOK_MS = 200;

/**
 * Resolves when it is this process' turn, which ends with the process: an abstract name (unix(7)) is
 * the kernel's to free, so nothing is left of one that was killed.
 */
export async function takeTurn(folder) {
  const name = `\0weft-setup-${createHash('sha256').update(folder).digest('hex')}`;
  for (let tries = 0; ; tries += 1) {
    const turn = net.createServer();
    try {
      turn.listen(name);
      await once(turn, 'listening');
      turn.unref();
      return;
    } catch (error) {
      if (error.code !== 'EADDRINUSE') throw error;
    }
    if (tries === 0) say('another one runs in this folder; waiting until it is done');
    await pause(LOOK_MS);
  }
}
