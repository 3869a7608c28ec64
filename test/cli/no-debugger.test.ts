/** Node's debugger, which runs anything in the process for whoever reaches its port: never there. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import net from 'node:net';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const WEFT = fileURLToPath(new URL('../../src/cli/weft.js', import.meta.url));
const CLOSED = /Node's inspector was open at 127\.0\.0\.1:\d+, .*: closed; take --inspect/;

/** NODE_OPTIONS replaced by these. */
function environment(options: string): NodeJS.ProcessEnv {
  return { ...process.env, NODE_OPTIONS: options };
}

for (const command of ['status', 'down -help', 'release -help', 'docker-opts -help', 'version']) {
  test(`weft ${command}: a debugger that a variable or an argument opened is closed, and told`, () => {
    const run = (args: string[], options: string) =>
      spawnSync(process.execPath, [...args, WEFT, ...command.split(' ')], {
        encoding: 'utf8',
        timeout: 20_000,
        env: environment(options),
      });
    assert.match(run([], '--inspect=0').stderr, CLOSED);
    assert.match(run(['--inspect=127.0.0.1:0'], '').stderr, CLOSED);
    assert.doesNotMatch(run([], '').stderr, /inspector/);
  });
}

test('weft up: the same, as a line of log', () => {
  const { stderr, status } = spawnSync(
    process.execPath,
    [WEFT, 'up', '-store-file=/nonexistent/store'],
    { encoding: 'utf8', timeout: 20_000, env: environment('--inspect=0') },
  );
  assert.match(stderr, /^W [\d:.]+ Node's inspector was open at/m);
  assert.equal(status, 1);
});

test('the debugger is closed before anything else of weft runs, and stays so for the threads', () => {
  // What is imported before weft sees it open; what weft imports does not.
  const late = `import { Worker } from 'node:worker_threads'; import inspector from 'node:inspector';
    process.once('exit', () => process.stdout.write('url ' + inspector.url() + ' '));
    new Worker('process.stdout.write("worker " + require("node:inspector").url() + " ")', { eval: true });`;
  const { stdout } = spawnSync(
    process.execPath,
    ['--import', `data:text/javascript,${encodeURIComponent(late)}`, WEFT, 'version'],
    { encoding: 'utf8', timeout: 20_000, env: environment('--inspect=0') },
  );
  assert.match(stdout, /url undefined/);
});

test('what NODE_OPTIONS ties to a signal is untied: no heap snapshot, no report', async () => {
  const hold = `setTimeout(() => { process.stdout.write(JSON.stringify([process.report.reportOnSignal,
    process.listenerCount('SIGUSR2'), process.listenerCount('SIGUSR1')])); }, 300)`;
  const { stdout } = spawnSync(
    process.execPath,
    ['--import', `data:text/javascript,${encodeURIComponent(hold)}`, WEFT, 'version'],
    {
      encoding: 'utf8',
      timeout: 20_000,
      env: environment('--heapsnapshot-signal=SIGUSR2 --report-on-signal --report-signal=SIGUSR1'),
    },
  );
  assert.match(stdout, /\[false,0,1\]$/);
});

test('a debugger that is attached from the first moment and stays: weft ends', {
  timeout: 60_000,
}, async (t) => {
  const child = spawn(process.execPath, [WEFT, 'status'], {
    env: environment('--inspect-brk=0'),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  const ended = new Promise<NodeJS.Signals | null>((resolve) =>
    child.once('close', (_, signal) => resolve(signal)),
  );
  let said = '';
  const url = await new Promise<URL>((resolve) => {
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      // The whole line: half an address is another port.
      const match = /listening on (ws:\S+)\n/.exec(said);
      if (match !== null) resolve(new URL(match[1]!));
    });
  });
  const client = net.connect(Number(url.port), '127.0.0.1');
  let refused: Error | undefined;
  client.on('error', (error) => {
    refused = error;
    // Weft's end cuts it; before that nobody else would end weft.
    if (client.bytesRead === 0) child.kill('SIGTERM');
  });
  client.write(
    `GET ${url.pathname} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
  );
  await new Promise((resolve) => {
    client.once('data', resolve);
    client.once('close', resolve);
  });
  const say = (...methods: string[]) => {
    for (const [id, method] of methods.entries())
      client.write(frame(JSON.stringify({ id, method })));
  };
  client.resume();
  say('Debugger.enable');
  // It waits until it is let go, stops at its first line, and may begin to do either when it was told
  // not to already: so it is told again and again.
  const again = setInterval(() => say('Runtime.runIfWaitingForDebugger', 'Debugger.resume'), 100);
  t.after(() => clearInterval(again));
  assert.equal(await ended, 'SIGKILL', `${said}\n${refused ?? ''}`);
  assert.match(said, /a debugger is attached to Node's inspector and stays: weft ends/);
  client.destroy();
});

/** A text message of a WebSocket client, its mask all zeros. */
function frame(text: string): Buffer {
  return Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
}
