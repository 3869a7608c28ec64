/** What `weft status` asks the kernel, and how it tells what it was told. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { ownFolder } from '../../src/cli/run-dir.js';
import { askKernel } from '../../src/cli/status.js';
import { WEFT } from '../../src/lab/host.js';
import { StatusSocket } from '../../src/operate/status/socket.js';
import type { Answer } from '../../src/operate/status/status.js';
import { NO_IP } from '../control/host/fakes.js';

test('without ip there is an answer all the same: why the way is not known', async () => {
  assert.deepEqual(await askKernel(NO_IP, '10.10.60.9'), {
    refused: 'cannot run ip: there is no such program in the PATH; install iproute2',
  });
});

/** `weft status …` beside a weft that answers so, under this device's name where one is given. */
async function status(t: TestContext, answer: Answer, args: readonly string[], device?: string) {
  const runDirectory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-status-'));
  const socket = new StatusSocket(() => answer, process.pid, await ownFolder(runDirectory));
  t.after(() => {
    socket.close();
    fs.rmSync(runDirectory, { recursive: true });
  });
  await socket.open();
  if (device !== undefined) socket.rename(device);
  const argv = [WEFT, 'status', ...args, `-run-dir=${runDirectory}`];
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    execFile(process.execPath, argv, { timeout: 20_000 }, (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), stdout, stderr });
    });
  });
}

const STARTING: Answer = {
  ...{ version: '0.1.0', build: null, pid: 4711, uptimeSeconds: 3 },
  waitingFor: 'etcd does not answer',
};

test('with -json it is JSON, whatever is asked for and however it stands with weft', async (t) => {
  for (const view of [[], ['peers'], ['routes'], ['drops'], ['route', '10.5.72.9']]) {
    const { code, stdout } = await status(t, STARTING, [...view, '-json']);
    assert.deepEqual(
      [code, JSON.parse(stdout)],
      [1, { schema: 1, state: 'starting', ...STARTING }],
    );
  }
});

test('a device that no weft has: it is said so, with those that there are', async (t) => {
  const wanted = ['-device', 'flannel.7'];
  const { code, stderr } = await status(t, STARTING, wanted, 'flannel.1');
  const words = 'no weft runs for the device "flannel.7"; there are: flannel.1';
  assert.deepEqual([code, stderr], [1, `weft status: ${words}\n`]);
});
