/** The health listener against what flanneld's answered, byte for byte but the date. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { Health, placeOf } from '../../../src/operate/health/health.js';

interface Recorded {
  readonly ready: boolean;
  readonly method: string;
  readonly path: string;
  readonly version: string;
  readonly answer: readonly string[];
  readonly body: string;
}

const FIXTURE = new URL('../../../../test/operate/health/answers.json', import.meta.url);
const { answers } = JSON.parse(fs.readFileSync(FIXTURE, 'utf8')) as { answers: Recorded[] };

let ready = false;
let standing: readonly string[] = [];
let broken = '';
let mistake: Error | undefined;
let health: Health;
const make = (port: number, address = '127.0.0.1') =>
  new Health({
    ...{ address, port, standing: () => standing, broken: () => broken },
    ready: () => {
      if (mistake !== undefined) throw mistake;
      return ready;
    },
    now: () => new Date(0),
  });

before(async () => {
  health = make(0);
  await health.open();
});
after(() => health.close());

/** All that comes back for these bytes, until the other side closes. */
function ask(request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const connection = net.connect(health.port, '127.0.0.1', () => connection.write(request));
    let answer = '';
    connection.setEncoding('latin1').on('data', (text: string) => {
      answer += text;
    });
    connection.on('error', reject);
    connection.on('close', () => resolve(answer));
  });
}

const withDate = (text: string) => text.replace(/^Date: .*GMT$/m, 'Date: X');

test('every recorded answer, byte for byte', async () => {
  assert.equal(answers.length, 8);
  for (const recorded of answers) {
    ready = recorded.ready;
    const { method, path, version, answer, body } = recorded;
    const host = version === '1.0' ? '' : 'Host: a\r\nConnection: close\r\n';
    const got = await ask(`${method} ${path} HTTP/${version}\r\n${host}\r\n`);
    const expected = [...answer, '', body].join('\r\n');
    assert.equal(withDate(got), withDate(expected), `${method} ${path}`);
    assert.match(got, /^Date: Thu, 01 Jan 1970 00:00:00 GMT\r$/m);
  }
});

test('a lane that stands still is told by /healthz, with its length and its name', async () => {
  standing = ['lane 0 has not turned for 4 s', 'lane 1 has not turned for 3 s'];
  const got = await ask('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n');
  standing = [];
  const body =
    'weft does not forward: lane 0 has not turned for 4 s; lane 1 has not turned for 3 s';
  assert.match(got, /^HTTP\/1\.1 503 Service Unavailable\r\n/);
  assert.ok(got.includes(`\r\nContent-Length: ${body.length}\r\n`), got);
  assert.ok(got.endsWith(`\r\n\r\n${body}`), got);
});

test('a body is taken, a query is passed over, the connection ends after one answer', async () => {
  ready = true;
  const post = 'POST /readyz?full HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello';
  const get = 'GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n';
  const got = await ask(post + get);
  assert.match(got, /^HTTP\/1\.1 200 OK\r\n/);
  assert.equal(got.split('HTTP/1.1').length, 2, got);
  assert.match(got, /flanneld is ready$/);
});

test('what is no request gets 400, and the next one is answered', async () => {
  assert.match(await ask('\x16\x03\x01hello\r\n\r\n'), /^HTTP\/1\.1 400 /);
  assert.match(await ask(`GET /${'a'.repeat(20_000)} HTTP/1.1\r\n\r\n`), /^HTTP\/1\.1 4\d\d /);
  assert.match(await ask('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n'), /^HTTP\/1\.1 200 /);
});

test('a port that is taken, an address that is not ours: one sentence with the flag', async () => {
  await assert.rejects(make(health.port).open(), (error: Error) => {
    assert.match(error.message, /127\.0\.0\.1:\d+: the port is taken .*-healthz-port$/);
    return true;
  });
  await assert.rejects(make(0, '203.0.113.9').open(), /no such address; give another -healthz-ip/);
});

test('an address of IPv6: answered there, and told as a URL has it', async (t) => {
  const six = make(0, '::1');
  try {
    await six.open();
  } catch (error) {
    t.skip(`this host has no IPv6: ${(error as Error).message}`);
    return;
  }
  t.after(() => six.close());
  const answer = await fetch(`http://${placeOf('::1', six.port)}/healthz`);
  assert.equal(await answer.text(), 'flanneld is running');
  const taken = make(six.port, '::1').open();
  await assert.rejects(taken, /health requests on \[::1\]:\d+: the port is taken/);
  assert.equal(placeOf('0.0.0.0', 8081), '0.0.0.0:8081');
});

test('not ready for a reason: the verdict is in the answer, and cleaned', async () => {
  ready = false;
  broken = 'no way out of ens33 \u2013 \x1b[2J';
  const got = await ask('GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  const body = Buffer.from(got.slice(got.indexOf('\r\n\r\n') + 4), 'latin1');
  assert.match(got, /^HTTP\/1\.1 503 /);
  assert.equal(body.toString(), 'weft is not ready: no way out of ens33 \u2013 \\u001b[2J');
  assert.match(got, new RegExp(`^Content-Length: ${body.length}\r$`, 'm'));
  broken = '';
});

test('an answer that cannot be told is a 500, and the next one is told', async () => {
  mistake = new TypeError('x is undefined');
  const got = await ask('GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n');
  mistake = undefined;
  assert.match(got, /^HTTP\/1\.1 500 Internal Server Error\r\n/);
  assert.match(await ask('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n'), /^HTTP\/1\.1 200 OK/);
});
