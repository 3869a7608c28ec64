import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { openSockets, StartError } from '../../../src/control/daemon/open.js';
import { nativeIo } from '../../../src/control/daemon/packet-io.js';
import { TIERS } from '../../../src/dataplane/io/tiers.js';
import { FakeRunner } from '../host/fakes.js';

const HOST = { runner: new FakeRunner(), io: nativeIo(), proc: '/proc' };

test('a VRF that cannot be used is one sentence that names it', async () => {
  await assert.rejects(
    openSockets(HOST, '127.0.0.1', 0, TIERS.segment, 1, 'weft-none'),
    (error: Error) => {
      assert.ok(error instanceof StartError);
      assert.match(
        error.message,
        /^the underlay address 127\.0\.0\.1 is in the VRF weft-none, which weft cannot use: .*ENODEV/,
      );
      return true;
    },
  );
});

test('an addon that is missing, or none, is told as itself with what to do', (t) => {
  const root = fileURLToPath(new URL('../../../..', import.meta.url));
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-addon-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  // The same folders in the same places: the addon is looked for beside them.
  fs.copyFileSync(path.join(root, 'package.json'), path.join(folder, 'package.json'));
  fs.cpSync(path.join(root, 'dist/src'), path.join(folder, 'dist/src'), { recursive: true });
  const addon = path.join(folder, 'native/build/weft.node');
  fs.mkdirSync(path.dirname(addon), { recursive: true });
  const module = (file: string) => pathToFileURL(path.join(folder, 'dist/src', file)).href;
  const script = `
    const { openSockets, openDevice } = await import('${module('control/daemon/open.js')}');
    const { nativeIo } = await import('${module('control/daemon/packet-io.js')}');
    const { TIERS } = await import('${module('dataplane/io/tiers.js')}');
    const say = (error) => console.log(error.name + ': ' + error.message);
    const host = { runner: {}, io: nativeIo(), proc: '/proc' };
    await openSockets(host, '127.0.0.1', 0, TIERS.segment).catch(say);
    try { openDevice(host, 'weft9', TIERS.segment); } catch (error) { say(error); }`;
  const told = (): string[] => {
    const argv = ['--input-type=module', '-e', script];
    const { stdout, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8' });
    const lines = stdout.trim().split('\n');
    assert.equal(lines.length, 2, stdout + stderr);
    return lines;
  };
  const start = `StartError: weft's addon ${addon} cannot be loaded: `;
  const cure = /; build it on this machine, for this Node \(v\d+[\w., ]*\): npm run setup$/;
  for (const line of told()) {
    assert.ok(line.startsWith(`${start}there is no such file;`), line);
    assert.match(line, cure);
  }
  fs.writeFileSync(addon, 'garbage '.repeat(100));
  for (const line of told()) {
    assert.ok(line.startsWith(start) && /invalid ELF header|Exec format error/.test(line), line);
    assert.match(line, cure);
  }
});
