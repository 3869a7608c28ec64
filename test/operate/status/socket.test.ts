/** The control socket, between a server and clients that behave and that do not. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import {
  listSockets,
  readStatus,
  serveStatus,
  socketPath,
} from '../../../src/operate/status/socket.js';
import { fullStatus } from './full.js';

describe('the control socket', { timeout: 20_000 }, () => {
  let directory: string;
  let file: string;
  const servers: net.Server[] = [];

  beforeEach(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-status-'));
    file = socketPath('flannel.1', directory);
  });
  afterEach(() => {
    for (const server of servers.splice(0)) server.close();
    fs.rmSync(directory, { recursive: true, force: true });
  });
  const serve = async (target = file): Promise<void> => {
    servers.push(await serveStatus(target, () => fullStatus));
  };

  /** Leaves a socket file behind, as a process does that is killed. */
  const leaveStale = (): void => {
    const script = `require('net').createServer().listen(${JSON.stringify(file)}, () => process.kill(process.pid, 'SIGKILL'))`;
    assert.equal(spawnSync(process.execPath, ['-e', script]).signal, 'SIGKILL');
    assert.ok(fs.lstatSync(file).isSocket());
  };

  test('answers with the status, to its owner alone', async () => {
    await serve();
    assert.deepEqual(await readStatus(file), fullStatus);
    assert.equal(fs.statSync(file).mode & 0o777, 0o600);
    assert.deepEqual(listSockets(directory), ['flannel.1']);
  });

  test('answers many at once', async () => {
    await serve();
    const answers = await Promise.all(Array.from({ length: 20 }, () => readStatus(file)));
    for (const answer of answers) assert.deepEqual(answer, fullStatus);
  });

  test('the socket of a weft that died is listed, refuses, and is replaced', async () => {
    leaveStale();
    assert.deepEqual(listSockets(directory), ['flannel.1']);
    await assert.rejects(readStatus(file), { code: 'ECONNREFUSED' });
    await serve();
    assert.deepEqual(await readStatus(file), fullStatus);
  });

  test('where there is none, the error says so', async () => {
    await assert.rejects(readStatus(file), { code: 'ENOENT' });
    assert.deepEqual(listSockets(path.join(directory, 'nowhere')), []);
  });

  test('serving in a folder that is not there fails', async () => {
    await assert.rejects(serve(path.join(directory, 'nowhere', 'x.sock')), /nowhere\/x\.sock/);
  });

  test('a client that leaves at once, or sends what nobody asked for, harms nothing', async () => {
    await serve();
    for (let i = 0; i < 10; i += 1)
      net
        .connect(file)
        .on('error', () => {})
        .destroy();
    const noisy = net.connect(file).on('error', () => {});
    noisy.write(Buffer.alloc(1 << 20));
    noisy.resume();
    await once(noisy, 'close');
    assert.deepEqual(await readStatus(file), fullStatus);
  });

  test('an answer that is no status, or cut short, is an error that names the socket', async () => {
    for (const answer of ['', 'hello', '{"version":']) {
      const server = net.createServer((connection) => connection.end(answer));
      servers.push(server);
      const odd = path.join(directory, `odd-${answer.length}.sock`);
      server.listen(odd);
      await once(server, 'listening');
      await assert.rejects(readStatus(odd), { message: `${odd} did not answer with a status` });
    }
  });
});
