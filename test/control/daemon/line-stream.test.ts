/** A log whose stream fails or stands still: nobody waits for it, and what is lost is counted. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ThreadStream } from '../../../src/control/daemon/line-stream.js';

const LINER = fileURLToPath(new URL('./fixtures/liner.js', import.meta.url));
const EIO = 5;

/** The addon's side, which takes and loses what the test says. */
class FakeLines {
  readonly taken: [string, number][] = [];
  full = false;
  #lost: [number, number, number] = [0, 0, 0];

  linesWrite(text: string, carries: number): boolean {
    if (!this.full) this.taken.push([text, carries]);
    return !this.full;
  }

  /** The last one taken could not be written. */
  fail(): void {
    const [, carries] = this.taken.pop()!;
    const one = carries < 0 ? 0 : 1;
    this.#lost = [this.#lost[0] + one, this.#lost[1] + Math.abs(carries), EIO];
  }

  linesLost(): [number, number, number] {
    return this.#lost;
  }
  linesFlush(): boolean {
    return true;
  }
  errnoName(errno: number): string {
    return errno === EIO ? 'EIO' : 'UNKNOWN';
  }
}

describe('what is lost is told with the next line that goes out, each line once', () => {
  const told = (lines: number) => `lost ${lines}\n`;

  test('refused, since too many wait', () => {
    const lines = new FakeLines();
    const stream = new ThreadStream(lines);
    stream.write('a\n', told);
    lines.full = true;
    stream.write('b\n', told);
    stream.write('c\n', told);
    assert.deepEqual([stream.lost, stream.trouble], [2, 'it takes no more']);
    lines.full = false;
    stream.write('d\n', told);
    stream.write('e\n', told);
    assert.deepEqual(
      lines.taken.map(([text]) => text),
      ['a\n', 'lost 2\nd\n', 'e\n'],
    );
    assert.deepEqual([stream.lost, stream.trouble], [2, '']);
  });

  test('told by itself, as soon as there is room; a try that fails is no line that is lost', () => {
    const lines = new FakeLines();
    const stream = new ThreadStream(lines);
    stream.retry(told);
    assert.deepEqual(lines.taken, []);
    for (const line of ['a\n', 'b\n']) {
      stream.write(line, told);
      lines.fail();
    }
    for (let i = 0; i < 3; i += 1) {
      stream.retry(told);
      lines.fail();
      assert.deepEqual([stream.lost, stream.trouble], [2, 'EIO']);
    }
    stream.retry(told);
    assert.deepEqual(lines.taken, [['lost 2\n', -2]]);
    stream.retry(told);
    assert.deepEqual([lines.taken.length, stream.lost, stream.trouble], [1, 2, '']);
  });

  test('failed, with what told of earlier ones: that is told again', () => {
    const lines = new FakeLines();
    const stream = new ThreadStream(lines);
    stream.write('a\n', told);
    lines.fail();
    assert.deepEqual([stream.lost, stream.trouble], [1, 'EIO']);
    stream.write('b\n', told);
    assert.deepEqual(lines.taken, [['lost 1\nb\n', 1]]);
    lines.fail();
    assert.deepEqual([stream.lost, stream.trouble], [2, 'EIO']);
    lines.full = true;
    stream.write('c\n', told);
    lines.full = false;
    stream.write('d\n', told);
    assert.deepEqual(lines.taken, [['lost 3\nd\n', 3]]);
    assert.deepEqual([stream.lost, stream.trouble], [3, '']);
  });
});

interface Told {
  lost: number;
  trouble: string;
  longest: number;
}

