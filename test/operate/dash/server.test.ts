/** What the server of weft dash answers to whoever reaches its port. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { DashServer } from '../../../src/operate/dash/server.js';

const TOKEN = 'a'.repeat(32);
let server: DashServer;
let port: number;

before(async () => {
  server = new DashServer({ token: TOKEN, files: { '/': { type: 'text/plain', text: 'page' } } });
  port = await server.listen(0);
});
after(() => server.close());

/** The status line. */
async function ask(first: string, host = `127.0.0.1:${port}`, more = ''): Promise<string> {
  const socket = net.connect(port, '127.0.0.1');
  socket.end(`${first}\r\nHost: ${host}\r\n${more}Connection: close\r\n\r\n`);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return answer.toString().split('\r\n')[0]!;
}

test('what is no address is refused, and the server goes on: it needs no token to ask for it', async () => {
  for (const target of ['//', '///', 'http://[', 'http://a:99999/', '/\\\\[']) {
    assert.equal(await ask(`GET ${target} HTTP/1.1`), 'HTTP/1.1 400 Bad Request', target);
  }
  assert.equal(await ask('GET / HTTP/1.1'), 'HTTP/1.1 403 Forbidden');
  assert.equal(await ask(`GET /?token=${TOKEN} HTTP/1.1`), 'HTTP/1.1 303 See Other');
});

test('what else is refused is refused for its own reason', async () => {
  assert.equal(await ask('POST // HTTP/1.1'), 'HTTP/1.1 405 Method Not Allowed');
  assert.equal(await ask('GET // HTTP/1.1', 'evil.example'), 'HTTP/1.1 421 Misdirected Request');
});

test('events are for GET alone, as they have no end', async () => {
  const cookie = `Cookie: weft-dash-${port}=${TOKEN}\r\n`;
  const events = (method: string) => ask(`${method} /events HTTP/1.1`, undefined, cookie);
  assert.equal(await events('HEAD'), 'HTTP/1.1 404 Not Found');
  assert.equal(await events('GET'), 'HTTP/1.1 200 OK');
});
