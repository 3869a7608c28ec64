import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import {
  isStartingName,
  listSockets,
  readStatus,
  removeDeadSocket,
  StatusSocket,
  socketPath,
} from '../../../src/operate/status/socket.js';
import type { Answer } from '../../../src/operate/status/status.js';

let directory: string;
before(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-status-'));
});
after(() => fs.rmSync(directory, { recursive: true, force: true }));

const answer = (waitingFor: string): Answer => ({
  version: '1',
  pid: 1,
  build: null,
  uptimeSeconds: 0,
  waitingFor,
});

test('one socket from the start on, renamed when the device is known, gone at the end', async () => {
  let now = 'one';
  const folder = path.join(directory, 'made');
  const socket = new StatusSocket(() => answer(now), 77, folder);
  await socket.open();
  assert.deepEqual(listSockets(folder), ['starting-77']);
  assert.ok(isStartingName('starting-77'));
  const starting = socketPath('starting-77', folder);
  assert.equal(fs.statSync(starting).mode & 0o777, 0o600);
  assert.deepEqual(await readStatus(starting), answer('one'));
  now = 'two';
  socket.rename('flannel.1');
  assert.deepEqual(listSockets(folder), ['flannel.1']);
  assert.deepEqual(await readStatus(socketPath('flannel.1', folder)), answer('two'));
  socket.close();
  assert.deepEqual(fs.readdirSync(folder), []);
});

test('a file that is put in its place is not the socket, and is left there at the end', async () => {
  const folder = path.join(directory, 'replaced');
  const socket = new StatusSocket(() => answer('ours'), 78, folder);
  await socket.open();
  socket.rename('flannel.1');
  assert.equal(socket.there, true);
  const file = socketPath('flannel.1', folder);
  fs.renameSync(file, `${file}.old`);
  assert.equal(socket.there, false);
  fs.writeFileSync(file, 'of another');
  assert.equal(socket.there, false);
  socket.close();
  assert.equal(fs.readFileSync(file, 'utf8'), 'of another');
});

test('a weft that ends before it has the name leaves the other one its socket', async () => {
  const first = new StatusSocket(() => answer('first'), 1, directory);
  await first.open();
  first.rename('flannel.1');
  const second = new StatusSocket(() => answer('second'), 2, directory);
  await second.open();
  second.close();
  assert.deepEqual(await readStatus(socketPath('flannel.1', directory)), answer('first'));
  first.close();
});

test('what a weft that died left is replaced, and removed when asked; a live one stays', async () => {
  const file = socketPath('flannel.2', directory);
  const dead = net.createServer().listen(file);
  await new Promise((resolve) => dead.once('listening', resolve));
  fs.linkSync(file, `${file}.kept`); // close() removes the name it was bound to
  await new Promise((resolve) => dead.close(resolve));
  fs.renameSync(`${file}.kept`, file);
  await assert.rejects(readStatus(file), { code: 'ECONNREFUSED' });
  await removeDeadSocket(file);
  assert.equal(fs.existsSync(file), false);
  await removeDeadSocket(file);

  const live = new StatusSocket(() => answer('live'), 3, directory);
  await live.open();
  live.rename('flannel.2');
  await removeDeadSocket(file);
  assert.deepEqual(await readStatus(file), answer('live'));
  live.close();
});

test('one that takes the connection and says nothing is given up', async () => {
  const file = socketPath('flannel.3', directory);
  const held: net.Socket[] = [];
  const silent = net.createServer((connection) => held.push(connection)).listen(file);
  await new Promise((resolve) => silent.once('listening', resolve));
  await assert.rejects(readStatus(file, 100), {
    code: 'ETIMEDOUT',
    message: /no answer within 0\.1/,
  });
  for (const connection of held) connection.destroy();
  await new Promise((resolve) => silent.close(resolve));
});

test('a status that cannot be told costs that answer alone', async () => {
  let broken = true;
  const socket = new StatusSocket(
    () => {
      if (broken) throw new Error('no');
      return answer('again');
    },
    4,
    directory,
  );
  await socket.open();
  const file = socketPath('starting-4', directory);
  await assert.rejects(readStatus(file), /did not answer with a status|ECONNRESET/);
  broken = false;
  assert.deepEqual(await readStatus(file), answer('again'));
  socket.close();
});

test('where no socket can be made, open rejects and close is harmless', async () => {
  fs.writeFileSync(path.join(directory, 'file'), '');
  const socket = new StatusSocket(() => answer(''), 5, path.join(directory, 'file'));
  await assert.rejects(socket.open(), { code: /ENOTDIR|EEXIST/ });
  socket.close();
});

test('where every starting name is taken, or none may be asked, open rejects in place of looking for ever', async () => {
  const sockets = Array.from(
    { length: 10 },
    () => new StatusSocket(() => answer(''), 7, directory),
  );
  const last = sockets.pop()!;
  for (const socket of sockets) await socket.open();
  await assert.rejects(last.open(), /starting-7-9\.sock and those before it are in use/);
  for (const socket of [...sockets, last]) socket.close();
});
