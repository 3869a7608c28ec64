/** Nothing of a lab is left behind, however it ends. Seen from outside, by the processes in it. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import process from 'node:process';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { labLacks } from '../../src/lab/enter.js';

const script = fileURLToPath(new URL('./fixtures/sleeper.js', import.meta.url));
const skip = labLacks() ?? false;

/** A number of seconds that no other `sleep` on this machine has: the mark of one lab. */
function unusual(): string {
  return `${100_000 + process.pid}.${Math.floor(Math.random() * 1e6)}`;
}

function sleepers(seconds: string): string[] {
  return fs.readdirSync('/proc').filter((name) => {
    try {
      return fs.readFileSync(`/proc/${name}/cmdline`, 'utf8') === `sleep\0${seconds}\0`;
    } catch {
      return false;
    }
  });
}

const children: ChildProcess[] = [];
after(() => {
  for (const child of children) child.kill('SIGKILL');
});

async function start(seconds: string, how?: string): Promise<ChildProcess> {
  const args = how === undefined ? [seconds] : [seconds, how];
  const child = spawn(process.execPath, [script, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const [line] = (await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])) as [
    unknown,
  ];
  assert.equal(String(line), 'ready\n', 'what came instead is the exit code');
  if (how !== 'exit') await until(() => sleepers(seconds).length === 1, 'sleep runs in the lab');
  return child;
}

async function until(holds: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 3_000;
  while (!holds()) {
    assert.ok(Date.now() < deadline, `within 3 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function gone(seconds: string): Promise<void> {
  await until(() => sleepers(seconds).length === 0, "the lab's processes are gone");
}

test('SIGKILL of the script takes the whole lab with it', { skip, timeout: 120_000 }, async () => {
  const seconds = unusual();
  const child = await start(seconds);
  assert.equal(sleepers(seconds).length, 1);
  child.kill('SIGKILL');
  await gone(seconds);
});

test('SIGTERM and SIGINT are passed on and end the lab', { skip, timeout: 120_000 }, async () => {
  for (const [signal, code] of [
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const) {
    const seconds = unusual();
    const child = await start(seconds);
    child.kill(signal);
    assert.deepEqual(await once(child, 'exit'), [code, null]);
    await gone(seconds);
  }
});

test('a program in the lab may handle a signal itself', { skip, timeout: 120_000 }, async () => {
  const seconds = unusual();
  const child = await start(seconds, 'handle');
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'exit'), [9, null]);
  await gone(seconds);
});

test('the exit code comes through, and nothing stays', { skip, timeout: 120_000 }, async () => {
  const before = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout;
  const links = spawnSync('ip', ['-br', 'link'], { encoding: 'utf8' }).stdout;
  const seconds = unusual();
  const child = await start(seconds, 'exit');
  assert.deepEqual(await once(child, 'exit'), [7, null]);
  await gone(seconds);
  assert.equal(spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout, before);
  assert.equal(spawnSync('ip', ['-br', 'link'], { encoding: 'utf8' }).stdout, links);
});

test('two labs with the same addresses run at once', { skip, timeout: 120_000 }, async () => {
  const [one, two] = [unusual(), unusual()];
  const labs = await Promise.all([start(one), start(two)]);
  labs[0].kill('SIGKILL');
  await gone(one);
  assert.equal(sleepers(two).length, 1, 'the other lab goes on');
  labs[1].kill('SIGTERM');
  await once(labs[1], 'exit');
  await gone(two);
});
