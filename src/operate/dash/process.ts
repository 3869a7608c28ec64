/**
 * The process that serves the page: it reads its code, gives up its rights, and only then listens. Told
 * over the channel of its parent, with which it ends.
 */
import process from 'node:process';
import type { FromServer, ToServer } from './messages.js';
import { DashServer } from './server.js';

let server: DashServer | undefined;

process.on('message', (message: ToServer) => {
  if (message.kind === 'answer') server?.tell(message.answer, message.time);
  else void begin(message);
});
process.on('disconnect', () => server?.close());
// Ctrl-C goes to the whole group: the parent decides.
process.on('SIGINT', () => {});

async function begin({ port, token, become, files }: ToServer & { kind: 'begin' }): Promise<void> {
  try {
    if (become !== null) giveUp(become);
    process.chdir('/');
    server = new DashServer({ token, files });
    say({ kind: 'listening', port: await server.listen(port) });
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    say({ kind: 'failed', code, message }, () => process.disconnect());
  }
}

function giveUp(become: number): void {
  process.setgroups?.([]);
  process.setgid?.(become);
  process.setuid?.(become);
}

function say(message: FromServer, sent: () => void = () => {}): void {
  process.send?.(message, sent);
}
