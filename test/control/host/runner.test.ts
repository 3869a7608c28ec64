import assert from 'node:assert/strict';
import test from 'node:test';
import { systemRunner } from '../../../src/control/host/runner.js';

test('output, input and exit code', async () => {
  const script =
    'process.stdin.pipe(process.stdout); console.error(process.argv[1]); process.exitCode = 3';
  const ran = await systemRunner.run([process.execPath, '-e', script, '$(a b);*'], {
    input: 'hello',
  });
  assert.deepEqual(ran, { code: 3, signal: null, stdout: 'hello', stderr: '$(a b);*\n' });
});

test('a program that hangs is killed', async () => {
  const ran = await systemRunner.run(['sleep', '60'], { timeoutMs: 50 });
  assert.equal(ran.signal, 'SIGKILL');
});

test('a program that is not there is a sentence', async () => {
  await assert.rejects(
    systemRunner.run(['weft-no-such']),
    /cannot run weft-no-such: there is no such program/,
  );
});

test('started programs are spoken to and end', async () => {
  const seen = await new Promise<string>((resolve) => {
    let text = '';
    const cat = systemRunner.start(['cat'], {
      stdout: (part) => {
        text += part;
        if (text === 'onetwo') cat.kill();
      },
      stderr: () => {},
      ended: (how) => resolve(`${text} ${how.signal}`),
    });
    cat.write('one');
    cat.write('two');
  });
  assert.equal(seen, 'onetwo SIGKILL');
});

test('a started program that is not there ends once, with the error', async () => {
  const error = await new Promise<Error | undefined>((resolve) => {
    const program = systemRunner.start(['weft-no-such'], {
      stdout: () => {},
      stderr: () => {},
      ended: (_, e) => resolve(e),
    });
    program.write('x\n');
  });
  assert.match(error!.message, /cannot run weft-no-such/);
});

test('nor does a start that the kernel refuses throw: of more than it takes, as for want of memory', async () => {
  const argv = ['true', 'x'.repeat(1 << 18)];
  await assert.rejects(systemRunner.run(argv), { name: 'HostError', code: 'E2BIG' });
  const ends: (string | undefined)[] = [];
  const program = systemRunner.start(argv, {
    stdout: () => {},
    stderr: () => {},
    ended: (_, error) => ends.push(error?.message),
  });
  program.write('x\n');
  program.kill();
  assert.deepEqual(ends, []);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(ends, ['cannot run true: spawn E2BIG']);
});
