import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { down } from '../../../src/control/host/down.js';
import { Journal, readJournal } from '../../../src/control/host/journal.js';
import { isAlive, readOwner } from '../../../src/control/host/owner.js';
import { FakeRunner, plant, scratch } from './fakes.js';

const ROUTE = '10.10.7.0/24 via 10.10.7.0 dev flannel.1';

/** A /proc in which process 7 was started at `start`. */
function fakeProc(root: string, start: string, state: string, threads: number): string {
  const fields = Array.from({ length: 49 }, () => '0');
  fields[16] = String(threads);
  fields[18] = start;
  plant(root, { 'proc/7/stat': `7 (a) Z (b) ${state} ${fields.join(' ')}\n` });
  return path.join(root, 'proc');
}

test('a process that ended and was not asked how is no process that runs', (t) => {
  const root = scratch(t);
  const owner = { pid: 7, startTime: '4711' };
  const alive = (state: string, threads = 1, start = '4711') =>
    isAlive(owner, fakeProc(root, start, state, threads));
  for (const state of ['R', 'S', 'D', 'T', 't', 'I']) assert.equal(alive(state), true, state);
  for (const state of ['Z', 'X']) assert.equal(alive(state), false, state);
  assert.equal(alive('Z', 0), false);
  assert.equal(alive('Z', 3), true, 'the first thread ended, others did not');
  assert.equal(alive('S', 3, '4712'), false, 'a later process of this number');
  assert.deepEqual(readOwner(7, path.join(root, 'proc')), { pid: 7, startTime: '4712' });
});

test('the kernel tells so of a child that nobody waits for', async () => {
  // The shell's child ends; what the shell becomes knows nothing of it.
  const parent = spawn('sh', ['-c', 'sleep 100 & echo $!; exec sleep 100']);
  try {
    const pid = Number(await new Promise((resolve) => parent.stdout.once('data', resolve)));
    const owner = readOwner(pid)!;
    assert.equal(isAlive(owner), true);
    process.kill(pid, 'SIGKILL');
    const state = () => fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]![0];
    for (let look = 0; look < 200 && state() !== 'Z'; look += 1) await sleep(10);
    assert.equal(state(), 'Z');
    assert.deepEqual(readOwner(pid), owner);
    assert.equal(isAlive(owner), false);
  } finally {
    parent.kill('SIGKILL');
  }
});

test('weft down, a start, and a start under another name take over what such a process left', async (t) => {
  for (const state of ['S', 'Z']) {
    const root = scratch(t);
    const proc = fakeProc(root, '1', state, 1);
    plant(root, { 'proc/8/stat': fs.readFileSync(`${proc}/7/stat`, 'utf8').replace(/^7/, '8') });
    const first = Journal.open('flannel.1', root, proc, 7);
    first.record({ kind: 'routes', made: [ROUTE] });

    const other = Journal.open('flannel.2', root, proc, 8);
    if (state === 'S') {
      assert.throws(() => Journal.open('flannel.1', root, proc, 8), /running weft .* id 7;/);
      await assert.rejects(down(new FakeRunner(), 'flannel.1', root, proc), /still runs .* 7;/);
      other.inheritRoutes(() => true, proc);
      assert.deepEqual(other.routes, []);
      continue;
    }
    Journal.open('flannel.1', root, proc, 8);
    assert.equal(readJournal(first.file)!.owner.pid, 8);
    Journal.open('flannel.1', root, proc, 7);
    other.inheritRoutes(() => true, proc);
    assert.deepEqual(other.routes, [ROUTE]);
    const again = Journal.open('flannel.1', root, proc, 7);
    const { did, problems } = await down(new FakeRunner(), 'flannel.1', root, proc);
    assert.deepEqual(problems, []);
    assert.match(did.join('\n'), new RegExp(`journal ${again.file} was removed`));
  }
});
