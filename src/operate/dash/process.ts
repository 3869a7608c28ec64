/**
 * The process that serves the page: it reads its code, gives up its rights, and only then listens. Told
 * over the channel of its parent, with which it ends.
 *
 * In a user namespace that has one user alone, as an ordinary user makes it, there is nobody to become:
 * the rights of its root are those of that user, and are kept.
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
    const keeps = become === null ? '' : giveUp(become);
    process.chdir('/');
    server = new DashServer({ token, files });
    say({ kind: 'listening', port: await server.listen(port), keeps });
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    say({ kind: 'failed', code, message }, () => process.disconnect());
  }
}

/** Returns why rights are kept; empty: none are. */
function giveUp(user: number): string {
  try {
    process.setgroups?.([]);
    process.setgid?.(user);
    process.setuid?.(user);
    return '';
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    // EINVAL: the namespace has no such user.
    if (code !== 'EPERM' && code !== 'EINVAL') throw error;
    return message;
  }
}

function say(message: FromServer, sent: () => void = () => {}): void {
  process.send?.(message, sent);
}
