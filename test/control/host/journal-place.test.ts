/** A journal whose folder fails it, or is shared with other namespaces. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import test, { type TestContext } from 'node:test';
import { socketPath } from '../../../src/control/host/control-socket.js';
import { down } from '../../../src/control/host/down.js';
import { Journal, readJournal, refuseInUse } from '../../../src/control/host/journal.js';
import { FakeRunner, plant, scratch } from './fakes.js';

const FILE = { kind: 'file', path: '/run/x', wrote: 'x' } as const;
const SYSCTL = { kind: 'sysctl', path: 'net/ipv4/ip_forward', old: '0', wrote: '1' } as const;
const BOOT = '7f1c';

/** Of this process, in the network namespace with that number; null: one that does not tell. */
function fakeProc(root: string, namespace: number | null): string {
  const proc = path.join(root, `proc-${namespace}`);
  const fields = Array.from({ length: 49 }, () => '0').join(' ');
  plant(proc, { [`${process.pid}/stat`]: `${process.pid} (node) S ${fields}` });
  if (namespace === null) return proc;
  plant(proc, { 'sys/kernel/random/boot_id': `${BOOT}\n`, 'sys/net/ipv4/ip_forward': '1\n' });
  plant(proc, { 'self/net/dev': '' });
  fs.mkdirSync(path.join(proc, 'self/ns'));
  fs.symlinkSync(`net:[${namespace}]`, path.join(proc, 'self/ns/net'));
  return proc;
}

async function listen(t: TestContext, file: string): Promise<void> {
  const server = net.createServer().listen(file);
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => server.close());
}

test('what cannot be written is kept, said as a fault, and written when it can be', async (t) => {
  const run = path.join(scratch(t), 'run');
  const journal = Journal.open('flannel.1', run);
  const { file } = journal;
  fs.mkdirSync(`${file}.new/in the way`, { recursive: true });
  journal.record(FILE);
  journal.record(SYSCTL);
  journal.forget(FILE);
  await assert.rejects(journal.reconcile(), (error: Error) => {
    assert.match(error.message, /cannot write the journal .*flannel\.1\.json \(.*weft goes on/);
    return true;
  });
  assert.deepEqual(readJournal(file)!.entries, []);
  fs.rmSync(`${file}.new`, { recursive: true });
  assert.deepEqual(await journal.reconcile(), [`wrote ${file}`]);
  assert.deepEqual(readJournal(file)!.entries, [SYSCTL]);
  assert.deepEqual(await journal.reconcile(), []);
});

test('one that somebody removed is written again, with its folder', async (t) => {
  const run = path.join(scratch(t), 'run');
  const journal = Journal.open('flannel.1', run);
  journal.record(FILE);
  fs.rmSync(run, { recursive: true });
  assert.deepEqual(await journal.reconcile(), [`wrote ${journal.file}`]);
  assert.deepEqual(readJournal(journal.file)!.entries, [FILE]);
});

test('a folder that is none is refused: no time mends that', (t) => {
  const root = scratch(t);
  plant(root, { run: '' });
  assert.throws(() => Journal.open('flannel.1', path.join(root, 'run')), /journal/);
});

test('it names its network namespace; in another one, and after a reboot, files alone are left', async (t) => {
  const root = scratch(t);
  const there = fakeProc(root, 22);
  const first = Journal.open('flannel.1', root, fakeProc(root, 11));
  assert.equal(readJournal(first.file)!.namespace, `${BOOT} net:[11]`);
  first.record(SYSCTL);
  first.record(FILE);
  const ended = JSON.parse(fs.readFileSync(first.file, 'utf8'));
  ended.owner.startTime = 'earlier';
  fs.writeFileSync(first.file, JSON.stringify(ended));

  const { did } = await down(new FakeRunner(), 'flannel.1', root, there);
  assert.match(did.join('\n'), /network namespace that is gone, or before a reboot, is gone/);
  assert.match(did.join('\n'), /The file \/run\/x is gone/);
  assert.equal(fs.readFileSync(path.join(there, 'sys/net/ipv4/ip_forward'), 'utf8'), '1\n');

  fs.writeFileSync(first.file, JSON.stringify(ended));
  Journal.open('flannel.1', root, there);
  assert.deepEqual(readJournal(first.file)!.entries, [FILE]);
  assert.equal(readJournal(first.file)!.namespace, `${BOOT} net:[22]`);
});

test('a journal of an earlier weft, without a namespace, is taken over whole', (t) => {
  const root = scratch(t);
  const owner = { pid: 815, startTime: '7' };
  const content = { version: 1, owner, entries: [SYSCTL, FILE] };
  plant(root, { 'flannel.1.json': JSON.stringify(content) });
  const journal = Journal.open('flannel.1', root, fakeProc(root, 11));
  assert.deepEqual(readJournal(journal.file)!.entries, [SYSCTL, FILE]);
});

test('in use while somebody listens, whatever its process id is here', async (t) => {
  const root = scratch(t);
  const proc = fakeProc(root, 11);
  await refuseInUse('flannel.1', root, proc);
  const owner = { pid: 1, startTime: '7' };
  const content = { version: 1, owner, namespace: `${BOOT} net:[11]`, entries: [] };
  plant(root, { 'flannel.1.json': JSON.stringify(content) });
  await refuseInUse('flannel.1', root, proc);
  await listen(t, socketPath('flannel.1', root));
  await assert.rejects(refuseInUse('flannel.1', root, proc), {
    message: /^flannel\.1 is in use by the running weft with process id 1 in another container/,
  });
  await assert.rejects(down(new FakeRunner(), 'flannel.1', root, proc), {
    message: /still runs for flannel\.1 as process 1 in another container/,
  });
  await assert.rejects(refuseInUse('flannel.1', root, fakeProc(root, 22)), {
    message: /taken just now by a weft in another network namespace; start again/,
  });
});

test('routes of a weft that runs in another container are not taken over', (t) => {
  const run = path.join(scratch(t), 'run');
  const made = ['10.5.72.0/24 via 192.168.64.4 dev eth0'];
  const owner = { pid: 1, startTime: 'elsewhere' };
  const content = { version: 1, owner, entries: [{ kind: 'routes', made }] };
  plant(run, { 'flannel.1.json': JSON.stringify(content) });
  const journal = Journal.open('host-gw', run);
  journal.inheritRoutes(() => true, '/proc', ['flannel.1']);
  assert.deepEqual(journal.routes, []);
  journal.inheritRoutes(() => true);
  assert.deepEqual(journal.routes, made);
});
