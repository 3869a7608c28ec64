/** The way out of the process, seen from outside: a child for each way. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import process from 'node:process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const LEAVER = fileURLToPath(new URL('./fixtures/leaver.js', import.meta.url));

interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** Without `ready`. */
  steps: string[];
  /** Severity and text of each line. */
  log: string[];
}

/** Runs the child; `act` is called whenever it said something. */
function leaver(
  args: readonly string[],
  act: (child: ChildProcess, said: string) => void = () => {},
): Promise<Ended> {
  const child = spawn(process.execPath, [LEAVER, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
    killSignal: 'SIGQUIT',
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    act(child, text);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const lines = (text: string) => text.split('\n').filter((line) => line !== '');
  return new Promise((resolve) => {
    child.once('close', (code, signal) => {
      const log = lines(stderr).map((line) => line.replace(/^(.) [0-9:.]{12} /, '$1 '));
      resolve({ code, signal, steps: lines(stdout).filter((line) => line !== 'ready'), log });
    });
  });
}

const INORDER = ['second stopped', 'first stopped'];

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  test(`${signal}: all is stopped in reverse order, exit code 0`, async () => {
    const ended = await leaver([''], (child, said) => {
      if (said.includes('ready')) child.kill(signal);
    });
    assert.deepEqual(ended, {
      code: 0,
      signal: null,
      steps: INORDER,
      log: [`I stopping: got ${signal}`, 'I stopped'],
    });
  });
}

test('an uncaught error: the same way out, exit code 1, one line without a stack', async () => {
  const { code, steps, log } = await leaver(['throw']);
  assert.deepEqual([code, steps], [1, INORDER]);
  assert.equal(log.length, 1, log.join('\n'));
  assert.match(log[0]!, /^E unexpected error: TypeError: broken; .*please report.*weft up -v=1/);
});

test('an unhandled rejection as well; -v=1 shows the stack, a frame a line', async () => {
  const { code, steps, log } = await leaver(['reject', '1']);
  assert.deepEqual([code, steps], [1, INORDER]);
  assert.match(log.at(-1)!, /^E unexpected error: RangeError: rejected; /);
  assert.match(log[0]!, /^D RangeError: rejected/);
  assert.match(log[1]!, /^D {5}at .*leaver\.js:\d+/);
});

test('the first reason counts, and is told once', async () => {
  assert.deepEqual(await leaver(['reason']), {
    code: 1,
    signal: null,
    steps: INORDER,
    log: ['E the reason'],
  });
});

test('threads that start just then do not change the exit code', async () => {
  for (let i = 0; i < 10; i++) {
    const { code, signal, log } = await leaver(['threads']);
    assert.deepEqual([code, signal, log], [1, null, ['E the reason']]);
  }
});

test('a stop that fails is told, and the others are stopped all the same', async () => {
  const { code, steps, log } = await leaver(['stop-fails'], (child, said) => {
    if (said.includes('ready')) child.kill('SIGTERM');
  });
  assert.deepEqual([code, steps], [0, INORDER]);
  assert.ok(log.includes('W stopping the third: it would not'), log.join('\n'));
});

test('more signals while leaving change nothing', async () => {
  const ended = await leaver(['slow'], (child, said) => {
    if (said.includes('ready')) child.kill('SIGTERM');
    if (said.includes('third stopping'))
      for (const s of ['SIGTERM', 'SIGINT'] as const) child.kill(s);
  });
  assert.deepEqual(ended, {
    code: 0,
    signal: null,
    steps: ['third stopping', 'third stopped', ...INORDER],
    log: ['I stopping: got SIGTERM', 'I stopped'],
  });
});

test('an error while leaving is told and changes nothing', async () => {
  const { code, steps, log } = await leaver(['error-while-leaving'], (child, said) => {
    if (said.includes('ready')) child.kill('SIGTERM');
  });
  assert.deepEqual([code, steps], [0, INORDER]);
  assert.match(log[1]!, /^W while stopping the third: unexpected error: Error: late/);
});

test('the start goes no further once the process is on its way out', async () => {
  const { code, steps } = await leaver(['starting']);
  assert.equal(code, 0);
  assert.deepEqual(steps, ['third stopping', 'Leaving', 'third stopped', ...INORDER]);
});

test('a stop that hangs: SIGKILL after 5 s, and the log names it', async () => {
  const begun = performance.now();
  const { code, signal, steps, log } = await leaver(['stop-hangs'], (child, said) => {
    if (said.includes('ready')) child.kill('SIGTERM');
  });
  const took = performance.now() - begun;
  assert.deepEqual([code, signal, steps], [null, 'SIGKILL', []]);
  assert.match(
    log.at(-1)!,
    /^E stopping the third takes longer than 5 s; killing the process \(got SIGTERM\)/,
  );
  assert.ok(took > 4_900 && took < 30_000, `took ${took} ms`);
});