/** The liner under a shell that sets its standard error up; it must end by itself, in order. */
function liner(shell: string, lines: number, length = 20): { told: Told; took: number } {
  const began = performance.now();
  const script = shell.replace('LINER', `"$0" "$1" ${lines} ${length}`);
  const { stdout, status, error } = spawnSync('bash', ['-c', script, process.execPath, LINER], {
    encoding: 'utf8',
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  assert.equal(error, undefined, shell);
  assert.equal(status, 0, `${shell}: ${stdout}`);
  return { told: JSON.parse(stdout) as Told, took: performance.now() - began };
}

const noPython = spawnSync('python3', ['-c', 'import pty']).status !== 0 && 'needs python3';
const BLOCKED_MS = 1_500;

test('a full disk: every line is lost, nobody waits, the end is in order', () => {
  const { told } = liner('LINER 2>/dev/full', 50);
  assert.deepEqual([told.lost, told.trouble], [50, 'ENOSPC']);
});

test('a file over its size limit, of which half a line was written', () => {
  const file = path.join(os.tmpdir(), `weft-log-${process.pid}`);
  try {
    const { told } = liner(`ulimit -f 1; LINER 2>${file}`, 200);
    assert.equal(told.trouble, 'EFBIG');
    assert.ok(told.lost > 100, JSON.stringify(told));
    assert.equal(fs.statSync(file).size, 1024);
  } finally {
    fs.rmSync(file, { force: true });
  }
});

test('a closed pipe, and standard error closed before the start', () => {
  const pipe = liner('LINER 2> >(exec true)', 50);
  assert.equal(pipe.told.trouble, 'EPIPE');
  assert.ok(pipe.told.lost > 0);
  // Node puts /dev/null there.
  assert.deepEqual(liner('LINER 2>&-', 50).told.lost, 0);
});

test('a pipe that nobody reads: nobody waits, and the end comes in bounded time', () => {
  const { told, took } = liner('LINER 2> >(exec sleep 20 >&- 2>&-)', 1_000, 1_000);
  assert.equal(told.trouble, 'it takes no more');
  assert.ok(told.lost > 500, JSON.stringify(told));
  assert.ok(told.longest < BLOCKED_MS, JSON.stringify(told));
  assert.ok(took < 40_000);
});

test('a pipe that another process made non-blocking, read late: nothing is lost', {
  skip: noPython,
}, () => {
  const python =
    'import os,fcntl,sys; fcntl.fcntl(2, fcntl.F_SETFL, os.O_NONBLOCK); os.execv(sys.argv[1], sys.argv[1:])';
  const { told } = liner(
    `python3 -c "${python}" LINER 2> >(sleep 1; exec cat >/dev/null)`,
    250,
    900,
  );
  assert.deepEqual([told.lost, told.trouble], [0, '']);
});

test('a pipe that is read late: lines come whole and in order, with the number of those lost', async () => {
  const child = spawn(process.execPath, [LINER, '2000', '1000'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  await new Promise((resolve) => child.stdout.once('data', resolve));
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  assert.equal(code, 0);
  const lines = said.trimEnd().split('\n');
  for (const line of lines) assert.match(line, /^[IW] [\d:.]{12} /);
  const numbers = lines.flatMap((line) => /line (\d+) x{1000}$/.exec(line)?.[1] ?? []).map(Number);
  assert.deepEqual(
    numbers,
    numbers.map((_, i) => i + 1),
  );
  const [, lost] = /^W .* ([\d,]+) lines of log could not be written$/m.exec(said) ?? [];
  assert.equal(numbers.length + Number(lost?.replaceAll(',', '')), 2_000);
  assert.match(lines.at(-1)!, /stopped$/);
});

/** Runs the liner on a terminal; `act` is Python with `pid` and `master`; `first` runs in the child. */
function onTerminal(act: string, lines: number, first = ''): { told: Told; status: number | null } {
  const python = `
import os, pty, sys, time, signal, termios
out = os.dup(1)
pid, master = pty.fork()
if pid == 0:
    os.dup2(out, 1)
    ${first}
    os.execv(sys.argv[1], sys.argv[1:])
${act}
deadline = time.time() + 40
while time.time() < deadline:
    done, status = os.waitpid(pid, os.WNOHANG)
    if done: sys.exit(os.waitstatus_to_exitcode(status))
    time.sleep(0.05)
os.kill(pid, signal.SIGKILL)
sys.exit(99)`;
  const argv = ['-c', python, process.execPath, LINER, String(lines), '100'];
  const { stdout, status } = spawnSync('python3', argv, { encoding: 'utf8', timeout: 60_000 });
  return { told: JSON.parse(stdout) as Told, status };
}

describe('a terminal', { skip: noPython }, () => {
  test('stopped by Ctrl-S: nobody waits, and it ends in order', () => {
    const { told, status } = onTerminal("os.read(master, 1); os.write(master, b'\\x13')", 3_000);
    assert.equal(status, 0);
    assert.equal(told.trouble, 'it takes no more');
    assert.ok(told.longest < BLOCKED_MS, JSON.stringify(told));
  });

  test('that is gone (its master was closed): lines are lost, nothing else', () => {
    const { told, status } = onTerminal('os.read(master, 1); os.close(master)', 1_000);
    assert.equal(status, 0);
    assert.equal(told.trouble, 'EIO');
    assert.ok(told.lost > 100, JSON.stringify(told));
  });

  test('that stops who writes from the background (tostop): the lines are written', () => {
    const background = [
      'mode = termios.tcgetattr(2); mode[3] |= termios.TOSTOP; termios.tcsetattr(2, 0, mode)',
      'child = os.fork()',
      'child and os._exit(os.waitstatus_to_exitcode(os.waitpid(child, os.WUNTRACED)[1]))',
      'os.setpgid(0, 0)',
    ].join('; ');
    const { told, status } = onTerminal('', 100, background);
    assert.equal(status, 0);
    assert.equal(told.lost, 0);
  });
});
