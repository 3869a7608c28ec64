import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import test from 'node:test';
import {
  isListening,
  listListening,
  socketPath,
  startingName,
} from '../../../src/control/host/control-socket.js';
import { namespaceNumber, readHostId } from '../../../src/control/host/host-id.js';
import {
  describeElsewhere,
  findElsewhere,
  folderOf,
  removeIfUnused,
} from '../../../src/control/host/run-folder.js';
import { plant, scratch } from './fakes.js';

const HERE = 'boot-1 net:[11]';
const THERE = 'boot-1 net:[22]';
const BEFORE = 'boot-0 net:[22]';

type Scratch = Parameters<typeof scratch>[0];

/** A journal of a weft that has ended; without a namespace it is one of an earlier weft. */
function journal(folder: string, device: string, namespace?: string): void {
  const owner = { pid: 1, startTime: '1' };
  const content = { version: 1, owner, namespace, entries: [] };
  plant(folder, { [`${device}.json`]: JSON.stringify(content) });
}

async function listen(t: Scratch, name: string, folder: string): Promise<net.Server> {
  fs.mkdirSync(folder, { recursive: true });
  const server = net.createServer().listen(socketPath(name, folder));
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => server.close());
  return server;
}

test('the folder itself is of whoever comes first, and stays so', async (t) => {
  const base = path.join(scratch(t), 'weft');
  assert.equal(await folderOf(base, HERE), base, 'it is not there yet');
  journal(base, 'flannel.1', HERE);
  assert.equal(await folderOf(base, HERE), base);
  assert.equal(await folderOf(base, THERE), path.join(base, 'net-22'));
  journal(path.join(base, 'net-22'), 'flannel.1', THERE);
  fs.rmSync(path.join(base, 'flannel.1.json'));
  assert.equal(await folderOf(base, THERE), path.join(base, 'net-22'), 'what is there is found');
  assert.equal(await folderOf(base, undefined), base, 'a host that cannot tell');
});

test('a weft that is only starting holds the folder as long as it lives', async (t) => {
  const base = scratch(t);
  const server = await listen(t, startingName(1, '22'), base);
  assert.equal(await folderOf(base, HERE), path.join(base, 'net-11'));
  assert.equal(await folderOf(base, THERE), base);
  fs.linkSync(socketPath(startingName(1, '22'), base), path.join(base, 'kept'));
  await new Promise((resolve) => server.close(resolve));
  fs.renameSync(path.join(base, 'kept'), socketPath(startingName(1, '22'), base));
  assert.equal(await folderOf(base, HERE), base);
});

test('journals of an earlier boot, of an earlier weft, and broken ones hold no folder', async (t) => {
  const base = scratch(t);
  journal(base, 'flannel.1', BEFORE);
  journal(base, 'flannel.2');
  plant(base, { 'flannel.3.json': '{' });
  assert.equal(await folderOf(base, HERE), base);
  journal(base, 'flannel.4', THERE);
  assert.equal(await folderOf(base, HERE), path.join(base, 'net-11'));
  journal(base, 'flannel.5', HERE);
  assert.equal(await folderOf(base, HERE), base, 'one of ours is there');
});

test('what runs elsewhere is told with its namespace and device; what has ended is not', async (t) => {
  const base = scratch(t);
  const own = path.join(base, 'net-11');
  journal(base, 'flannel.1', THERE);
  await listen(t, 'flannel.1', base);
  await listen(t, startingName(1, '33'), path.join(base, 'net-33'));
  await listen(t, 'flannel.1', own);
  journal(path.join(base, 'net-44'), 'flannel.1', 'boot-1 net:[44]');
  plant(base, { 'net-44/flannel.1.sock': 'a copy' });
  const found = await findElsewhere(base, own);
  assert.equal(describeElsewhere(found), 'net:[22] (flannel.1), net:[33] (starting)');
  assert.deepEqual(found[0]!.journal?.namespace, THERE);
  assert.deepEqual(await findElsewhere(path.join(base, 'nowhere'), own), []);
});

test('a copy of a folder, a file and a missing folder have no listener', async (t) => {
  const root = scratch(t);
  await listen(t, 'flannel.1', root);
  assert.deepEqual(await listListening(root), ['flannel.1']);
  plant(root, { 'copy/flannel.1.sock': '' });
  assert.deepEqual(await listListening(path.join(root, 'copy')), []);
  assert.deepEqual(await listListening(path.join(root, 'none')), []);
  assert.equal(await isListening(path.join(root, 'x'.repeat(200))), false);
});

test('a folder goes when it is empty; the first stays', (t) => {
  const base = scratch(t);
  const own = path.join(base, 'net-11');
  plant(own, { 'flannel.1.json': '' });
  removeIfUnused(own, base);
  assert.ok(fs.existsSync(own));
  fs.rmSync(path.join(own, 'flannel.1.json'));
  removeIfUnused(own, base);
  assert.equal(fs.existsSync(own), false);
  removeIfUnused(own, base);
  removeIfUnused(base, base);
  assert.ok(fs.existsSync(base));
});

test('this host has an id with the number of its network namespace', () => {
  const id = readHostId('/proc')!;
  assert.equal(`net:[${namespaceNumber(id)}]`, fs.readlinkSync('/proc/self/ns/net'));
  assert.equal(namespaceNumber('boot-1'), '');
  assert.equal(readHostId('/nowhere'), undefined);
});
