/** The addon's one datagram to a unix socket, received by a program that is not ours. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadNative, type NativeError } from '../../../src/dataplane/io/native.js';

const noSocat =
  spawnSync('socat', ['-V']).status === 0 ? false : 'needs socat, of the package socat';
const native = loadNative();

function code(call: () => unknown): string {
  try {
    call();
    return 'none';
  } catch (error) {
    return (error as NativeError).code;
  }
}

/** Starts socat on an address, sends, and gives what it received. */
async function receive(address: string, to: string, texts: readonly string[]): Promise<string> {
  const socat: ChildProcess = spawn('socat', ['-u', address, '-'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let got = '';
  socat.stdout!.setEncoding('utf8').on('data', (text: string) => {
    got += text;
  });
  try {
    const wanted = texts.join('');
    for (let tries = 0; code(() => native.notify(to, texts[0]!)) !== 'none'; tries += 1) {
      assert.ok(tries < 100, 'socat does not listen');
      await sleep(50);
    }
    for (const text of texts.slice(1))
      assert.equal(native.notify(to, text), Buffer.byteLength(text));
    for (let tries = 0; got.length < wanted.length && tries < 100; tries += 1) await sleep(50);
    return got;
  } finally {
    socat.kill('SIGKILL');
  }
}

test('a socket with a path, and one in the abstract name space', { skip: noSocat }, async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-notify-'));
  const texts = ['READY=1\n', 'STATUS=10.10.1.0/24, 2 peers – ready\n', 'X'.repeat(4096)];
  try {
    const file = path.join(directory, 'notify');
    assert.equal(await receive(`UNIX-RECV:${file}`, file, texts), texts.join(''));
    const name = `weft-notify-${process.pid}`;
    assert.equal(await receive(`ABSTRACT-RECV:${name}`, `@${name}`, texts), texts.join(''));
    // The longest name there is.
    const long = path.join(directory, 'n'.repeat(107 - directory.length - 1));
    assert.equal(await receive(`UNIX-RECV:${long}`, long, ['a']), 'a');
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
});

test('each refusal has its errno', () => {
  assert.equal(
    code(() => native.notify('/nonexistent/notify', 'a')),
    'ENOENT',
  );
  assert.equal(
    code(() => native.notify('@weft-nobody-listens', 'a')),
    'ECONNREFUSED',
  );
  for (const bad of ['', '/', '@', 'relative', 'vsock:2:1', '/run/a\0b']) {
    assert.equal(
      code(() => native.notify(bad, 'a')),
      'EINVAL',
      JSON.stringify(bad),
    );
  }
  assert.equal(
    code(() => native.notify(`/${'a'.repeat(107)}`, 'a')),
    'ENAMETOOLONG',
  );
  assert.equal(
    code(() => native.notify(`/${'a'.repeat(5000)}`, 'a')),
    'ENAMETOOLONG',
  );
  assert.equal(
    code(() => native.notify('/run/a', 'a'.repeat(4097))),
    'EMSGSIZE',
  );
  assert.equal(
    code(() => native.notify('/run/a', 'a'.repeat(100_000))),
    'EMSGSIZE',
  );
  assert.throws(() => native.notify(1 as unknown as string, 'a'), TypeError);
  assert.throws(() => (native.notify as (path: string) => number)('/run/a'), TypeError);
});
